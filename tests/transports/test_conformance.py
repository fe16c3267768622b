"""Our own transports, by the kit that other people's are tried with."""

from __future__ import annotations

from pathlib import Path

import pytest

from sk_provider import config
from sk_provider.authenticator.store import Store
from sk_provider.config import Configuration
from sk_provider.ctap import hid
from sk_provider.testing import ReportConformance, SafeConformance, Token, TransportConformance


class Impatient:
    """Waits less for what does not come. What is done with wrong reports is the same for all of these."""

    silence = 0.3
    patience = 1

    @pytest.fixture(autouse=True)
    def impatience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hid, "SILENCE", self.silence)


class TestUnix(Impatient, ReportConformance):
    scheme = "unix"

    def connect(self, token: Token) -> str:
        return token.unix_path()


class TestUdp(Impatient, TransportConformance):
    scheme = "udp"

    def connect(self, token: Token) -> str:
        return "{}:{}".format(*token.udp_address())


class TestSoft(SafeConformance):
    scheme = "soft"
    leaves_out = ("test_ssh_keygen_and_pysk_use_it",)  # where somebody would have to confirm

    def make_location(self, request: pytest.FixtureRequest) -> str:
        path: Path = request.getfixturevalue("tmp_path") / "store"
        Store.create(str(path))
        return str(path)

    def configuration(self) -> Configuration:
        configuration = super().configuration()
        configuration.presence = config.PRESENCE_AUTO
        return configuration
