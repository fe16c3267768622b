"""nfc: through a real pcscd, by the kit that other people's transports are tried with."""

from __future__ import annotations

import time
from itertools import count

import pytest
from support import pcscd
from support.pcscd import POLLING_INTERVAL
from support.serve import serve, wait_until

from sk_provider.device_side.vpcd import VpcdServer
from sk_provider.testing import SafeConformance, Token, TransportConformance
from sk_provider.transports import nfc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

READERS = ("Virtual PCD 00 00", "Virtual PCD 00 01")


@pytest.fixture(scope="class")
def card() -> Iterator[str]:
    """A card that stays in its reader, whose name this is."""
    with serve(f"vpcd:127.0.0.1:{pcscd.PORT}"):
        wait_until(lambda: nfc.discover(READERS[0]) != [], "the card")
        yield READERS[0]
    time.sleep(POLLING_INTERVAL)


class TestNfc(SafeConformance):
    scheme = "nfc"

    @pytest.fixture(autouse=True)
    def card_is_taken_out(self) -> None:
        """Only at the end."""

    @pytest.fixture
    def surroundings(self, card: str) -> None:
        self.where = card

    def make_location(self, request: pytest.FixtureRequest) -> str:
        return self.where


@pytest.mark.long
class TestNfcWithFaults(TransportConformance):
    """Another card for each case, and for some one in the other reader."""

    scheme = "nfc"
    patience = 1

    @pytest.fixture
    def surroundings(self) -> None:
        self.slots = count()

    def connect(self, token: Token) -> str:
        slot = next(self.slots)
        token._add(VpcdServer("127.0.0.1", pcscd.PORT + slot, token._key, token._loop, None))
        wait_until(lambda: nfc.discover(READERS[slot]) != [], "the card")
        return READERS[slot]
