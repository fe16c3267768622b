"""What the servers that carry CTAPHID reports have in common: one interface, and which peer is on which channel."""

from __future__ import annotations

import time
from typing import Generic, TypeVar

from sk_provider.ctap.framing import REPORT_SIZE

from .ctaphid import MAX_CHANNELS, CtapHid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import PluggedIn

Peer = TypeVar("Peer")


class HidServer(Generic[Peer]):
    """A HID interface; a subclass moves its reports, each to the peer that used its channel last."""

    def __init__(self, plugged_in: PluggedIn) -> None:
        self._hid = CtapHid(plugged_in.capabilities, plugged_in.announced, plugged_in.start, plugged_in.wink)
        self._peers: dict[bytes, Peer] = {}  # by the channel's four bytes

    def send(self, report: bytes, peer: Peer) -> None:
        """Give a report of 64 bytes to a peer, or drop it if the peer does not take it."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Send what is due."""
        self._send_all(self._hid.tick(now))

    def deadline(self) -> float | None:
        """Return when tick is to be called at the latest, by the monotonic clock."""
        return self._hid.deadline()

    def clear(self) -> None:
        """Forget all that was begun."""
        self._hid.clear()

    def receive(self, untrusted_report: bytes, peer: Peer) -> None:
        """Take what a peer sent; anything but a report of 64 bytes is ignored."""
        if len(untrusted_report) != REPORT_SIZE:
            return
        channel = untrusted_report[:4]
        self._peers.pop(channel, None)
        self._peers[channel] = peer
        if len(self._peers) > 2 * MAX_CHANNELS:
            del self._peers[next(iter(self._peers))]
        self._send_all(self._hid.receive(untrusted_report, time.monotonic()))

    def forget(self, peer: Peer) -> None:
        """Drop a peer that is gone, with its channels and what it had begun."""
        channels = [channel for channel, other in self._peers.items() if other == peer]
        for channel in channels:
            del self._peers[channel]
        self._hid.abandon({int.from_bytes(channel, "big") for channel in channels})

    def _send_all(self, reports: list[bytes]) -> None:
        for report in reports:
            peer = self._peers.get(report[:4])
            if peer is not None:  # it has not gone
                self.send(report, peer)
