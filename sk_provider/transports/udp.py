"""CTAPHID reports in UDP datagrams, as the token simulators have them: 127.0.0.1:8111, answers to port 7112."""

from __future__ import annotations

import _socket

from sk_provider import peers
from sk_provider.ctap.commands import CLIENT_PIN
from sk_provider.ctap.framing import CBOR, REPORT_SIZE
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, ConfigurationError, no_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.config import Configuration
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Event

_CLIENT_PORT = 7112
"""Simulators answer to this port; our own server answers to whichever a request comes from."""


def discover(location: str) -> list[str]:
    """Return the location: only its answer can tell whether anybody listens there."""
    return [location]


def _host_and_port(location: str) -> tuple[str, int]:
    host, _, port = location.rpartition(":")
    if not port.isdecimal() or len(port) > len("65535") or not 0 < int(port) < 1 << 16:
        raise ConfigurationError(f"udp:{location} is not an authenticator's address", "write one as udp:127.0.0.1:8111")
    try:
        address = _socket.inet_aton("127.0.0.1" if host == "localhost" else host)
    except OSError:
        address = b""
    if address[:1] != b"\x7f":
        raise ConfigurationError(
            f"udp:{location} is not on this machine, and anybody on the network could answer",
            "use a unix: socket that ssh forwards",
        )
    return _socket.inet_ntoa(address), int(port)


def open(location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> HidChannel:  # noqa: A001, ARG001 - see Transport
    """Have the authenticator at the location, host:port, allocate a channel.

    Raises ConfigurationError unless the location is on loopback and nobody else's, and AuthenticatorError if nobody
    answers.
    """
    address = _host_and_port(location)
    _owners(*address)
    try:
        socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    except OSError as error:
        raise no_socket(f"udp:{location}", error) from None
    try:
        socket.bind(("127.0.0.1", _CLIENT_PORT))
    except OSError:
        # Taken by another operation.
        socket.bind(("127.0.0.1", 0))
    return _Channel(_DatagramReports(socket, address), operation, address)


def _owners(host: str, port: int) -> set[int]:
    """Return who would get what is sent to an address.

    Raises ConfigurationError if another user would, who has only had to be the first to take the port.
    """
    try:
        owners = peers.udp_owners(port, host)
    except OSError as error:
        raise ConfigurationError(
            f"the owner of udp:{host}:{port} cannot be found out ({error.strerror})",
            "mount /proc, or use a unix: socket",
        ) from None
    for user in peers.strangers(owners):
        raise ConfigurationError(f"udp:{host}:{port} belongs to user {user}", "use one of yours")
    return owners


class _Channel(HidChannel):
    """A channel that leads to nobody else when a PIN is about to be sent."""

    def __init__(self, reports: _DatagramReports, event: Event, address: tuple[str, int]) -> None:
        self._address = address
        super().__init__(reports, event, "start it again, or correct the address")

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See HidChannel.

        Raises ConfigurationError too if the address has become another user's.
        """
        if cmd == CBOR and data[:1] == bytes([CLIENT_PIN]) and not _owners(*self._address):
            # Whoever takes the port in the next moment would get what is sent.
            raise AuthenticatorError("nobody listens at udp:{}:{}".format(*self._address), "start the authenticator")
        return super().call(cmd, data, event, on_keepalive)


class _DatagramReports:
    """One report in each datagram. See transport_api.Reports."""

    def __init__(self, socket: _socket.socket, address: tuple[str, int]) -> None:
        self._socket = socket
        self._address = address

    def send(self, report: bytes) -> None:
        try:
            self._socket.sendto(report, self._address)
        except OSError as error:
            raise self._unreachable(error) from None

    def receive(self, seconds: float) -> bytes | None:
        self._socket.settimeout(seconds)
        try:
            report, sender = self._socket.recvfrom(REPORT_SIZE + 1)
        except (TimeoutError, BlockingIOError):
            return None
        except OSError as error:
            raise self._unreachable(error) from None
        if sender[0] != self._address[0]:
            return None
        return report

    def close(self) -> None:
        self._socket.close()

    def _unreachable(self, error: OSError) -> AuthenticatorError:
        host, port = self._address
        return AuthenticatorError(f"nobody answers at udp:{host}:{port} ({error.strerror})", "start the authenticator")
