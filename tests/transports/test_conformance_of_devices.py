"""Transports to devices, by the kit that other people's are tried with: what stands for a device is in this process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support.hurried import Hurried
from support.played_pcsc import Service

from sk_provider.ctap.framing import CAPABILITY_CBOR
from sk_provider.device_side.iso7816 import Applet
from sk_provider.device_side.uhid import REPORT_DESCRIPTOR
from sk_provider.testing import Token, TransportConformance
from sk_provider.transports import nfc, usb


class PluggedCard:
    """A card with the FIDO applet before a token, which is taken away once that is unplugged. See played_pcsc.Card."""

    def __init__(self, token: Token) -> None:
        self._applet = Applet(CAPABILITY_CBOR, lambda: CAPABILITY_CBOR, token.start)
        self.is_there = True
        token.at_the_end(self.take_away)

    def take_away(self) -> None:
        self.is_there = False

    def reset(self) -> None:
        self._applet.reset()

    def transmit(self, command: bytes) -> bytes:
        if not self.is_there:
            return b""
        answer = self._applet.receive(command, time.monotonic())
        while answer is None and self.is_there:
            time.sleep(0.01)
            answer = self._applet.poll(time.monotonic())
        return answer if answer and self.is_there else b""


class TestUsb(Hurried, TransportConformance):
    """A terminal stands for a hidraw device."""

    scheme = "usb"
    transport = usb
    # A terminal keeps 4 KB, and where it has to stop in the middle of a report gives that in two.
    sizes = tuple(size for size in TransportConformance.sizes if size < 3600)

    @pytest.fixture
    def surroundings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path
        node = usb._node
        monkeypatch.setattr(usb, "_node", lambda number: node(number).replace("/sys/dev", str(tmp_path)))

    def connect(self, token: Token) -> str:
        path = token.terminal(is_numbered=True)
        number = os.stat(path).st_rdev
        device = self.folder / "devices" / "hidraw" / f"hidraw{os.minor(number)}"
        (device / "device").mkdir(parents=True)
        (device / "device" / "report_descriptor").write_bytes(REPORT_DESCRIPTOR)
        node = self.folder / "char" / f"{os.major(number)}:{os.minor(number)}"
        node.parent.mkdir(exist_ok=True)
        node.symlink_to(device)
        return path


class TestNfc(TransportConformance):
    scheme = "nfc"
    transport = nfc
    silence = 0.3
    patience = 1
    leaves_out = ("test_a_forked_process_opens_it_anew",)  # to whose copy of the card nobody answers

    @pytest.fixture
    def surroundings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = Service({})
        self.service.put_in_place(monkeypatch)
        monkeypatch.setattr(nfc, "_LEAVING_PATIENCE", self.silence)
        monkeypatch.setattr(nfc, "_SETTLING_PATIENCE", self.silence)

    def connect(self, token: Token) -> str:
        reader = f"Virtual Reader {len(self.service.readers)}"
        self.service.readers[reader] = PluggedCard(token)  # type: ignore[assignment]
        return reader
