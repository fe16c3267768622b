"""Serves one virtual key under several addresses, from the first moment to the last."""

from __future__ import annotations

import ipaddress

from sk_provider.device_side.errors import ServeError
from sk_provider.device_side.stdio import StdioMessageServer, StdioServer
from sk_provider.device_side.udp import UdpServer
from sk_provider.device_side.uhid import UhidServer
from sk_provider.device_side.unix import UnixServer
from sk_provider.device_side.vpcd import VpcdServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from sk_provider.device_side.loop import Loop, Server

    from .key import VirtualKey

DEFAULT_PORTS = {"udp": 8111, "vpcd": 35963}


class Serving:
    """A virtual key under its addresses; at the end of a with statement it is withdrawn and unplugged.

    A subclass may name other servers.
    """

    uhid_server = UhidServer
    unix_server = UnixServer
    udp_server = UdpServer
    vpcd_server = VpcdServer
    stdio_server = StdioServer
    stdio_message_server = StdioMessageServer

    def __init__(self, key: VirtualKey, loop: Loop) -> None:
        self._key = key
        self._loop = loop
        self._servers: list[Server] = []
        self._powered_by_reader = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for server in self._servers:
            server.close()
        self._key.close()

    def open(self, addresses: tuple[str, ...]) -> None:
        """Begin to serve at each of the addresses. Raises ServeError if one is no address, or cannot be served."""
        targets = [parse_address(address) for address in addresses]
        if sum(scheme == "stdio" for scheme, _, _ in targets) > 1:
            raise ServeError("standard input and output are named twice", "name stdio: or stdio:messages once")
        self._powered_by_reader = all(scheme == "vpcd" for scheme, _, _ in targets)
        for target in targets:
            self._servers.append(self._open(*target))
        self._key.power_up()  # only now can a client come, and the time for a reset begin

    @property
    def names(self) -> list[str]:
        """The addresses under which clients find the key; for uhid: the path of its hidraw device."""
        return [server.name for server in self._servers]

    def run(self) -> None:
        """Serve until the loop is stopped. Raises ServeError if an address cannot be served any longer."""
        self._loop.run(self._servers)

    def power_cycle(self) -> None:
        """Take the key's power and give it back."""
        for server in self._servers:
            server.clear()
        self._key.power_up()

    def _open(self, scheme: str, where: str, port: int) -> Server:
        if scheme == "uhid":
            return self.uhid_server(self._key, self._loop)
        if scheme == "stdio":
            server = self.stdio_message_server if where else self.stdio_server
            return server(self._key, self._loop)
        if scheme == "unix":
            return self.unix_server(where, self._key, self._loop)
        if scheme == "udp":
            return self.udp_server(where, port, self._key, self._loop, self.power_cycle)
        # Readers switch an idle card off: that must not interrupt the clients of other addresses.
        power_cycle: Callable[[], None] | None = self.power_cycle if self._powered_by_reader else None
        return self.vpcd_server(where, port, self._key, self._loop, power_cycle)


def parse_address(address: str) -> tuple[str, str, int]:
    """Return what an address says: its scheme, its path or host, and its port or 0.

    Raises ServeError if it is none that is served here.
    """
    scheme, colon, rest = address.partition(":")
    if address == "uhid:":
        return scheme, "", 0
    if address in ("stdio:", "stdio:messages"):
        return scheme, rest, 0
    if scheme == "unix" and rest.startswith("/"):
        return scheme, rest, 0
    if scheme in DEFAULT_PORTS and colon:
        host, _, port = rest.partition(":")
        if port == "":
            port = str(DEFAULT_PORTS[scheme])
        if not (port.isdecimal() and int(port) < 65536):
            raise ServeError(f"{address} has no port number", "write one as udp:127.0.0.1:8111")
        host = "127.0.0.1" if host in ("", "localhost") else host
        if not _is_loopback(host):
            raise ServeError(f"{address} is not on this machine", "serve the token on 127.0.0.1 alone")
        return scheme, host, int(port)
    raise ServeError(
        f"{address or 'an empty word'} is no address", "name uhid:, udp:HOST:PORT, unix:/PATH, vpcd:HOST:PORT or stdio:"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
