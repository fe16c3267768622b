"""What an operation in progress knows: until when a person may take their time, and whether anybody still waits."""

from __future__ import annotations

import time

from . import reporting
from .errors import Interrupted, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import SecurityKeyError


class Operation:
    """The `event` that channels look at while they wait (python-fido2 wants no more of it than is_set())."""

    __slots__ = ("_deadline", "_has_been_called_off", "_is_interrupted", "tell", "timeout")

    def __init__(
        self,
        timeout: int,
        is_interrupted: Callable[[], int] | None = None,
        tell: Callable[[str], object] = reporting.tell,
    ) -> None:
        """Start the person's time, `timeout` seconds.

        is_interrupted: tells, with a number other than 0, that the person or the program that asked has given up; tell:
        gives the person a sentence, where they must do what nobody else has asked for.
        """
        self.timeout = timeout
        self.tell = tell
        self._is_interrupted = is_interrupted
        self._has_been_called_off = False
        self.restart()

    def restart(self) -> None:
        """Give the person all their time once more, after they were asked for something else."""
        self._deadline = time.monotonic() + self.timeout

    def call_off(self) -> None:
        """Have all that wait, in whichever thread, give up."""
        self._has_been_called_off = True

    def is_set(self) -> bool:
        """Return whether waiting makes no sense any more."""
        return time.monotonic() >= self._deadline or self._has_been_interrupted()

    def reason(self) -> SecurityKeyError:
        """Return why waiting makes no sense any more."""
        if self._has_been_interrupted():
            return Interrupted("the operation was interrupted", "start it again")
        seconds = "1 second" if self.timeout == 1 else f"{self.timeout} seconds"
        return TimedOut(f"nobody answered within {seconds}", "try again and touch the authenticator")

    def _has_been_interrupted(self) -> bool:
        return self._has_been_called_off or (self._is_interrupted is not None and self._is_interrupted() != 0)
