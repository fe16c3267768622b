"""serial: an authenticator that speaks CTAPHID reports at the other end of a serial line.

The location is the line's path. The speed is left as it is: `stty -F /dev/ttyUSB0 115200` sets one.
"""

from __future__ import annotations

import fcntl
import io
import os
import select
import termios
import time
import tty

from sk_provider.ctap.framing import REPORT_SIZE
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.config import Configuration
    from sk_provider.operation import Operation

transport_api_version = 1
_REMEDY = "check what is there (pysk-serial)"
_SEND_PATIENCE = 3.0
"""Seconds in which the line must take a part of a report."""


def discover(location: str) -> list[str]:
    """Return the location, if there is something at its path."""
    return [location] if os.path.exists(location) else []


def open(location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> HidChannel:  # noqa: A001 - see Transport
    """Let the line carry bytes as they are, for us alone, and have the authenticator allocate a channel.

    Raises DeviceNotFound if there is no such path, ConfigurationError if it is no line, and AuthenticatorError if it
    cannot be used, or there is no answer.
    """
    try:
        line = io.FileIO(os.open(location, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC), "r+")
    except OSError as error:
        kind = DeviceNotFound if isinstance(error, FileNotFoundError) else AuthenticatorError
        raise kind(f"serial:{location} cannot be opened ({error.strerror})", "check the path (pysk-serial)") from None
    try:
        _lock(line, operation)
        tty.setraw(line.fileno())
        termios.tcflush(line, termios.TCIOFLUSH)
    except BaseException as error:
        line.close()
        if isinstance(error, termios.error):
            raise ConfigurationError(f"serial:{location} is no serial line", "correct it (pysk-serial)") from None
        raise
    return HidChannel(_LineReports(line, location), operation, _REMEDY)


def _lock(line: io.FileIO, operation: Operation) -> None:
    """Wait until nobody else has the line: of two who read from it, each would lack what the other has read."""
    since = time.monotonic()
    while True:
        try:
            return fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            operation.wait_for_others(since)
            time.sleep(0.1)


class _LineReports:
    """See transport_api.Reports."""

    def __init__(self, line: io.FileIO, location: str) -> None:
        self._line = line
        self._location = location
        self._received = b""
        self.close = line.close

    def send(self, report: bytes) -> None:
        while report:
            if not self._is_ready(select.POLLOUT, _SEND_PATIENCE):
                raise self._gone()
            try:
                report = report[self._line.write(report) or 0 :]
            except OSError:
                raise self._gone() from None

    def receive(self, seconds: float) -> bytes | None:
        if not self._is_ready(select.POLLIN, seconds):
            return None
        try:
            piece = self._line.read(REPORT_SIZE - len(self._received))
        except OSError:
            piece = b""
        if not piece:
            raise self._gone()
        self._received += piece
        report = self._received
        if len(report) < REPORT_SIZE:
            return None
        self._received = b""
        return report

    def _is_ready(self, direction: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._line, direction)
        return bool(poll.poll(seconds * 1000))

    def _gone(self) -> AuthenticatorError:
        return AuthenticatorError(f"the other end of serial:{self._location} is gone", _REMEDY)
