"""The examples of transports, by the kit that their authors try them with."""

from __future__ import annotations

import shlex

import pytest
from examples.exec_transport import pysk_exec
from examples.serial_transport import pysk_serial

from sk_provider.ctap import hid
from sk_provider.testing import ReportConformance, Token, TransportConformance


class Impatient:
    """Waits less for what does not come."""

    silence = 0.5
    patience = 1

    @pytest.fixture(autouse=True)
    def impatience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hid, "SILENCE", self.silence)


class TestExec(Impatient, TransportConformance):
    scheme = "exec"
    transport = pysk_exec

    def connect(self, token: Token) -> str:
        return shlex.join(token.bridge(messages=True))


class TestSerial(Impatient, ReportConformance):
    scheme = "serial"
    transport = pysk_serial

    def connect(self, token: Token) -> str:
        return token.terminal()
