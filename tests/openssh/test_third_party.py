"""Another package's transport in real ssh-keygen, well behaved and not."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from support.openssh import Person, provider_lines
from support.processes import interrupt
from support.provider_tree import Tree

# Another way to the software authenticator; what stands before a slash says what else is done.
MODULE = """
import os, sys, threading
from sk_provider.transports import soft


class Channel:
    def __init__(self, channel, what):
        self.capabilities = channel.capabilities
        self._channel, self._what = channel, what

    def call(self, cmd, data=b"", event=None, on_keepalive=None):
        if self._what == "pipe":
            reader, writer = os.pipe()
            os.close(reader)
            os.write(writer, b"x")
        if self._what == "hang":
            threading.Event().wait()
        if self._what == "value":
            return "no bytes"
        if self._what == "print":
            print("out", flush=True)
            os.write(1, b"out")
        return self._channel.call(cmd, data, event, on_keepalive)

    def close(self):
        self._channel.close()
        if self._what == "close":
            raise KeyError("secret")


def discover(location):
    if location.startswith("discover/"):
        raise RuntimeError("secret")
    return [location]


def open(location, configuration, operation, *, may_create):
    what, slash, path = location.partition("/")
    if what == "open":
        sys.exit("secret")
    if what == "misuse":
        operation.wait_for_others("secret")
    return Channel(soft.open(slash + path, configuration, operation, may_create=may_create), what)
"""
WHOSE = "libpysk: the transport pigeon: of the package pigeon-post"


@pytest.fixture
def guest(person: Person, tmp_path: Path) -> Person:
    """Return a person whose provider has another package beside it."""
    tree = Tree(tmp_path / "tree")
    metadata = tree.folder / "pigeon_post-1.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text("[sk_provider.transports]\npigeon = pigeon_post:transport.module\n")
    (tree.folder / "pigeon_post").mkdir()
    (tree.folder / "pigeon_post/__init__.py").write_text("from . import transport\ntransport.module = transport\n")
    (tree.folder / "pigeon_post/transport.py").write_text(MODULE)
    person.provider = tree.library
    person.environment["SSH_SK_PROVIDER"] = str(tree.library)
    return person


def enroll(guest: Person, what: str) -> tuple[int, list[str]]:
    """Return the status of ssh-keygen, and our lines."""
    done, _ = guest.enroll("id", "ed25519-sk", f"device=pigeon:{what}{guest.store}")
    return done.status, provider_lines(done.errors)


def test_one_that_behaves_enrolls(guest: Person) -> None:
    assert enroll(guest, "") == (0, [])


def test_one_that_the_persons_option_names_serves_though_the_environments_file_names_it_too(guest: Person) -> None:
    address = f"pigeon:{guest.store}"
    guest.configure("Presence auto", device=address)
    done, _ = guest.enroll("id", "ed25519-sk")
    (line,) = provider_lines(done.errors)
    assert line == (
        "libpysk: pigeon: is another package's transport, which a file named in PYSK_CONFIG may not use; "
        "name it in ~/.ssh/pysk_config or with -O device="
    )
    done, _ = guest.enroll("id", "ed25519-sk", f"device={address}")
    assert (done.status, provider_lines(done.errors)) == (0, [])


@pytest.mark.parametrize(
    ("what", "kind"),
    [("discover", "RuntimeError"), ("open", "SystemExit"), ("misuse", "TypeError"), ("pipe", "BrokenPipeError")],
)
def test_what_goes_wrong_is_told_with_its_package_and_place(guest: Person, what: str, kind: str) -> None:
    status, (line,) = enroll(guest, what)
    assert status != 0
    assert line.startswith(f"{WHOSE} failed ({kind} in transport.py line ")
    assert "secret" not in line


def test_what_is_no_answer_is_told(guest: Person) -> None:
    _, (line,) = enroll(guest, "value")
    assert line == f"{WHOSE} failed (call() did not return bytes); report this to its authors"


def test_what_fails_only_when_it_is_closed_has_enrolled(guest: Person) -> None:
    status, (line,) = enroll(guest, "close")
    assert status == 0
    assert line.startswith(f"{WHOSE} failed (KeyError in transport.py line ")


def test_what_prints_spoils_no_answer(guest: Person) -> None:
    assert enroll(guest, "print") == (0, [])


def test_a_call_that_never_ends_ends_with_the_persons_time(guest: Person) -> None:
    guest.configure("Presence auto", "Timeout 1")
    status, (line,) = enroll(guest, "hang")
    assert status != 0
    assert line == f"{WHOSE} does not answer (call()); report this to its authors"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_call_that_never_ends_ends_with_the_person(guest: Person, number: signal.Signals) -> None:
    command = ["ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", str(guest.folder / "id")]
    process = subprocess.Popen(
        [*command, "-O", f"device=pigeon:hang{guest.store}"], env=guest.environment, cwd=guest.folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    interrupt(process, number)
