"""Our own transports, and the examples of others, by the kit that other people's are tried with."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from examples.exec_transport import pysk_exec
from examples.serial_transport import pysk_serial
from support.hurried import Hurried
from support.swtpm import Manager, Swtpm

from sk_provider import config
from sk_provider.config import Configuration
from sk_provider.testing import ReportConformance, SafeConformance, Token, TransportConformance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class TestUnix(Hurried, ReportConformance):
    scheme = "unix"

    def connect(self, token: Token) -> str:
        return token.unix_path()


class TestUdp(Hurried, TransportConformance):
    scheme = "udp"

    def connect(self, token: Token) -> str:
        return "{}:{}".format(*token.udp_address())


class TestExec(Hurried, TransportConformance):
    scheme = "exec"
    transport = pysk_exec
    silence = 0.5

    def connect(self, token: Token) -> str:
        return shlex.join(token.bridge(messages=True))


class TestSerial(Hurried, ReportConformance):
    scheme = "serial"
    transport = pysk_serial
    silence = 0.5

    def connect(self, token: Token) -> str:
        return token.terminal()


class InStore(SafeConformance):
    """Authenticators that are made in a store, and ask nobody."""

    leaves_out: tuple[str, ...] = ("test_ssh_keygen_and_pysk_use_it",)  # where somebody would have to confirm
    where: str

    def configuration(self) -> Configuration:
        configuration = super().configuration()
        configuration.presence = config.PRESENCE_AUTO
        return configuration

    def make_location(self, request: pytest.FixtureRequest) -> str:
        self.reached().open(self.where, self.configuration(), self.operation(), may_create=True).close()
        return self.where


class TestSoft(InStore):
    scheme = "soft"

    @pytest.fixture
    def surroundings(self, tmp_path: Path) -> None:
        self.where = f"{tmp_path}/store"


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with Swtpm(tmp_path_factory.mktemp("tpm")) as tpm:
        yield tpm


class TestTpm(InStore):
    """swtpm is the TPM, behind what a kernel's resource manager does."""

    scheme = "tpm"
    leaves_out = (
        *InStore.leaves_out,
        "test_programs_do_not_inherit_it",  # which the TSS has no way to prevent
        "test_a_forked_process_opens_it_anew",  # whose copies of the manager's connections swtpm would wait for
    )

    @pytest.fixture
    def surroundings(self, tmp_path: Path, manager: Manager) -> None:
        self.where = f"{manager.tcti}@{tmp_path}/store"
