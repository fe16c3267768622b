"""A program on libssh loads libpysk.so through pysk_libssh.h, and works with OpenSSH's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.openssh import PIN, RESIDENT, USER_PRESENT, KeyFile, Person, Signature, provider_lines
from support.sshd import Sshd

PIN_PROMPT = "PIN"
MESSAGE = "a message"


def run(example: Path, person: Person, *words: str, library: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [example, library or person.provider, *words],
        input=MESSAGE, env=person.environment, cwd=person.folder, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


def enroll(example: Path, person: Person, kind: str) -> Path:
    done = run(example, person, "enroll", kind, "id")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return person.folder / "id"


def test_libssh_enrolls_signs_and_verifies(example: Path, person: Person, kind: str) -> None:
    key = enroll(example, person, kind)
    assert KeyFile(key).flags == USER_PRESENT
    done = run(example, person, "sign", "id")
    assert (done.returncode, done.stderr) == (0, "")
    (person.folder / "signature").write_text(done.stdout)
    assert Signature(done.stdout).flags == USER_PRESENT
    assert run(example, person, "verify", "id.pub", "signature").returncode == 0
    _, other = person.enroll("other", kind)
    assert run(example, person, "verify", f"{other.name}.pub", "signature").returncode == 1


def test_openssh_takes_the_keys_and_signatures_of_libssh(example: Path, person: Person, kind: str) -> None:
    key = enroll(example, person, kind)
    (person.folder / "signature").write_text(run(example, person, "sign", "id").stdout)
    assert person.verify(key, person.folder / "signature", MESSAGE.encode()).returncode == 0
    key.chmod(0o600)
    done, signature = person.sign(key)
    assert done.status == 0, done
    assert person.verify(key, signature).returncode == 0


def test_libssh_takes_the_keys_of_openssh(example: Path, person: Person, kind: str) -> None:
    _, key = person.enroll("id", kind)
    (person.folder / "signature").write_text(run(example, person, "sign", "id").stdout)
    assert person.verify(key, person.folder / "signature", MESSAGE.encode()).returncode == 0


def test_libssh_logs_in(example: Path, person: Person, server: Sshd, kind: str) -> None:
    key = enroll(example, person, kind)
    server.authorized_keys.write_text(key.with_name("id.pub").read_text())
    done = run(example, person, "login", "id", "127.0.0.1", str(server.port), server.user, str(server.known_hosts()))
    assert (done.returncode, done.stdout, done.stderr) == (0, "logged in, exit status 0\n", "")


def test_libssh_asks_for_the_pin_and_lists_resident_keys(example: Path, person: Person, kind: str) -> None:
    person.set_pin(PIN)
    command = [str(example), "-p", str(person.provider)]
    done = person.run(*command, "enroll", kind, "id", "resident", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert KeyFile(person.folder / "id").flags == USER_PRESENT | RESIDENT
    done = person.run(*command, "list", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert (person.folder / "id.pub").read_text().split()[1] in done.screen
    assert not provider_lines(done.screen + done.errors)


def test_a_failure_is_told_in_one_sentence(example: Path, person: Person) -> None:
    person.configure("Presence deny")
    done = run(example, person, "enroll", "ed25519-sk", "id")
    assert done.returncode == 1
    assert provider_lines(done.stderr) == [
        "libpysk: pysk_config refuses everything that needs a touch of soft: (Presence deny); change that line"
    ]
    assert not (person.folder / "id").exists()


def test_what_cannot_be_loaded_is_told(example: Path, person: Person) -> None:
    for library, sentence in (
        (Path("libpysk.so"), "is not absolute"),
        (person.folder / "none.so", "cannot load"),
        (example, "cannot load"),
        (person.provider.with_name("libpysk-skapi9.so"), "implements version 0x00090000 of the API"),
    ):
        done = run(example, person, "list", library=library)
        assert done.returncode == 1
        assert sentence in done.stderr
