"""usb: at a real /dev/hidraw, by the kit that other people's transports are tried with."""

from __future__ import annotations

import pytest

from sk_provider.device_side.uhid import MAX_REQUEST, UhidServer
from sk_provider.testing import SafeConformance, Token, TransportConformance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Device(UhidServer):
    """A device whose reports are what a Token says."""

    def __init__(self, token: Token) -> None:
        self._token: Final = token
        super().__init__(token._key, token._loop)

    def send(self, report: bytes, peer: str) -> None:
        for each in self._token._sent(report):
            super().send(each, peer)


class TestUsb(SafeConformance):
    scheme = "usb"
    leaves_out = ("test_ssh_keygen_and_pysk_use_it",)  # which takes long there, and is what test_provider.py tries

    @pytest.fixture
    def surroundings(self, token: str) -> None:
        self.where = token

    def make_location(self, request: pytest.FixtureRequest) -> str:
        return self.where


@pytest.mark.long
class TestUsbWithFaults(TransportConformance):
    scheme = "usb"
    grace = 10.0  # where the processor is emulated
    # Longer requests are lost in the kernel's queue.
    sizes = tuple(size for size in TransportConformance.sizes if size <= MAX_REQUEST)

    def connect(self, token: Token) -> str:
        device = Device(token)
        token._add(device)
        return device.name
