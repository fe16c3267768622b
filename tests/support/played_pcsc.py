"""A PC/SC service with cards in its readers, in the place of pyscard's; what it answers can be changed.

A real pcscd cannot be made to fail at every point: tests/hardware/pcsc has what it can.
"""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

from smartcard import scard

from sk_provider.ctap.framing import CAPABILITY_NMSG
from sk_provider.device_side.iso7816 import Applet
from sk_provider.device_side.job import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import pytest

    from support.soft_token import Device

OK = scard.SCARD_S_SUCCESS
LATER = 1.0  # seconds that pass for a card while a reader waits for it


class Card:
    """A card with the FIDO applet before a software authenticator.

    instead: is asked for each command, and returns what to answer instead, or None.
    """

    def __init__(self, device: Device, *, announces_fido2: bool = False) -> None:
        self.commands: list[bytes] = []
        self.instead: Callable[[bytes], bytes | None] = lambda _: None
        self._device = device
        announced = device.capabilities | (CAPABILITY_NMSG if announces_fido2 else 0)
        self._applet = Applet(device.capabilities, lambda: announced, self._start)
        self._now = 0.0

    def reset(self) -> None:
        self._applet.reset()

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command)
        answer = self.instead(command)
        if answer is not None:
            return answer
        answer = self._applet.receive(command, self._now)
        while answer is None:
            self._now += LATER
            answer = self._applet.poll(self._now)
        return answer

    def _start(self, _caller: object, command: int, data: bytes) -> Job:
        job = Job(command, data)
        job.response = self._device.call(command, data)
        return job


class Service:
    """What pyscard's module scard has.

    results: by the name of a function, what its next calls return instead of OK, 0 for OK; hanging: the names of those
    that do not return until released is set; states: by a reader's name, flags besides whether there is a card.
    """

    def __init__(self, readers: dict[str, Card | None]) -> None:
        self.readers = readers
        self.results: dict[str, list[int]] = {}
        self.hanging: set[str] = set()
        self.released = threading.Event()
        self.states: dict[str, int] = {}
        self.calls: list[str] = []
        self.modes: list[int] = []
        self.contexts = 0
        self.cards = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(scard, name)

    def put_in_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "smartcard", SimpleNamespace(scard=self))

    def _begin(self, name: str) -> int:
        self.calls.append(name)
        if name in self.hanging:
            self.released.wait(30)
        results = self.results.get(name)
        return results.pop(0) if results else OK

    def SCardEstablishContext(self, _scope: int) -> tuple[int, object]:  # noqa: N802 - as all that follow
        result = self._begin("SCardEstablishContext")
        self.contexts += result == OK
        return result, object()

    def SCardReleaseContext(self, _context: object) -> int:  # noqa: N802
        self.contexts -= 1
        return self._begin("SCardReleaseContext")

    def SCardListReaders(self, _context: object, _groups: list[str]) -> tuple[int, list[str]]:  # noqa: N802
        return self._begin("SCardListReaders"), list(self.readers)

    def SCardGetStatusChange(  # noqa: N802
        self, _context: object, _timeout: int, asked: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        ((reader, _),) = asked
        state = self.states.get(reader, 0) | (scard.SCARD_STATE_PRESENT if self.readers.get(reader) else 0)
        return self._begin("SCardGetStatusChange"), [(reader, state, [])]

    def SCardConnect(  # noqa: N802
        self, _context: object, reader: str, mode: int, _protocols: int
    ) -> tuple[int, Card | None, int]:
        self.modes.append(mode)
        result = self._begin("SCardConnect")
        self.cards += result == OK
        return result, self.readers[reader], scard.SCARD_PROTOCOL_T1

    def SCardReconnect(self, card: Card, mode: int, _protocols: int, _initialization: int) -> tuple[int, int]:  # noqa: N802
        self.modes.append(mode)
        card.reset()
        return self._begin("SCardReconnect"), scard.SCARD_PROTOCOL_T0

    def SCardTransmit(self, card: Card, protocol: int, command: list[int]) -> tuple[int, list[int]]:  # noqa: N802
        assert protocol in (scard.SCARD_PROTOCOL_T0, scard.SCARD_PROTOCOL_T1)
        result = self._begin("SCardTransmit")
        return (result, []) if result != OK else (OK, list(card.transmit(bytes(command))))

    def SCardDisconnect(self, _card: Card, disposition: int) -> int:  # noqa: N802
        assert disposition == scard.SCARD_LEAVE_CARD
        self.cards -= 1
        return self._begin("SCardDisconnect")
