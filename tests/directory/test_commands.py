"""pysk directory, as a person and as a script call it, on directories that are files and web servers."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path

import pytest
from support.certificates import Authority
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, KeyFile, Person
from support.records import POINT
from support.serve import serve
from support.web import WebServer

from sk_provider.credentials import sealing
from sk_provider.credentials.directory import local_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., subprocess.CompletedProcess[str]]

PASSPHRASE = "correct battery"


@pytest.fixture
def records(person: Person) -> Path:
    """The only directory of the person, who is alice there: a folder."""
    folder = person.folder / "records"
    folder.mkdir()
    configure(person, f"KeyDirectory file:{folder}")
    return folder


def configure(person: Person, *lines: str) -> None:
    person.configure("Presence auto", "KeyDirectoryUser alice", *lines)


@pytest.fixture
def run(person: Person) -> Run:
    def run(*arguments: str, lines: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [person.pysk, "directory", *arguments], input="".join(f"{line}\n" for line in lines),
            text=True, env=person.environment, cwd=person.folder, check=False, capture_output=True, timeout=60,
        )  # fmt: skip

    return run


def enroll(person: Person, name: str, *options: str, kind: str = "ed25519-sk") -> Path:
    wants_pin = person.pin and "resident" in options
    done, key = person.enroll(name, kind, *options, answers=[(PIN_PROMPT, PIN)] if wants_pin else [])
    assert done.status == 0, done
    return key


def fingerprint(key: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()[1]


def listed(run: Run, *user: str) -> list[list[str]]:
    done = run("list", *user)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("  ") for line in done.stdout.splitlines()]


def test_keys_are_added_listed_and_removed(person: Person, records: Path, run: Run) -> None:
    person.set_pin(PIN)
    blue = enroll(person, "blue", "verify-required")
    red = enroll(person, "red", "no-touch-required", "application=ssh:work", kind="ecdsa-sk")
    done = run("add", str(blue), str(red))
    assert (done.returncode, done.stdout) == (0, "")
    said = re.findall(r"^([0-9a-f]{16}) added to (.*)$", done.stderr, re.MULTILINE)
    assert [where for _, where in said] == [f"file:{records}"] * 2
    assert listed(run) == [
        [said[0][0], "ed25519-sk", "ssh:", "verify-required", fingerprint(blue), "blue"],
        [said[1][0], "ecdsa-sk", "ssh:work", "no-touch-required", fingerprint(red), "red"],
    ]
    assert listed(run, "bob") == []
    # Added again, they are replaced.
    assert run("add", str(blue)).returncode == 0
    assert len(listed(run)) == 2

    done = run("remove", said[0][0], "bob", lines=("y",))
    sentence = f"pysk: file:{records} has no key {said[0][0]} of bob; see: pysk directory list bob\n"
    assert (done.returncode, done.stderr) == (1, sentence)
    done = run("remove", said[0][0], lines=("n",))
    assert done.returncode == 1
    assert f"Remove alice's key {said[0][0]}  ed25519-sk" in done.stderr
    assert len(listed(run)) == 2
    assert run("remove", fingerprint(blue), lines=("y",)).stderr.endswith(f"removed from file:{records}\n")
    assert run("remove", "--yes", said[1][0]).returncode == 0
    assert listed(run) == []


def test_a_directory_of_files_has_a_deadline_as_others_have(person: Person, run: Run) -> None:
    # So many lines take far longer, as would a file system whose server is gone.
    (person.folder / "long").write_bytes(b"b\n" * (local_file.MAX_SIZE // 2))
    (person.folder / "short").write_text("")
    configure(person, f"KeyDirectory file:{person.folder}/long file:{person.folder}/short", "KeyDirectoryTimeout 1")
    done = run("list")
    sentence = f"file:{person.folder}/long has not answered within 1 second; try again, or set KeyDirectoryTimeout"
    assert (done.returncode, done.stderr) == (1, f"pysk: {sentence} in pysk_config\n")


def test_nobody_is_asked_to_confirm_a_removal_that_cannot_be(person: Person, run: Run) -> None:
    keys = person.folder / "u2f_keys"
    handle, point = base64.b64encode(bytes(64)).decode(), base64.b64encode(POINT[1:]).decode()
    keys.write_text(f"alice:{handle},{point},es256,+presence\n")
    configure(person, f"KeyDirectory pam-u2f:{keys}")
    ((key, *_),) = listed(run)
    done = run("remove", key, "--url", f"pam-u2f:{keys}")
    sentence = f"pysk: pam-u2f:{keys} cannot be written by this program; write it with its own tools\n"
    assert (done.returncode, done.stderr) == (1, sentence)


def test_keys_are_listed_as_json(person: Person, records: Path, run: Run) -> None:
    key = enroll(person, "red", "no-touch-required", "application=ssh:work", kind="ecdsa-sk")
    run("add", str(key))
    done = run("list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (told,) = json.loads(done.stdout)
    assert told.pop("key") == listed(run)[0][0]
    assert told == {
        "type": "ecdsa-sk",
        "application": "ssh:work",
        "options": ["no-touch-required"],
        "fingerprint": fingerprint(key),
        "comment": "red",
        "key_handle": KeyFile(key).key_handle.hex(),
        "public_key": key.with_name("red.pub").read_text().rstrip("\n"),
    }
    assert json.loads(run("list", "--json", "bob").stdout) == []


def test_keys_are_added_for_somebody_else(person: Person, records: Path, run: Run) -> None:
    key = enroll(person, "id")
    assert run("add", "--user", "bob", str(key)).returncode == 0
    assert listed(run) == []
    assert [line[4] for line in listed(run, "bob")] == [fingerprint(key)]


def test_an_encrypted_file_is_added_after_its_passphrase(person: Person, records: Path, run: Run) -> None:
    key = enroll(person, "id")
    content = key.read_bytes()
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", PASSPHRASE, "-f", key], check=True, timeout=60)
    done = run("add", str(key), lines=("wrong",))
    assert done.returncode == 1
    assert done.stderr.endswith(f"pysk: wrong passphrase for {key}; try again\n")
    assert listed(run) == []
    done = run("add", str(key), lines=(PASSPHRASE,))
    assert done.returncode == 0, done
    assert len(listed(run)) == 1
    command = [str(person.pysk), "directory", "add", str(key)]
    shown = person.run(*command, answers=[(f"Passphrase of {key}:", PASSPHRASE)])
    assert shown.status == 0, shown
    assert PASSPHRASE not in shown.screen + shown.errors
    assert key.read_bytes() != content


def test_nothing_is_added_if_one_of_the_files_cannot_be(person: Person, records: Path, run: Run) -> None:
    key = enroll(person, "id")
    for other, sentence in (
        (f"{key}.pub", "is a public key; use the private-key file, without .pub"),
        (str(person.config), "is not an OpenSSH private-key file; use one that ssh-keygen has made"),
        ("/no such file", "cannot be read (No such file or directory); name a file that you can read"),
        (str(person.folder), "cannot be read (Is a directory); name a file that you can read"),
    ):
        done = run("add", str(key), other)
        assert (done.returncode, done.stderr) == (1, f"pysk: {other} {sentence}\n")
    assert list(records.iterdir()) == []


def test_resident_keys_are_added_which_the_token_is_not_touched_for(person: Person, records: Path, run: Run) -> None:
    person.set_pin(PIN)
    mine = enroll(person, "mine", "resident", "verify-required")
    enroll(person, "other", "resident", "application=ssh:other")
    person.configure("Presence deny", "KeyDirectoryUser alice", f"KeyDirectory file:{records}")
    done = run("add", "--resident", lines=(WRONG_PIN,))
    assert (done.returncode, list(records.iterdir())) == (1, [])
    done = run("add", "--resident", f"soft:{person.store}", lines=(PIN,))
    assert done.returncode == 0, done
    assert min(line[2:5] for line in listed(run)) == ["ssh:", "verify-required", fingerprint(mine)]
    assert len(listed(run)) == 2
    # Of its PIN the directory has nothing.
    assert PIN not in (records / "alice").read_text()


def test_resident_keys_of_a_token_that_verifies_its_person_keep_that_they_want_it(
    person: Person, records: Path, run: Run, tmp_path: Path
) -> None:
    with serve("--profile", "uv", f"unix:{tmp_path}/token") as served:
        person.configure(device=served.names[0])
        person.set_pin(PIN)
        done, key = person.enroll("id", "ed25519-sk", "resident", "verify-required")
        assert done.status == 0, done
        person.configure("KeyDirectoryUser alice", f"KeyDirectory file:{records}", device=served.names[0])
        done_adding = run("add", "--resident", lines=(PIN,))
    assert done_adding.returncode == 0, done_adding
    assert [line[2:5] for line in listed(run)] == [["ssh:", "verify-required", fingerprint(key)]]


def test_the_directory_is_named_where_several_can_be_written(person: Person, run: Run) -> None:
    key = enroll(person, "id")
    one, other = (f"file:{person.folder / name}" for name in ("one", "other"))
    configure(person, f"KeyDirectory {one} {other} https://keys.example/%u")
    done = run("add", str(key))
    assert done.returncode == 1
    assert done.stderr == f"pysk: several key directories can be written; add --url and one of: {one} {other}\n"
    assert run("add", "--url", other, str(key)).returncode == 0
    assert not (person.folder / "one").exists()
    assert (person.folder / "other").exists()
    configure(person, "KeyDirectory https://keys.example/%u")
    done = run("add", str(key))
    assert done.stderr == "pysk: no key directory that can be written is configured; name one with --url\n"
    done = run("add", "--url", "https://keys.example/%u", str(key))
    assert "https://keys.example/%u cannot be written by this program" in done.stderr


def test_without_directories_there_is_nothing_to_ask(person: Person, run: Run) -> None:
    for arguments in (("list",), ("export",), ("authorized-keys", "alice")):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "pysk: no key directory is configured; write KeyDirectory and a URL into ~/.ssh/pysk_config\n"
        )


def test_files_are_exported_that_ssh_keygen_has_made(person: Person, records: Path, run: Run) -> None:
    blue = enroll(person, "blue", "no-touch-required")
    red = enroll(person, "red", "application=ssh:a name")
    run("add", str(blue), str(red))
    done = run("export", "--output", "exported")
    assert (done.returncode, done.stderr) == (0, "")
    made = [person.folder / path for path in done.stdout.splitlines()]
    assert [re.sub("_[0-9a-f]{16}$", "", path.name) for path in made] == [
        "id_ed25519_sk_rk", "id_ed25519_sk_rk_a_name"
    ]  # fmt: skip
    for original, path in zip((blue, red), made, strict=True):
        assert path.stat().st_mode & 0o777 == 0o600
        public = path.with_name(f"{path.name}.pub")
        assert public.read_text() == original.with_name(f"{original.name}.pub").read_text()
        old, new = KeyFile(original), KeyFile(path)
        assert (new.public.blob, new.flags, new.key_handle) == (old.public.blob, old.flags, old.key_handle)
        shown = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, check=True, timeout=60)
        assert shown.stdout == public.read_bytes()
    assert len(list((person.folder / "exported").iterdir())) == 4


def test_an_export_replaces_nothing_and_leaves_nothing_behind(person: Person, records: Path, run: Run) -> None:
    run("add", *(str(enroll(person, name)) for name in ("blue", "red")))
    run("export", "--output", "exported")
    folder = person.folder / "exported"
    last = max(folder.iterdir(), key=lambda path: (path.suffix, listed(run)[1][0] in path.name))
    for path in folder.iterdir():
        path.unlink()
    last.write_text("mine")
    done = run("export", "--output", "exported")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"pysk: exported/{last.name} exists; move it away, or name another folder\n"
    assert [path.read_text() for path in folder.iterdir()] == ["mine"]


def test_one_key_is_exported_to_standard_output(person: Person, records: Path, run: Run) -> None:
    blue, red = (enroll(person, name) for name in ("blue", "red"))
    run("add", str(blue), str(red))
    done = run("export")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there are 2 keys, and standard output takes one; name one with --key" in done.stderr
    exported = person.folder / "exported"
    exported.write_text(run("export", "--key", fingerprint(red)).stdout)
    assert KeyFile(exported).key_handle == KeyFile(red).key_handle
    done = run("export", "--key", "SHA256:none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pysk: no key directory has that key; see: pysk directory list\n"


def seal(run: Run, *arguments: str, lines: tuple[str, ...] = (PASSPHRASE,)) -> str:
    """Seal or unseal a key, and return what names it then."""
    done = run(*arguments, lines=lines)
    assert (done.returncode, done.stdout) == (0, ""), done
    key = listed(run)[-1]
    named = {"seal": key[0], "unseal": key[4]}[arguments[0]]
    *warnings, said = done.stderr.splitlines()
    assert said.startswith(f"{named} in ")
    assert key[4] in said
    assert [line.partition(";")[0] for line in warnings] == (
        ["pysk: a directory does not tell whether a key is resident"] if arguments[:-1] == ("seal",) else []
    )
    return key[0]


def exported(person: Person, run: Run, key: str) -> Path:
    path = person.folder / "exported"
    path.touch(mode=0o600)
    path.write_text(run("export", "--key", key).stdout)
    path.with_name("exported.pub").write_text(
        subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True, timeout=60).stdout
    )
    return path


def test_a_record_is_sealed_given_another_passphrase_and_unsealed(person: Person, records: Path, run: Run) -> None:
    file = records / "alice"
    run("add", str(enroll(person, "other")), str(enroll(person, "id", "no-touch-required")))
    before, first = file.read_text(), listed(run)[1]
    sealed = seal(run, "seal", first[0])
    assert listed(run)[1][1:] == first[1:]
    assert file.read_text().splitlines()[0] == before.splitlines()[0]
    path = exported(person, run, sealed)
    assert sealing.is_sealed(KeyFile(path).key_handle)
    done, signature = person.sign(path, answers=[("Passphrase: ", PASSPHRASE)])
    assert done.status == 0, done
    assert person.verify(path, signature).returncode == 0
    changed = seal(run, "seal", "--change", sealed, lines=(PASSPHRASE, "another"))
    done, _ = person.sign(exported(person, run, changed), answers=[("Passphrase: ", PASSPHRASE)])
    assert "the passphrase is wrong, or" in done.errors
    assert seal(run, "unseal", changed, lines=("another",)) == first[0]
    assert file.read_text() == before
    assert [path.name for path in records.iterdir()] == ["alice"]


def test_a_record_that_cannot_be_sealed_or_unsealed_stays_as_it_is(person: Person, records: Path, run: Run) -> None:
    file = records / "alice"
    run("add", str(enroll(person, "id")))
    plain = listed(run)[0][0]
    sealed = seal(run, "seal", plain)
    key = fingerprint(person.folder / "id")
    content = file.read_text()
    wrong = "the passphrase is wrong, or the authenticator does not hold this key; try again, or connect the one that"
    for arguments, lines, sentence in (
        (("unseal", sealed), ("wrong",), wrong),
        (("seal", "--change", key), ("wrong", "another"), wrong),
        (("seal", "--change", key), (PASSPHRASE, ""), "no passphrase was entered; try again"),
        (
            ("seal", sealed),
            ("x",),
            f"{sealed} is sealed; give it another passphrase with: pysk directory seal --change",
        ),
        (("seal", plain), ("x",), f"file:{records} has no key {plain} of alice; see: pysk directory list"),
        (("seal", sealed, "bob"), ("x",), f"file:{records} has no key {sealed} of bob; see: pysk directory list bob"),
    ):
        done = run(*arguments, lines=lines)
        assert (done.returncode, done.stderr.startswith(f"pysk: {sentence}")) == (1, True), done
        assert file.read_text() == content
    run("add", str(person.folder / "id"))
    content = file.read_text()
    done = run("seal", key, lines=("x",))
    assert done.stderr == f"pysk: file:{records} has 2 keys of that fingerprint; see: pysk directory list\n"
    done = run("unseal", plain, lines=("x",))
    assert done.stderr == f"pysk: {plain} is not sealed; seal it with: pysk directory seal\n"
    assert [(path.name, path.read_text()) for path in records.iterdir()] == [("alice", content)]


def test_a_directory_that_cannot_be_written_is_told_before_anything_is_asked(
    person: Person, records: Path, run: Run
) -> None:
    person.set_pin(PIN)
    run("add", str(enroll(person, "id")))
    plain = listed(run)[0][0]
    sealed = seal(run, "seal", plain)
    run("add", str(person.folder / "id"))
    encrypted = enroll(person, "encrypted")
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", encrypted], check=True, timeout=60)
    content = (records / "alice").read_text()
    for arguments in (
        ("seal", plain),
        ("seal", "--change", sealed),
        ("unseal", sealed),
        ("add", str(encrypted)),
        ("add", "--resident"),
    ):
        done = subprocess.run(
            ["sh", "-c", 'ulimit -f 0; exec "$0" directory "$@"', person.pysk, *arguments], input="",
            text=True, env=person.environment, check=False, capture_output=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (
            1,
            f"pysk: {records / 'alice'} cannot be written (File too large); correct its permissions\n",
        )
    assert [(path.name, path.read_text()) for path in records.iterdir()] == [("alice", content)]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with WebServer(Authority(tmp_path).issue()) as server:
        yield server


def test_a_directory_that_fails_is_told_beside_what_others_have(
    person: Person, web: WebServer, tmp_path: Path, run: Run
) -> None:
    key = enroll(person, "id")
    folder = person.folder / "records"
    folder.mkdir()
    configure(person, f"KeyDirectory {web.url()} file:{folder}", f"KeyDirectoryCA {tmp_path}/authority.pem")
    web.documents["/alice.json"] = b"nonsense"
    assert run("add", str(key)).returncode == 0
    sentence = "pysk: localhost did not answer with a list of keys; see pysk_config(5) for the format\n"
    done = run("list")
    assert (done.returncode, done.stderr) == (1, sentence)
    assert fingerprint(key) in done.stdout
    done = run("export")
    assert (done.returncode, done.stderr) == (1, sentence)
    assert done.stdout.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
