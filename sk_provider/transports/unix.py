"""CTAPHID reports over a Unix stream socket: a token of another machine, whose socket ssh forwards to here."""

from __future__ import annotations

import _socket
import posix

from sk_provider.config import expand_home
from sk_provider.ctap.framing import REPORT_SIZE
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound, no_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.config import Configuration
    from sk_provider.operation import Operation

_SEND_PATIENCE = 3.0
"""Seconds in which the other end must take a report."""
_CREDENTIALS_SIZE = 12  # struct ucred: process, user and group, 32 bits each


def _path(location: str) -> str:
    path = expand_home(location)
    if not path.startswith("/"):
        raise ConfigurationError(f"unix:{location} is not an absolute path", "begin it with / or ~/")
    return path


def discover(location: str) -> list[str]:
    """Return the location, if there is something at its path."""
    try:
        posix.stat(_path(location))
    except OSError:
        return []
    return [location]


def open(location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> HidChannel:  # noqa: A001, ARG001 - see Transport
    """Connect to the socket at the location, a path, and have the authenticator allocate a channel.

    Raises DeviceNotFound if nobody listens there, ConfigurationError if whoever does could not be trusted with a PIN,
    and AuthenticatorError if there is no answer.
    """
    path = _path(location)
    try:
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    except OSError as error:
        raise no_socket(f"unix:{path}", error) from None
    try:
        socket.settimeout(_SEND_PATIENCE)
        try:
            socket.connect(path)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise DeviceNotFound(f"nobody listens at unix:{path}", "start or forward the authenticator") from None
        except OSError as error:
            raise AuthenticatorError(
                f"unix:{path} cannot be reached ({error.strerror or 'no answer'})", "check the socket"
            ) from None
        _check_peer(socket, path)
    except BaseException:
        socket.close()
        raise
    return HidChannel(_StreamReports(socket, path), operation)


def _check_peer(socket: _socket.socket, path: str) -> None:
    """Refuse a socket that another user made: its owner would get the PIN."""
    credentials = socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS_SIZE)
    import sys

    user = int.from_bytes(credentials[4:8], sys.byteorder)
    if user not in (0, posix.geteuid()):
        raise ConfigurationError(f"unix:{path} belongs to user {user}", "use a socket of your own")


class _StreamReports:
    """Reports one after another in a stream. See transport_api.Reports."""

    def __init__(self, socket: _socket.socket, path: str) -> None:
        self._socket = socket
        self._path = path
        self._received = b""

    def send(self, report: bytes) -> None:
        self._socket.settimeout(_SEND_PATIENCE)
        try:
            while report:
                # Whoever runs us has not asked to be ended by SIGPIPE.
                report = report[self._socket.send(report, _socket.MSG_NOSIGNAL) :]
        except OSError:
            raise self._gone() from None

    def receive(self, seconds: float) -> bytes | None:
        self._socket.settimeout(seconds)
        try:
            piece = self._socket.recv(REPORT_SIZE - len(self._received))
        except (TimeoutError, BlockingIOError):
            return None
        except OSError:
            raise self._gone() from None
        if not piece:
            raise self._gone()
        self._received += piece
        if len(self._received) < REPORT_SIZE:
            return None
        report, self._received = self._received, b""
        return report

    def close(self) -> None:
        self._socket.close()

    def _gone(self) -> AuthenticatorError:
        return AuthenticatorError(f"the other end of unix:{self._path} is gone", "start or forward it again")
