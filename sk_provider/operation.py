"""What an operation in progress knows: how long it waits for a person, how long for others, and whether it goes on."""

from __future__ import annotations

import time
from _thread import allocate_lock

from . import reporting
from .errors import AuthenticatorError, Interrupted, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from .errors import SecurityKeyError
    from .trace import Trace

    class Reached(Protocol):
        """An authenticator, as client.token has it."""

        address: str
        aaguid: bytes


_NOTICE_AFTER = 0.3
"""Seconds of waiting for a person after which they are told by other ways than the host's and ours on stderr."""
_WAITS_UNTOLD = 1.0
"""Seconds of waiting for others that nobody need be told of."""


class Operation:
    """The `event` that channels look at while they wait (python-fido2 wants no more of it than is_set()).

    token: the authenticator that it has reached, None for none; notify: tells a person elsewhere than on stderr what
    they are to do, of which it is given a list; it returns what withdraws it, or None, and raises nothing; describe:
    returns what the operation is for, in words for a person, None where there is no more to say; trace: what is told
    each message and decision, None unless a person asks for that. A program that traces all that it does sets it for
    the class. others_had_it_for: the seconds in which other programs had an authenticator that was waited for.
    """

    trace: Trace | None = None
    notify: Callable[[list[str]], Callable[[], None] | None] | None = None
    describe: Callable[[], str] | None = None

    def __init__(
        self,
        timeout: int,
        is_interrupted: Callable[[], int] | None = None,
        tell: Callable[[str], object] = reporting.tell,
    ) -> None:
        """Start the person's time, `timeout` seconds; others may have the authenticator for as long besides.

        is_interrupted: tells, with a number other than 0, that the person or the program that asked has given up; tell:
        gives the person a sentence, where they must do what nobody else has asked for.
        """
        self.timeout = timeout
        self.tell = tell
        self.token: Reached | None = None
        # Several candidates wait in threads of their own.
        self._notice_lock = allocate_lock()
        self._awaited: dict[str, Callable[[], str]] = {}
        self._waits = 0
        self._notice_due: float | None = None
        self._withdraw: Callable[[], None] | None = None
        self._is_interrupted = is_interrupted
        self._has_been_called_off = False
        self._has_told_of_others = False
        self._others_had_it_until = 0.0
        self.others_had_it_for = 0.0
        self.restart()

    def restart(self) -> None:
        """Give the person all their time once more, after they were asked for something else."""
        self._deadline = time.monotonic() + self.timeout

    def wait_for_others(self, since: float) -> None:
        """Count the time in which other programs have the authenticator as theirs, not as the person's.

        since: when this wait for them began, by the monotonic clock. To be called whenever they still have it, several
        times a second; the second that it lasts, the person is told.

        Raises AuthenticatorError once they have had it for `timeout` seconds in all, and reason() if that comes first.
        """
        now = time.monotonic()
        # Of several that wait at the same time, none counts what another has counted.
        waited = now - max(since, self._others_had_it_until)
        self._others_had_it_until = now
        self.others_had_it_for += waited
        self._deadline += waited
        if self.is_set():
            raise self.reason()
        if self.others_had_it_for >= self.timeout:
            raise busy()
        if self.trace is not None and self.others_had_it_for == waited:
            self.trace("another program has the authenticator")
        if self.others_had_it_for >= _WAITS_UNTOLD and not self._has_told_of_others:
            self._has_told_of_others = True
            self.tell("another program is using the authenticator; waiting for it")

    def await_person(self, who: str, call: Callable[[], str]) -> None:
        """Note that an authenticator waits for a person, until person_came().

        who: what tells it from others; call: returns what the person is to do.
        """
        with self._notice_lock:
            if self.notify is None or who in self._awaited:
                return
            if not self._awaited:
                self._waits += 1
                self._notice_due = time.monotonic() + _NOTICE_AFTER
            self._awaited[who] = call

    def person_came(self, who: str) -> None:
        """Note that an authenticator does not wait any more, for whatever reason. May be called for any."""
        with self._notice_lock:
            if self._awaited.pop(who, None) is None or self._awaited:
                return
            self._notice_due = None
            withdraw, self._withdraw = self._withdraw, None
        if withdraw is not None:
            withdraw()

    def _notify_if_due(self) -> None:
        with self._notice_lock:
            notify, due = self.notify, self._notice_due
            if notify is None or due is None or time.monotonic() < due:
                return
            self._notice_due = None
            wait, calls = self._waits, list(self._awaited.values())
        # Nobody is kept waiting by this, who has come in another thread; there may be another wait by now.
        withdraw = notify(sorted({call() for call in calls}))
        with self._notice_lock:
            is_over = not self._awaited or wait != self._waits
            if not is_over:
                self._withdraw = withdraw
        if is_over and withdraw is not None:
            withdraw()

    def call_off(self) -> None:
        """Have all that wait, in whichever thread, give up."""
        self._has_been_called_off = True

    def is_interrupted(self) -> bool:
        """Return whether the person, or the program that asked, has given up."""
        return self._has_been_called_off or (self._is_interrupted is not None and self._is_interrupted() != 0)

    def is_set(self) -> bool:
        """Return whether waiting makes no sense any more."""
        if self._notice_due is not None:
            self._notify_if_due()
        return time.monotonic() >= self._deadline or self.is_interrupted()

    def reason(self) -> SecurityKeyError:
        """Return why waiting makes no sense any more."""
        if self.is_interrupted():
            return Interrupted("the operation was interrupted", "start it again")
        seconds = "1 second" if self.timeout == 1 else f"{self.timeout} seconds"
        return TimedOut(f"nobody answered within {seconds}", "try again and touch the authenticator")


def busy() -> AuthenticatorError:
    """Return what to raise for an authenticator that others do not let go."""
    return AuthenticatorError(
        "the authenticator is busy with another program", "end that, or try again when it is done"
    )
