"""pysk keys, as a person and as a script call it, beside ssh-keygen, whose files it writes and whose words it uses."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from support import soft_token
from support.openssh import PIN, PIN_PROMPT, USER_VERIFIED, KeyFile, Person
from support.serve import serve

from sk_provider.api import ALGORITHM_ED25519
from sk_provider.authenticator.profiles import PROFILES
from sk_provider.authenticator.store import Store
from sk_provider.credentials import key_file
from sk_provider.credentials.directory.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Pysk = Callable[..., subprocess.CompletedProcess[str]]

ENROLLED = {
    "id_ed25519_sk_rk": ("ed25519-sk", []),
    "id_ecdsa_sk_rk_work": ("ecdsa-sk", ["application=ssh:work"]),
    "id_ed25519_sk_rk_alice": ("ed25519-sk", ["user=alice"]),
    "id_ecdsa_sk_rk_host_bob": ("ecdsa-sk", ["application=ssh://host", "user=bob", "verify-required"]),
    "id_ed25519_sk_rk_a name_2e2e2f78": ("ed25519-sk", ["application=ssh:a name", "user=../x", "verify-required"]),
}
# Of profiles that list resident keys
LISTING = [name for name in PROFILES if name not in ("u2f", "fido2.0")]


@pytest.fixture
def pysk(person: Person) -> Pysk:
    def pysk(*arguments: str, lines: tuple[str, ...] = (PIN,)) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [person.pysk, "keys", *arguments], input="".join(f"{line}\n" for line in lines),
            text=True, env=person.environment, cwd=person.folder, check=False, capture_output=True, timeout=60,
        )  # fmt: skip

    return pysk


def enroll(person: Person, name: str, kind: str = "ed25519-sk", *options: str) -> Path:
    done, path = person.enroll(name, kind, "resident", *options, answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    return path


def fingerprint(path: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()[1]


def members(done: subprocess.CompletedProcess[str]) -> Any:
    assert (done.returncode, done.stderr) == (0, ""), done
    return json.loads(done.stdout)


def without_check(path: Path) -> bytes:
    """Return what a private-key file holds but for the random number, twice, that begins its private section."""
    lines = path.read_text().splitlines()
    whole = base64.b64decode("".join(lines[1:-1]))
    start = 15 + 8 + 8 + 4 + 4 + 4 + len(KeyFile(path).public.blob) + 4
    assert whole[start : start + 4] == whole[start + 4 : start + 8]
    layout = [len(line) for line in lines]
    return bytes(layout) + whole[:start] + whole[start + 8 :]


def assert_same_files(folder: Path, other: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        one, two = folder / name, other / name
        assert one.stat().st_mode == two.stat().st_mode
        if name.endswith(".pub"):
            assert one.read_bytes() == two.read_bytes()
        else:
            assert without_check(one) == without_check(two)


def download(person: Person) -> Path:
    """Return the folder in which ssh-keygen -K has written files."""
    folder = person.folder / "downloaded"
    folder.mkdir()
    done = person.run("sh", "-c", "cd downloaded && exec ssh-keygen -K -N ''", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    return folder


def test_keys_are_listed_with_what_ssh_keygen_says_of_them(person: Person, pysk: Pysk) -> None:
    person.set_pin(PIN)
    originals = {name: enroll(person, f"original{n}", kind, *options) for n, (name, (kind, options)) in
                 enumerate(ENROLLED.items())}  # fmt: skip
    done = pysk("list")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row[3]: row for row in (line.split("  ") for line in done.stdout.splitlines())}
    assert set(rows) == {fingerprint(path) for path in originals.values()}
    shown = {name: rows[fingerprint(path)][1:] for name, path in originals.items()}
    prints = {name: fingerprint(path) for name, path in originals.items()}
    assert shown == {
        name: [kind, protection, prints[name], application, user, "openssh"]
        for name, kind, protection, application, user in (
            ("id_ed25519_sk_rk", "ed25519-sk", "key-file-or-pin", "ssh:", "-"),
            ("id_ecdsa_sk_rk_work", "ecdsa-sk", "key-file-or-pin", "ssh:work", "-"),
            ("id_ed25519_sk_rk_alice", "ed25519-sk", "key-file-or-pin", "ssh:", "alice"),
            ("id_ecdsa_sk_rk_host_bob", "ecdsa-sk", "verify-required", "ssh://host", "bob"),
            ("id_ed25519_sk_rk_a name_2e2e2f78", "ed25519-sk", "verify-required", "ssh:a name", "2e2e2f78"),
        )
    }


def test_files_are_exported_as_ssh_keygen_downloads_them(person: Person, pysk: Pysk) -> None:
    person.set_pin(PIN)
    for number, (kind, options) in enumerate(ENROLLED.values()):
        enroll(person, f"original{number}", kind, *options)
    done = pysk("export", "--output", "exported")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(f"exported/{name}" for name in ENROLLED)
    assert_same_files(download(person), person.folder / "exported")
    for path in (person.folder / "exported").glob("*_sk_rk*"):
        if path.suffix != ".pub":
            done_signing, signature = person.sign(
                path, answers=[(PIN_PROMPT, PIN)] if KeyFile(path).flags & USER_VERIFIED else []
            )
            assert person.verify(path, signature).returncode == 0, done_signing


@pytest.mark.parametrize("umask", ["022", "077"])
def test_names_are_those_of_ssh_keygen_whatever_the_user_id_is(person: Person, umask: str) -> None:
    person.set_pin(soft_token.PIN)
    device = soft_token.Device(Store.open(str(person.store)), soft_token.Person())
    user_ids = (
        bytes(32), b"alice" + bytes(27), b"a\0b", b"\0a", b"a/b", b"..", b"a..b", b"a\\b", b"a b", b"a\x1b[2Jb",
        "zoë".encode(), "zo\u0308".encode(), b"\xff\xfe", b"a\xffb", b"%s", b"-", b"~", b"x" * 64, bytes(range(1, 65)),
    )  # fmt: skip
    for number, user_id in enumerate(user_ids):
        device.make_resident(f"ssh:{number}", user_id)
    device.close()
    for folder, command in (("downloaded", "ssh-keygen -K -N ''"), ("exported", f"{person.pysk} keys export")):
        (person.folder / folder).mkdir()
        done = subprocess.run(
            ["setsid", "sh", "-c", f"umask {umask}; cd {folder} && exec {command}"],
            input=f"{soft_token.PIN}\n", text=True, env=person.environment, cwd=person.folder, capture_output=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done
    assert len(list((person.folder / "exported").iterdir())) == 2 * len(user_ids)
    assert_same_files(person.folder / "downloaded", person.folder / "exported")


def test_what_is_not_printable_is_in_hex_where_ssh_keygen_lets_it_pass() -> None:
    record = Record("", "ssh:", ALGORITHM_ED25519, bytes(32), b"a key handle")
    for user_id in (b"a\tb", b"a\nb", "\u202e".encode()):
        assert key_file.name_of_download(record, user_id) == f"id_ed25519_sk_rk_{user_id.hex()}"


def test_a_name_that_no_file_can_have_is_made_legal(person: Person, pysk: Pysk) -> None:
    person.set_pin(PIN)
    enroll(person, "slash", "ed25519-sk", "application=ssh:../a/b")
    enroll(person, "long", "ecdsa-sk", f"application=ssh:{'l' * 250}")
    # Two whose names would be the same
    enroll(person, "one", "ed25519-sk", "application=ssh:a_b")
    enroll(person, "two", "ed25519-sk", "application=ssh:a", "user=b")
    keys = {each["application"]: each["key"] for each in members(pysk("list", "--json"))}
    done = pysk("export", "--output", "exported")
    assert sorted(done.stdout.splitlines()) == sorted(
        f"exported/{name}"
        for name in (
            f"id_ed25519_sk_rk_.._a_b_{keys['ssh:../a/b']}",
            f"id_ecdsa_sk_rk_{'l' * 85}_{keys['ssh:' + 'l' * 250]}",
            "id_ed25519_sk_rk_a_b",
            f"id_ed25519_sk_rk_a_b_{keys['ssh:a']}",
        )
    )
    assert len(list((person.folder / "exported").iterdir())) == 8
    slash = next(path for path in (person.folder / "exported").glob("*_.._a_b_*") if path.suffix != ".pub")
    assert KeyFile(slash).key_handle == KeyFile(person.folder / "slash").key_handle


def test_files_that_are_there_are_replaced_after_a_question_alone(person: Person, pysk: Pysk) -> None:
    person.set_pin(PIN)
    first = enroll(person, "first")
    enroll(person, "second", "ed25519-sk", "application=ssh:work")
    there = person.folder / "id_ed25519_sk_rk.pub"
    there.write_text("mine")
    done = pysk("export", lines=(PIN, "n"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Overwrite ./id_ed25519_sk_rk.pub? [y/N]" in done.stderr
    assert [path.name for path in person.folder.glob("id_*")] == [there.name]
    assert there.read_text() == "mine"
    done = pysk("export", lines=(PIN, "y"))
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, ["id_ed25519_sk_rk", "id_ed25519_sk_rk_work"])
    assert fingerprint(there) == fingerprint(first)
    assert pysk("export", "--yes").returncode == 0
    assert len(list(person.folder.glob("*id_*"))) == 4


def test_an_export_that_fails_leaves_nothing_behind(person: Person, pysk: Pysk) -> None:
    person.set_pin(PIN)
    enroll(person, "first")
    enroll(person, "second", "ecdsa-sk", "application=ssh:work")
    folder = person.folder / "exported"
    # What cannot be replaced by a file
    (folder / "id_ed25519_sk_rk.pub").mkdir(parents=True)
    done = pysk("export", "--yes", "--output", "exported")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pysk: exported/id_ed25519_sk_rk.pub cannot be written (Is a directory); name another folder\n"
    )
    assert [path.name for path in folder.iterdir()] == ["id_ed25519_sk_rk.pub"]
    done = pysk("export", "--output", "missing/folder")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("pysk: missing/folder cannot be written (No such file or directory); name another folder\n")
    done = pysk("export", "--output", "/proc")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pysk: /proc cannot be written (No such file or directory); name another folder\n"


def test_an_export_to_a_full_disk_says_so_and_leaves_nothing_behind(person: Person) -> None:
    person.set_pin(PIN)
    enroll(person, "first")
    (person.folder / "full").mkdir()
    # A file system of one page, which ends with the namespace.
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    fill = "mount -t tmpfs -o size=4k full full && head -c 4096 /dev/zero >full/fill"
    script = f'{fill} && "$0" keys export --output full; echo $?; ls -A full'
    done = subprocess.run(
        [*unshare, "sh", "-c", script, person.pysk], input=f"{PIN}\n",
        cwd=person.folder, env=person.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (
        "1\nfill\n",
        ("pysk: full cannot be written (No space left on device); free some space, or name another folder\n"),
    )


def test_one_key_is_exported_and_shown_by_any_of_its_names(person: Person, pysk: Pysk) -> None:
    person.set_pin(PIN)
    blue, red = enroll(person, "blue"), enroll(person, "red", "ed25519-sk", "user=alice", "verify-required")
    keys = {each["fingerprint"]: each["key"] for each in members(pysk("list", "--json"))}
    key, digest = keys[fingerprint(red)], fingerprint(red)
    for name in (key, key.upper(), key[:8], digest, digest[:20]):
        shown = members(pysk("show", "--json", name))
        assert (shown["key"], shown["fingerprint"]) == (key, digest)
        done = pysk("export", "--key", name, "--output", name.replace("/", "_"))
        assert [path.rpartition("/")[2] for path in done.stdout.splitlines()] == ["id_ed25519_sk_rk_alice"]
    public = (person.folder / "red.pub").read_text().rsplit(" ", 1)[0]
    assert shown == {
        "key": key,
        "type": "ed25519-sk",
        "protection": "verify-required",
        "fingerprint": digest,
        "application": "ssh:",
        "application_is_whole": True,
        "user": "alice",
        "name": "openssh",
        "display_name": "openssh",
        "key_handle": KeyFile(red).key_handle.hex(),
        "public_key": f"{public} ssh:",
    }
    text = pysk("show", f"soft:{person.store}", key).stdout.splitlines()
    assert text[-1] == f"{public} ssh:"
    assert text[:-1] == [
        f"{name.replace('_', ' ')}: {shown[name]}"
        for name in shown
        if name not in ("public_key", "application_is_whole")
    ]
    for wrong in ("SHA256:", "SHA256:no such", key[:3]):
        sentence = f"the authenticator has no resident key {wrong}; see: pysk keys list --all soft:{person.store}"
        for command in (("show", wrong), ("export", "--key", wrong), ("delete", "--yes", wrong)):
            done = pysk(*command)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", f"pysk: {sentence}\n")
    assert fingerprint(blue) in pysk("list").stdout


def test_keys_of_other_sites_are_listed_and_exported_where_they_are_asked_for(person: Person, pysk: Pysk) -> None:
    person.set_pin(PIN)
    enroll(person, "mine")
    device = soft_token.Device(Store.open(str(person.store)), soft_token.Person())
    token = device.pin_token(soft_token.Permission.MAKE_CREDENTIAL, "example.com", PIN)
    device.make("example.com", b"\xff" * 16, options={"rk": True}, extensions={"credProtect": 1}, **device.auth(token))
    device.close()
    assert [each["application"] for each in members(pysk("list", "--json"))] == ["ssh:"]
    (other,) = (each for each in members(pysk("list", "--json", "--all")) if each["application"] != "ssh:")
    assert (other["user"], other["protection"], other["type"]) == ("ff" * 16, "none", "ecdsa-sk")
    assert (other["name"], other["display_name"]) == (f"name of {'ff' * 16}", "A User")
    assert pysk("export", "--output", "exported").stdout == "exported/id_ed25519_sk_rk\n"
    done = pysk("export", "--output", "exported", "--key", other["key"])
    assert done.stdout == f"exported/id_ecdsa_sk_rk_example.com_{'ff' * 16}\n"
    path = person.folder / done.stdout.strip()
    assert fingerprint(path) == other["fingerprint"]
    done_signing, signature = person.sign(path)
    assert person.verify(path, signature).returncode == 0, done_signing


@pytest.mark.parametrize("profile", LISTING)
def test_the_keys_of_every_token_are_listed_and_exported(
    person: Person, sockets: Path, pysk: Pysk, profile: str
) -> None:
    with serve("--profile", profile, f"unix:{sockets}/token") as served:
        person.configure(device=served.names[0])
        person.set_pin(PIN)
        kind = "ecdsa-sk" if profile == "es256-only" else "ed25519-sk"
        done_enrolling, original = person.enroll(
            "id", kind, "resident", "verify-required", answers=[] if profile == "uv" else [(PIN_PROMPT, PIN)]
        )
        assert done_enrolling.status == 0, done_enrolling
        (shown,) = members(pysk("list", "--json", lines=(PIN,)))
        assert (shown["fingerprint"], shown["protection"]) == (fingerprint(original), "verify-required")
        done = pysk("list")
        assert done.stdout.split("  ")[3] == fingerprint(original)
        done = pysk("export", "--output", "exported")
        assert (done.returncode, done.stderr) == (0, "")
        exported = person.folder / "exported/id_ecdsa_sk_rk"
        if profile != "es256-only":
            exported = exported.with_name("id_ed25519_sk_rk")
        downloaded = download(person)
        if profile == "uv":
            # ssh-keygen leaves out that the key wants its person verified, and then cannot use it.
            assert KeyFile(exported).flags == KeyFile(downloaded / exported.name).flags | USER_VERIFIED
            assert person.sign(downloaded / exported.name)[0].status != 0
        else:
            assert_same_files(downloaded, exported.parent)
        pin = "" if profile == "uv" else PIN
        done_signing, signature = person.sign(exported, answers=[(PIN_PROMPT, pin)])
        assert person.verify(exported, signature).returncode == 0, done_signing


@pytest.mark.parametrize("profile", ["u2f", "fido2.0"])
def test_a_token_that_lists_no_keys_is_told(person: Person, sockets: Path, pysk: Pysk, profile: str) -> None:
    with serve("--profile", profile, f"unix:{sockets}/token") as served:
        person.configure(device=served.names[0])
        for command in (("list", "--json"), ("export",), ("show", "0123456789abcdef")):
            done = pysk(*command)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr == (
                "pysk: the authenticator cannot list its resident keys; use the key files made at enrollment\n"
            )
