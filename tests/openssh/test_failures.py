"""What cannot work is told in one sentence, with the error that ssh has for it, and nothing is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import debian
from support.openssh import Person, provider_lines
from support.terminal import Done

INVALID_FORMAT = "invalid format"
NOT_FOUND = "device not found"


def only_line(done: Done, host_error: str) -> str:
    """Return the one sentence that the person sees, having checked that the helper ended as it should."""
    assert done.status != 0, done
    assert host_error in done.errors, done
    assert "helper exited" not in done.errors
    assert "internal error" not in done.errors
    assert "Traceback" not in done.errors
    (line,) = provider_lines(done.errors)
    happened, _, remedy = line.removeprefix("libpysk: ").partition("; ")
    assert happened
    assert remedy
    return line


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_configuration_that_others_can_write_is_refused(person: Person, key: Path) -> None:
    person.config.chmod(0o666)
    done, _ = person.sign(key)
    assert only_line(done, INVALID_FORMAT) == (
        f"libpysk: {person.config} can be written by others; run: chmod go-w {person.config}"
    )


def test_configuration_that_is_missing_is_told(person: Person, key: Path) -> None:
    person.config.unlink()
    done, _ = person.sign(key)
    assert str(person.config) in only_line(done, INVALID_FORMAT)


@pytest.mark.parametrize(
    "line", ["Presence perhaps", "Nonsense yes", "Timeout forever", "Device", "Match host x", "LogFile /tmp/log"]
)
def test_wrong_line_is_named(person: Person, key: Path, line: str) -> None:
    person.configure("Presence auto", line)
    done, _ = person.sign(key)
    assert f"{person.config} line 3: " in only_line(done, INVALID_FORMAT)


def test_configuration_is_not_obeyed_in_part(person: Person) -> None:
    person.configure("Presence auto", "Nonsense yes")
    done, path = person.enroll("id", "ed25519-sk")
    only_line(done, INVALID_FORMAT)
    assert not path.exists()
    assert not person.store.exists()


@pytest.mark.parametrize("address", ["nosuch:thing", "soft:relative/path"])
def test_address_that_is_none_is_refused(person: Person, address: str) -> None:
    done, path = person.enroll("id", "ed25519-sk", f"device={address}")
    assert done.status != 0
    assert not path.exists()
    (line,) = provider_lines(done.errors)
    assert address.partition(":")[0] in line


def test_device_option_comes_before_the_configuration(person: Person) -> None:
    other = person.folder / "other_store"
    done, path = person.enroll("id", "ed25519-sk", f"device=soft:{other}")
    assert done.status == 0, done
    assert other.is_dir()
    assert not person.store.exists()
    done, _ = person.sign(path)
    only_line(done, NOT_FOUND)


def test_key_of_another_provider_is_not_found(person: Person) -> None:
    double = debian.unpacked() / "usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so"
    person.environment["SSH_SK_PROVIDER"] = str(double)
    done, path = person.enroll("id", "ed25519-sk")
    assert done.status == 0, done
    person.environment["SSH_SK_PROVIDER"] = str(person.provider)
    done, signature = person.sign(path)
    only_line(done, NOT_FOUND)
    assert not signature.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\xa0", b"not a store", bytes(4096)], ids=["empty", "empty map", "text", "zeros"]
)
def test_damaged_store_is_left_as_it_is(person: Person, key: Path, content: bytes) -> None:
    (person.store / "state").write_bytes(content)
    before = files_of(person.store)
    for done, made in (
        person.sign(key),
        person.enroll("other", "ed25519-sk"),
        person.enroll("rk", "ecdsa-sk", "resident"),
    ):
        only_line(done, INVALID_FORMAT)
        assert not made.exists()
    assert files_of(person.store) == before


def test_truncated_store_is_left_as_it_is(person: Person, key: Path) -> None:
    state = person.store / "state"
    whole = state.read_bytes()
    state.write_bytes(whole[:-1])
    done, _ = person.sign(key)
    only_line(done, INVALID_FORMAT)
    state.write_bytes(whole)
    done, signature = person.sign(key)
    assert done.status == 0, done
    assert person.verify(key, signature).returncode == 0


@pytest.mark.parametrize("name", ["", "state"], ids=["folder", "state"])
def test_store_that_others_can_write_is_refused(person: Person, key: Path, name: str) -> None:
    path = person.store / name
    mode = path.stat().st_mode
    path.chmod(mode | 0o022)
    before = files_of(person.store)
    done, _ = person.sign(key)
    only_line(done, INVALID_FORMAT)
    assert files_of(person.store) == before
    path.chmod(mode)
    done, signature = person.sign(key)
    assert person.verify(key, signature).returncode == 0


def test_store_whose_secrets_others_can_read_is_refused(person: Person, key: Path) -> None:
    (person.store / "state").chmod(0o644)
    done, _ = person.sign(key)
    only_line(done, INVALID_FORMAT)


def test_signing_makes_no_store(person: Person, key: Path) -> None:
    person.store.rename(person.folder / "elsewhere")
    done, _ = person.sign(key)
    only_line(done, NOT_FOUND)
    assert not person.store.exists()


def test_store_that_cannot_be_made_is_told(person: Person) -> None:
    (person.folder / "file").touch()
    done, path = person.enroll("id", "ed25519-sk", f"device=soft:{person.folder}/file/store")
    only_line(done, INVALID_FORMAT)
    assert not path.exists()


def test_nobody_to_ask_is_told(person: Person, key: Path) -> None:
    person.configure("Presence ask")
    document = person.folder / "document"
    document.touch()
    # Without a controlling terminal, as a service has none.
    done = person.run(
        "setsid", "--wait", "ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(document),
        environment={"SSH_ASKPASS_REQUIRE": "never"},
    )  # fmt: skip
    assert "nobody can be asked to confirm" in only_line(done, INVALID_FORMAT)


def test_interrupted_question_ends_at_once(person: Person, key: Path) -> None:
    person.configure("Presence ask")
    done, signature = person.sign(key, answers=[("libpysk: ", "\x03")])
    assert done.status != 0
    assert not signature.exists()
    person.configure("Presence auto")
    done, signature = person.sign(key)
    assert person.verify(key, signature).returncode == 0


# Runs a command in the background, in a group that no shell of its session looks after, and ends with its status.
ORPHAN = """
import os, subprocess, sys, time
reader, writer = os.pipe()
parent = os.fork()
if parent == 0:
    between = os.getpid()
    if os.fork() == 0:
        os.setpgid(0, 0)
        while os.getppid() == between:
            time.sleep(0.01)
        os.write(writer, bytes([subprocess.run(sys.argv[1:]).returncode]))
    os._exit(0)
os.wait()
sys.exit(os.read(reader, 1)[0])
"""


@pytest.mark.parametrize("has_askpass", [False, True])
def test_a_terminal_that_cannot_be_used_is_none(person: Person, key: Path, has_askpass: bool) -> None:
    person.configure("Presence ask")
    document = person.folder / "document"
    document.write_bytes(b"a message")
    environment = person.askpass("yes") | {"SSH_ASKPASS_REQUIRE": ""} if has_askpass else {}
    done = person.run(
        sys.executable, "-c", ORPHAN, "ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(document),
        environment=environment,
    )  # fmt: skip
    if has_askpass:
        assert done.status == 0, done
        assert "with the software authenticator?" in (person.folder / "questions").read_text()
        assert person.verify(key, person.folder / "document.sig").returncode == 0
    else:
        assert "nobody can be asked to confirm" in only_line(done, INVALID_FORMAT)
