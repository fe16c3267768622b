"""Telling a person that an authenticator waits for them, in the ways that pysk_config orders (Notify)."""

from __future__ import annotations

import os

from sk_provider.reporting import printable, write_in_time

from . import hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Withdraw = Callable[[], None]

_SUMMARY = "Security key"
_WRITING = 0.05
"""Seconds in which a terminal takes a line, or does not show it."""


class Notice:
    """What is told. call: what the person is to do; purpose: what for; seconds: the person's time."""

    def __init__(self, call: str, purpose: str, seconds: int) -> None:
        self.call = printable(call)
        self.purpose = printable(purpose)
        self.seconds = seconds

    def line(self) -> str:
        """Return it in one line."""
        return f"{self.call}: {self.purpose}"


class CannotTell(Exception):
    """Nobody can be told in this way. The sentence says why."""


def show(
    notice: Notice, ways: tuple[str, ...], command: list[str], api_major: int, trace: Callable[[str], object]
) -> Withdraw | None:
    """Tell it by the program, or in the first way that a person can see; return what withdraws it.

    ways, command: as in Configuration; api_major: of the host's API; trace: is told how each way went. None where there
    is nothing to withdraw, also as the host tells it itself.

    Raises CannotTell if the program cannot be started.
    """
    if command:
        withdraw = _run(notice, command)
        trace(f"command: {command[0]} tells of it")
        return withdraw
    for way in ways:
        if way == "terminal":
            if hosts.tells_of_touches(api_major):
                trace("terminal: the program that asked tells of it")
                return None
            if _write_to_terminal(notice):
                trace("terminal: told there")
                return None
            trace("terminal: there is none")
        else:
            from . import desktop_notice

            try:
                withdraw = desktop_notice.show(_SUMMARY, f"{notice.call}\n{notice.purpose}", notice.seconds)
            except desktop_notice.CannotShow as reason:
                trace(f"desktop: {reason}")
                continue
            trace("desktop: given to the session bus")
            return withdraw
    return None


def _write_to_terminal(notice: Notice) -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        write_in_time(terminal, f"libpysk: {notice.line()}", _WRITING)
    except OSError:
        return False
    finally:
        os.close(terminal)
    return True


def _run(notice: Notice, command: list[str]) -> Withdraw:
    """Start a program that tells it, and is ended when it is withdrawn."""
    import signal

    from . import child

    words = {"PYSK_CALL": notice.call, "PYSK_PURPOSE": notice.purpose}
    try:
        process = child.start([*command, notice.line()], {**os.environ, **words}, is_silent=True)
    except child.NotStarted as reason:
        raise CannotTell(f"{command[0]} cannot be started ({reason})") from None

    def withdraw() -> None:
        # With what it has started, which is in its group.
        try:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        except OSError:  # it has ended, or has other rights by now
            pass
        child.reap(process)

    return withdraw
