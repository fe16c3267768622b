"""What every suite wants of pytest and hypothesis, the installed provider with somebody who uses it, and a server."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from support.openssh import Person
from support.sshd import Sshd, keygen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# A shared machine may be slow at any moment: no test is a timed one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# A shell lets what it starts in the background ignore the one, nohup the other, and every program that a test starts
# would do so too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def provider() -> Path:
    done = subprocess.run(
        [Path(sys.executable).with_name("pysk"), "path"], check=True, capture_output=True, text=True, timeout=60
    )
    return Path(done.stdout.strip())


@pytest.fixture
def person(tmp_path: Path, provider: Path) -> Person:
    return Person(tmp_path, provider)


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
