"""The examples of transports, built and installed beside a copy of ours, and somebody who uses them at home."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import termios
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.impatient import SILENCE_S
from support.openssh import Person
from support.provider_tree import Tree
from support.serve import PATIENCE, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    # Plugs a token in, given what counts as a touch, and returns the address at which it is.
    Plug = Callable[[str], AbstractContextManager[str]]

EXAMPLES = ("exec_transport", "serial_transport")
PYSK = Path(sys.executable).with_name("pysk")


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run([*command, "--no-deps", "--no-index"], check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A folder of packages with ours and the examples; what is home/ beside it is where its users live."""
    folder = tmp_path_factory.mktemp("installed")
    tree = Tree(folder / "packages")
    # The user's home is the password database's, which the test leaves alone.
    tree.append("config.py", f"def home_directory(): return {str(folder / 'home')!r}")
    tree.append("ctap/hid.py", f"SILENCE = {SILENCE_S}")
    tree.carry()
    for name in EXAMPLES:
        # A build leaves files behind.
        shutil.copytree(Path(__file__).with_name(name), folder / name)
    wheels = folder / "wheels"
    pip("wheel", "--no-build-isolation", "--wheel-dir", wheels, *(folder / name for name in EXAMPLES))
    pip("install", "--target", tree.folder, *sorted(wheels.glob("*.whl")))
    return tree


@pytest.fixture
def guest(installed: Tree) -> Iterator[Person]:
    home = installed.folder.with_name("home")
    home.mkdir()
    (home / ".ssh").mkdir(mode=0o700)
    person = Person(home, installed.library)
    person.config = home / ".ssh/pysk_config"
    # A file that is named there may not name another package's transport.
    del person.environment["PYSK_CONFIG"]
    yield person
    shutil.rmtree(home)


@pytest.fixture(params=["exec", "serial"])
def plug(request: pytest.FixtureRequest, guest: Person) -> Plug:
    return {"exec": exec_token, "serial": serial_token}[request.param](guest)


def exec_token(guest: Person) -> Plug:
    """Plug a token in by a program of the person's that speaks for it."""

    @contextmanager
    def plugged(presence: str) -> Iterator[str]:
        program = guest.folder / "token"
        program.write_text(f"#!/bin/sh\nexec {PYSK} serve --store {guest.store} --presence {presence} stdio:messages\n")
        program.chmod(0o700)
        yield f"exec:{program}"

    return plugged


def serial_token(guest: Person) -> Plug:
    """Plug a token in at the other end of a line."""

    @contextmanager
    def plugged(presence: str) -> Iterator[str]:
        tokens, persons = pty.openpty()
        as_it_was = termios.tcgetattr(persons)
        token = subprocess.Popen(
            [PYSK, "serve", "--store", guest.store, "--presence", presence, "stdio:"],
            stdin=tokens, stdout=tokens, start_new_session=True,
        )  # fmt: skip
        os.close(tokens)
        # Held open, as a line stays when nobody uses it.
        try:
            # The other end of a line has settings of its own, which are not the token's.
            wait_until(lambda: termios.tcgetattr(persons) != as_it_was, "the line's being set")
            termios.tcsetattr(persons, termios.TCSANOW, as_it_was)
            yield f"serial:{os.ttyname(persons)}"
        finally:
            token.terminate()
            token.wait(PATIENCE)
            os.close(persons)

    return plugged
