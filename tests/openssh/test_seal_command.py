"""pysk seal and pysk unseal on key files of the real ssh-keygen."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.openssh import PIN, PIN_PROMPT, KeyFile, Person, assert_signs, enrolled

from sk_provider.cli.seal import _KeyFile
from sk_provider.credentials.key_file import KeyFileRefused
from sk_provider.credentials.sealing import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.relay import Connect

PASSPHRASE = "correct horse"
ASKED = [("Passphrase: ", PASSPHRASE)]


def pysk(person: Person, *arguments: str | Path, answers: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [person.pysk, *map(str, arguments)],
        input=answers, env=person.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def seal(person: Person, key: Path, passphrase: str = PASSPHRASE) -> None:
    done = pysk(person, "seal", key, answers=f"{passphrase}\n")
    assert (done.returncode, done.stdout) == (0, ""), done
    assert done.stderr == f"{key} is sealed; kind of key handle: libpysk's software authenticator\n"
    assert KeyFile(key).key_handle.startswith(MARK)


def refused(person: Person, *arguments: str | Path, answers: str = "") -> str:
    """Return what is said of a key file, which is the last argument, and stays as it is."""
    before = Path(arguments[-1]).read_bytes(), sorted(os.listdir(person.folder))
    done = pysk(person, *arguments, answers=answers)
    assert done.returncode == 1, done
    assert (Path(arguments[-1]).read_bytes(), sorted(os.listdir(person.folder))) == before
    (line,) = done.stderr.splitlines()
    return line


def test_a_key_file_is_sealed_given_another_passphrase_and_unsealed(person: Person, kind: str) -> None:
    key = enrolled(person, kind)
    key.chmod(0o640)
    original, public, whole = KeyFile(key), key.with_name("id.pub").read_bytes(), key.read_bytes()
    seal(person, key)
    sealed = KeyFile(key)
    assert (sealed.public.key, sealed.flags) == (original.public.key, original.flags)
    assert key.with_name("id.pub").read_bytes() == public
    assert key.stat().st_mode & 0o777 == 0o640
    key.chmod(0o600)
    done, signature = person.sign(key, answers=ASKED)
    assert done.status == 0, done
    assert person.verify(key, signature).returncode == 0
    derived = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True, timeout=60)
    assert derived.stdout.split()[1] == public.decode().split()[1]
    assert pysk(person, "seal", "--change", key, answers=f"{PASSPHRASE}\nbattery\n").returncode == 0
    done, _ = person.sign(key, answers=ASKED)
    assert "the passphrase is wrong, or" in done.errors
    done, _ = person.sign(key, answers=[("Passphrase: ", "battery")])
    assert done.status == 0, done
    unsealed = pysk(person, "unseal", key, answers="battery\n")
    assert (unsealed.returncode, unsealed.stderr) == (0, f"{key} is not sealed any more\n")
    assert key.read_bytes() == whole
    assert_signs(person, key)


def test_a_wrong_passphrase_leaves_the_file_as_it_is(person: Person) -> None:
    key = enrolled(person)
    seal(person, key)
    for command in (("unseal",), ("seal", "--change")):
        line = refused(person, *command, key, answers="wrong\nnew\n")
        assert line.startswith(
            "pysk: the passphrase is wrong, or the authenticator does not hold this key; try again, "
        )


def test_no_passphrase_is_asked_for_where_no_authenticator_is_there_to_prove_it(person: Person) -> None:
    key = enrolled(person)
    seal(person, key)
    shutil.rmtree(person.store)
    for device, sentence in (
        (f"soft:{person.store}", "the key belongs to a software authenticator that is neither the default one"),
        ("unix:/nonexistent", "nobody listens at unix:/nonexistent"),
    ):
        person.configure(device=device)
        for command in (("unseal",), ("seal", "--change")):
            assert refused(person, *command, key).startswith(f"pysk: {sentence}")


def test_for_a_key_that_wants_a_pin_the_right_pin_tells(person: Person) -> None:
    person.set_pin(PIN)
    done, key = person.enroll("id", "ed25519-sk", "verify-required")
    assert done.status == 0, done
    whole = key.read_bytes()
    seal(person, key)
    status = pysk(person, "pin", "status").stdout
    assert "the passphrase is wrong, or" in refused(person, "unseal", key, answers=f"wrong\n{PIN}\n")
    assert pysk(person, "pin", "status").stdout == status
    assert pysk(person, "unseal", key, answers=f"{PASSPHRASE}\n{PIN}\n").returncode == 0
    assert key.read_bytes() == whole


def test_a_u2f_token_tells_without_a_touch(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "u2f") as relay:
        person.configure(device=relay.address)
        done, key = person.enroll("id", "ecdsa-sk")
        assert done.status == 0, done
        seal(person, key)
        assert "the passphrase is wrong, or" in refused(person, "unseal", key, answers="wrong\n")
        assert pysk(person, "unseal", key, answers=f"{PASSPHRASE}\n").returncode == 0


def test_files_that_cannot_be_sealed_are_left_alone(person: Person) -> None:
    key = enrolled(person)
    sealed = person.folder / "sealed"
    shutil.copy(key, sealed)
    seal(person, sealed)
    assert refused(person, "seal", sealed, answers="x\n") == (
        f"pysk: {sealed} is sealed; give it another passphrase with: pysk seal --change {sealed}"
    )
    for command in (("unseal",), ("seal", "--change")):
        assert refused(person, *command, key, answers="x\n") == f"pysk: {key} is not sealed; seal it with: pysk seal"
    assert refused(person, "seal", key, answers="\n") == "pysk: no passphrase was entered; try again"
    assert "is a public key" in refused(person, "seal", key.with_name("id.pub"), answers="x\n")
    ordinary = person.folder / "ordinary"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ordinary], check=True, timeout=60)
    assert "is not the key of a security key" in refused(person, "seal", ordinary, answers="x\n")
    cut = person.folder / "cut"
    cut.write_bytes(key.read_bytes()[:200])
    assert "is damaged" in refused(person, "seal", cut, answers="x\n")
    encrypted = person.folder / "encrypted"
    shutil.copy(key, encrypted)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", encrypted], check=True, timeout=60)
    assert f"{encrypted} is encrypted; remove its passphrase" in refused(person, "seal", encrypted, answers="x\n")
    read_only = person.folder / "read_only"
    shutil.copy(key, read_only)
    read_only.chmod(0o400)
    sentence = f"{read_only} is read-only; make it writable: chmod u+w {read_only}"
    assert sentence in refused(person, "seal", read_only, answers="x\n")
    missing, pipe = person.folder / "missing", person.folder / "pipe"
    os.mkfifo(pipe)
    for each in (missing, pipe, Path("/dev/zero")):
        done = pysk(person, "seal", each, answers="x\n")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done
    assert "is not an OpenSSH private-key file" in done.stderr


def test_a_file_that_was_changed_while_the_person_was_asked_is_left_alone(person: Person) -> None:
    key = enrolled(person)
    file = _KeyFile(str(key))
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", key], check=True, timeout=60)
    encrypted = key.read_bytes()
    with pytest.raises(KeyFileRefused, match="was changed meanwhile; try again"):
        file.write(b"another key handle")
    assert key.read_bytes() == encrypted


def test_ctrl_c_at_the_prompt_leaves_the_file_as_it_is(person: Person) -> None:
    key = enrolled(person)
    before = key.read_bytes()
    new, again = "New passphrase:", "New passphrase again:"
    for answers in ([(new, "\x03")], [(new, PASSPHRASE), (again, "\x03")]):
        done = person.run(str(person.pysk), "seal", str(key), answers=answers)
        assert done.status != 0
        assert key.read_bytes() == before
    done = person.run(str(person.pysk), "seal", str(key), answers=[(new, PASSPHRASE), (again, PASSPHRASE)])
    assert done.status == 0, done
    before = key.read_bytes()
    done = person.run(str(person.pysk), "unseal", str(key), answers=[("Passphrase:", "\x03")])
    assert done.status != 0
    assert key.read_bytes() == before
    assert sorted(os.listdir(person.folder)) == ["id", "id.pub", "pysk_config", "store"]


def test_a_resident_key_is_not_sealed(person: Person) -> None:
    person.set_pin(PIN)
    done, key = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert refused(person, "seal", key, answers="x\n").startswith("pysk: a resident key cannot be sealed")


def test_a_link_stays_a_link(person: Person) -> None:
    key = enrolled(person)
    link = person.folder / "link"
    link.symlink_to(key)
    seal(person, link)
    assert link.is_symlink()
    assert KeyFile(key).key_handle.startswith(MARK)


def test_what_cannot_be_written_is_not_begun(person: Person) -> None:
    plain = enrolled(person)
    sealed = person.folder / "sealed"
    shutil.copy(plain, sealed)
    seal(person, sealed)
    for key, *command in ((plain, "seal"), (sealed, "seal", "--change"), (sealed, "unseal")):
        before = key.read_bytes()
        done = subprocess.run(
            ["sh", "-c", 'ulimit -f 0; exec "$0" "$@"', person.pysk, *command, key],
            input="", env=person.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        # No passphrase is asked for, which could not be read.
        assert (done.returncode, done.stderr.partition(";")[0]) == (
            1,
            f"pysk: {key} cannot be written (File too large)",
        )
        assert key.read_bytes() == before
    assert [name for name in os.listdir(person.folder) if name.startswith(".")] == []


def test_the_public_key_is_known_by_the_new_name_alone(person: Person) -> None:
    known = person.folder / "known_keys"
    person.configure("Presence auto", f"KnownKeys {known}")
    key = enrolled(person)
    (_, before) = known.read_text().splitlines()
    seal(person, key)
    (_, after) = known.read_text().splitlines()
    assert before.split()[0] != after.split()[0]
    assert before.split()[1:] == after.split()[1:]
