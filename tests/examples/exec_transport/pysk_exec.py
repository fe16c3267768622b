"""exec: an authenticator behind the standard streams of a command, such as ssh's or qrexec-client-vm's.

The location is the command, quoted as for a shell. It speaks as `pysk serve stdio:messages` does, and has no terminal.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import time
from contextlib import suppress
from subprocess import PIPE, Popen, TimeoutExpired

from sk_provider.ctap.framing import INIT_PACKET, MAX_MESSAGE_SIZE, split_message
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.config import Configuration
    from sk_provider.operation import Operation

transport_api_version = 1
_REMEDY = "try the command by itself (pysk-exec)"
_START_PATIENCE, _END_PATIENCE = 20.0, 0.5
"""Seconds for the command to say something, such as after a login, and to end."""
_HEADER_SIZE = 3  # a CTAPHID command, and how many bytes of data follow


def discover(location: str) -> list[str]:
    """Return the location: only the command can know whether there is an authenticator."""
    return [location]


def open(location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> HidChannel:  # noqa: A001 - see Transport
    """Start the command. Raises DeviceNotFound if it cannot be, and AuthenticatorError if there is no answer."""
    try:
        # Ctrl-C is ours to handle, and what the command starts is to end with it.
        process = Popen(shlex.split(location), stdin=PIPE, stdout=PIPE, bufsize=0, start_new_session=True)
    except (ValueError, IndexError):  # quotation marks that do not match, no words
        raise ConfigurationError(f"exec:{location} is no command", "correct it (pysk-exec)") from None
    except OSError as error:
        raise DeviceNotFound(f"exec:{location} does not start ({error.strerror})", "correct it (pysk-exec)") from None
    return HidChannel(_Messages(process, location, operation), operation, _REMEDY)


class _Messages:
    """Reports that come and go as whole messages. See transport_api.Reports."""

    def __init__(self, process: Popen[bytes], location: str, operation: Operation) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._input, self._output = process, process.stdin, process.stdout
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._location, self._operation = location, operation
        self._starting_ends = time.monotonic() + _START_PATIENCE
        self._channel = 0
        self._sending = self._received = b""
        self._reports: list[bytes] = []

    def send(self, report: bytes) -> None:
        if report[4] & INIT_PACKET:
            self._channel = int.from_bytes(report[:4], "big")
            self._sending = bytes([report[4] ^ INIT_PACKET]) + report[5:]
        else:
            self._sending += report[5:]
        if len(self._sending) >= _size(self._sending):
            try:
                self._input.write(self._sending[: _size(self._sending)])
            except OSError:
                raise self._ended() from None

    def receive(self, seconds: float) -> bytes | None:
        self._read(seconds)
        while not self._reports and time.monotonic() < self._starting_ends and not self._operation.is_set():
            self._read(seconds)
        return self._reports.pop(0) if self._reports else None

    def _read(self, seconds: float) -> None:
        if self._reports or not self._poll.poll(seconds * 1000):
            return
        piece = self._output.read(_size(self._received) - len(self._received))
        if not piece:
            raise self._ended()
        self._received += piece
        if _size(self._received) > _HEADER_SIZE + MAX_MESSAGE_SIZE:
            raise AuthenticatorError(f"exec:{self._location} prints what is no message", _REMEDY)
        if len(self._received) == _size(self._received):
            self._reports = split_message(self._channel, self._received[0], self._received[_HEADER_SIZE:])
            self._received, self._starting_ends = b"", 0.0

    def close(self) -> None:
        self._input.close()
        self._output.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
                with suppress(TimeoutExpired):
                    self._process.wait(_END_PATIENCE)

    def _ended(self) -> AuthenticatorError:
        return AuthenticatorError(f"exec:{self._location} has ended", _REMEDY)


def _size(message: bytes) -> int:
    """Return the size of a message that begins so, which is its header's until that is there."""
    return _HEADER_SIZE + (int.from_bytes(message[1:_HEADER_SIZE], "big") if len(message) >= _HEADER_SIZE else 0)
