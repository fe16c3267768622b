"""What the tests of the C boundary share: the library, hosts for it, and somebody with a token who uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import provider_tree, sk_host
from support.openssh import Person
from support.provider_tree import Tree
from support.sk_host import Build

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="session")
def library() -> Path:
    """The newest major's, whatever ssh is installed."""
    return provider_tree.installed_library().with_name(provider_tree.LIBRARY.name)


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sk_host.compile_host(tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="session", params=["plain", "sanitized"])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The host and the library, as they are and with both under AddressSanitizer and UndefinedBehaviorSanitizer."""
    if request.param == "plain":
        return Build(request.getfixturevalue("host"), request.getfixturevalue("library"))
    folder = tmp_path_factory.mktemp("sanitized")
    tree = Tree(folder / "packages")
    tree.rebuild(CFLAGS=" ".join((*SANITIZERS, "-O1", "-g")), LDFLAGS=SANITIZERS[0])
    return Build(sk_host.compile_host(folder, *SANITIZERS), tree.library)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "packages")


@pytest.fixture
def person(tmp_path: Path, library: Path) -> Person:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Person(home, library)


@pytest.fixture
def key(person: Person) -> Path:
    """A key that the undamaged library has enrolled for the person."""
    done, path = person.enroll("key", "ed25519-sk")
    assert done.status == 0, done
    return path


@pytest.fixture
def person_with_pin(person: Person) -> Person:
    pysk = os.path.join(os.path.dirname(sys.executable), "pysk")
    subprocess.run(
        (pysk, "pin", "set", f"soft:{person.store}"),
        input=f"{sk_host.PIN}\n",
        text=True,
        env=person.environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return person
