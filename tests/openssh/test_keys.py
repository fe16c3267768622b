"""pysk keys: what is on an authenticator, listed and deleted."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, KeyFile, Person, enrolled


def pysk(person: Person, *arguments: str, lines: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [person.pysk, "keys", *arguments],
        input="".join(f"{line}\n" for line in lines),
        text=True, env=person.environment, cwd=person.folder, check=False, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.fixture
def key(person: Person) -> str:
    """What names a resident key that was enrolled for alice."""
    person.set_pin(PIN)
    options = ("resident", "application=ssh:work", "user=alice")
    done, path = person.enroll("id", "ed25519-sk", *options, answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    return hashlib.sha256(KeyFile(path).key_handle).hexdigest()[:16]


def test_resident_keys_are_listed(person: Person, key: str) -> None:
    person.enroll("another", "ecdsa-sk")
    done = pysk(person, "list", lines=(PIN,))
    assert (done.returncode, done.stdout) == (0, f"{key}  ed25519-sk  ssh:work  alice\n")


def test_a_named_key_is_deleted_once_that_was_confirmed(person: Person, key: str) -> None:
    done = pysk(person, "delete", key, lines=(PIN, "n"))
    assert done.returncode == 1
    assert f"Delete the key {key}  ed25519-sk  ssh:work  alice?" in done.stderr
    done = pysk(person, "delete", f"soft:{person.store}", key, lines=(PIN, "y"))
    assert done.returncode == 0
    assert done.stderr.endswith("key deleted\n")
    done = pysk(person, "list", lines=(PIN,))
    assert (done.returncode, done.stdout) == (0, "")


def test_a_key_that_is_not_there_is_told(person: Person, key: str) -> None:
    done = pysk(person, "delete", "--yes", key[::-1], lines=(PIN,))
    assert (done.returncode, done.stderr) == (
        1,
        f"pysk: the authenticator has no resident key {key[::-1]}; see: pysk keys list --all soft:{person.store}\n",
    )


def test_a_wrong_pin_is_told_with_the_tries_that_are_left(person: Person, key: str) -> None:
    done = pysk(person, "list", lines=(WRONG_PIN,))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pysk: wrong PIN, 7 tries left; try again\n"
    assert key not in done.stderr


def test_an_authenticator_without_a_pin_lists_nothing(person: Person) -> None:
    enrolled(person)
    done = pysk(person, "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pysk: the authenticator has no PIN; ")
