"""CTAPHID reports in UDP datagrams, one of 64 bytes each, as the simulators of tokens exchange them."""

from __future__ import annotations

import socket

from sk_provider import peers
from sk_provider.ctap.framing import INIT, INIT_PACKET

from .errors import ServeError
from .hid import HidServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .job import PluggedIn
    from .loop import Loop

# What asks a simulator to start anew, by the convention of those who test against them.
REBOOT = bytes.fromhex(
    "ac1052ca95e569de69e02ebff333485f13f9b2da34c5a8a340526697a9ab2e0b"
    "394d8d04973c134005be1a0140bff6045bb26eb77a73eaa47813f6b49a7250dc"
)
BEGINNING = bytes([INIT_PACKET | INIT])
LARGEST_READ = 65  # one more than a report, so that longer datagrams are seen to be none
BURST = 256  # datagrams taken at once, before others have their turn


class UdpServer(HidServer["tuple[str, int]"]):
    """Answers each datagram to the address that sent it, if that is root's or of the user who serves.

    Whose it is, is looked at where a client begins, or another takes a channel over.
    """

    def __init__(
        self, host: str, port: int, plugged_in: PluggedIn, loop: Loop, power_cycle: Callable[[], None]
    ) -> None:
        """Listen on a loopback address; port 0 takes a free one.

        power_cycle: what the reboot datagram calls.

        Raises ServeError if the address cannot be had, or nothing tells who sends to it.
        """
        super().__init__(plugged_in)
        self._loop = loop
        self._power_cycle = power_cycle
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise ServeError(f"udp:{host}:{port} cannot be served ({error.strerror})", "choose another port") from error
        try:
            peers.udp_owners(port)
        except OSError as error:
            self._socket.close()
            raise ServeError(
                f"the sender to udp:{host}:{port} cannot be found out ({error.strerror})",
                "mount /proc, or serve unix: instead",
            ) from error
        self.name = "udp:{}:{}".format(*self._socket.getsockname())
        loop.watch(self._socket.fileno(), self._readable)

    def send(self, report: bytes, peer: tuple[str, int]) -> None:
        """Send one datagram; what the network does not take is lost, as datagrams are."""
        try:
            self._socket.sendto(report, peer)
        except OSError:
            pass

    def close(self) -> None:
        """Give the address back."""
        self.clear()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(BURST):
            try:
                untrusted_datagram, peer = self._socket.recvfrom(LARGEST_READ)
            except OSError:  # no more, or the report that an earlier datagram was not taken
                return
            self._take(untrusted_datagram, peer)

    def _take(self, untrusted_datagram: bytes, peer: tuple[str, int]) -> None:
        is_reboot = untrusted_datagram == REBOOT
        begins = is_reboot or untrusted_datagram[4:5] == BEGINNING
        if (begins or self._peers.get(untrusted_datagram[:4]) != peer) and not _is_ours(peer):
            return
        if is_reboot:
            self._power_cycle()
        else:
            self.receive(untrusted_datagram, peer)


def _is_ours(sender: tuple[str, int]) -> bool:
    """Return whether all sockets that a datagram can come from are root's or of the user who runs this."""
    try:
        owners = peers.udp_owners(sender[1])
    except OSError:
        return False
    return bool(owners) and not peers.strangers(owners)
