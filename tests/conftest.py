"""What every suite wants of pytest and hypothesis, the installed provider with somebody who uses it, and servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import keyrings
from support.beside import Scheduling, place_of
from support.impatient import Impatient
from support.openssh import Person
from support.relay import Relay
from support.serve import serve
from support.sshd import Sshd, keygen
from support.swtpm import Manager, Swtpm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any, TypeVar

    from support.relay import Connect, Spoil

    Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

pytest_plugins = ["sk_provider.testing.plugin"]

# A shared machine may be slow at any moment: no test is a timed one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
# A shell lets what it starts in the background ignore the one, nohup the other, and every program that a test starts
# would do so too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# For what a test may be skipped where CI is set; each other skip is a failure there.
EXCUSES = (
    "only root can give a file away",
    "only root can make a program that has its rights",
    "only root that is not confined to a container can make a system in a folder",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Have the tests of files run beside each other, of which those in a place of their own are one."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, beside which the others run."""
    items.sort(key=lambda item: place_of(item.nodeid) is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = fail_unless_excused((yield))
    if call.excinfo is not None:
        add_output(report, call.excinfo.value)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return fail_unless_excused((yield))


def fail_unless_excused(report: Report) -> Report:
    """Return the report, as one of a failure if it is of a skip that CI does not excuse."""
    # That of a test that fails as it should is called skipped as well, and gives no reason.
    if "CI" in os.environ and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in EXCUSES:
            report.outcome = "failed"
            report.longrepr = f"skipped, which CI does not excuse: {reason}"
    return report


def add_output(report: pytest.TestReport, error: BaseException) -> None:
    """Let a report show what a program printed that was to succeed, or to end in time."""
    if isinstance(error, (subprocess.CalledProcessError, subprocess.TimeoutExpired)):
        for name, output in (("stdout", error.stdout), ("stderr", error.stderr)):
            text = output.decode(errors="replace") if isinstance(output, bytes) else output
            if text:
                report.sections.append((f"{name} of the program", text))


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run outside of the source tree, whose package no Python that a test starts shall find."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture
def keyring_alone() -> Iterator[None]:
    """Let no other test remember PINs or forget them meanwhile."""
    with keyrings.alone():
        yield


@pytest.fixture(scope="session")
def provider() -> Path:
    done = subprocess.run(
        [Path(sys.executable).with_name("pysk"), "path"], check=True, capture_output=True, text=True, timeout=60
    )
    return Path(done.stdout.strip())


@pytest.fixture
def person(tmp_path: Path, provider: Path) -> Person:
    return Person(tmp_path, provider)


@pytest.fixture(scope="session")
def impatience(tmp_path_factory: pytest.TempPathFactory) -> Impatient:
    return Impatient(tmp_path_factory.mktemp("impatient"))


@pytest.fixture
def impatient(person: Person, impatience: Impatient) -> None:
    """Have the person of the test use a copy of the package that waits less."""
    impatience.give(person)


@pytest.fixture(params=["ed25519-sk", "ecdsa-sk"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    keygen("-t", "ed25519", "-f", str(folder / "host_key"))
    with Sshd(folder, [folder / "host_key"]) as sshd:
        yield sshd


@pytest.fixture
def sockets() -> Iterator[Path]:
    # A socket's path must be short, which a test's folder is not.
    with tempfile.TemporaryDirectory(prefix="pysk-") as folder:
        yield Path(folder)


@pytest.fixture
def connect(sockets: Path) -> Connect:
    """Serve a token and put a relay before it; each call makes a new one."""
    number = 0

    @contextmanager
    def connect(spoil: Spoil | None = None, *options: str, presence: str = "auto", fault: str = "") -> Iterator[Relay]:
        nonlocal number
        number += 1
        token, relayed = sockets / f"token{number}", sockets / f"relay{number}"
        with ExitStack() as stack:
            stack.enter_context(serve(*options, f"unix:{token}", presence=presence, fault=fault))
            yield stack.enter_context(Relay(relayed, token, spoil))

    return connect


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[Swtpm]:
    with Swtpm(tmp_path / "tpm") as tpm:
        yield tpm


@pytest.fixture
def manager(tpm: Swtpm) -> Iterator[Manager]:
    with Manager(tpm) as manager:
        yield manager


@pytest.fixture
def owner(person: Person, manager: Manager) -> Person:
    """Somebody whose keys are in a TPM."""
    person.configure("Presence auto", device=f"{manager.address}@{person.store}")
    return person
