"""pysk keys: what is on an authenticator, listed, renamed and deleted."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from support.messages import name_of
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, KeyFile, Person, enrolled
from support.relay import TO_TOKEN
from support.serve import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.relay import Connect, Spoil


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


def fingerprint(person: Person) -> str:
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", person.folder / "id"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()[1]


def names(person: Person, key: str) -> tuple[str, str]:
    told = json.loads(pysk(person, "show", "--json", key, lines=(PIN,)).stdout)
    return told["name"], told["display_name"]


def test_resident_keys_are_listed(person: Person, key: str) -> None:
    person.enroll("another", "ecdsa-sk")
    done = pysk(person, "list", lines=(PIN,))
    row = f"{key}  ed25519-sk  key-file-or-pin  {fingerprint(person)}  ssh:work  alice  openssh\n"
    assert (done.returncode, done.stdout) == (0, row)


@pytest.mark.parametrize(("columns", "is_wide"), [("80", False), ("160", True)])
def test_a_terminal_of_80_columns_gets_a_line_for_each_key(
    person: Person, key: str, columns: str, *, is_wide: bool
) -> None:
    variables = {"COLUMNS": columns, "TERM": "xterm", "NO_COLOR": "1"}
    done = person.run(str(person.pysk), "keys", "list", answers=[("PIN:", PIN)], environment=variables)
    assert done.status == 0, done
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line).split() for line in done.screen.splitlines()]
    seen, user = ([fingerprint(person)], ["alice"]) if is_wide else ([], [])
    assert [key, "ed25519-sk", "key-file-or-pin", *seen, "ssh:work", *user, "openssh"] in lines


def test_a_named_key_is_deleted_once_that_was_confirmed(person: Person, key: str) -> None:
    done = pysk(person, "delete", key, lines=(PIN, "n"))
    assert done.returncode == 1
    assert f"The ed25519-sk key {fingerprint(person)} for ssh:work (user alice, name openssh) will be" in done.stderr
    assert "This cannot be undone." in done.stderr
    assert key in pysk(person, "list", lines=(PIN,)).stdout
    done = pysk(person, "delete", f"soft:{person.store}", key, lines=(PIN, "y"))
    assert done.returncode == 0
    assert done.stderr.endswith("key deleted\n")
    done = pysk(person, "list", lines=(PIN,))
    assert (done.returncode, done.stdout) == (0, "")
    # As is said before, its file is of no use.
    assert person.sign(person.folder / "id")[0].status != 0


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


def test_a_key_is_renamed_which_changes_nothing_but_its_names(person: Person, key: str) -> None:
    before = json.loads(pysk(person, "show", "--json", key, lines=(PIN,)).stdout)
    done = pysk(person, "rename", key, "the blue token, zoë's", lines=(PIN,))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "key renamed\n")
    after = json.loads(pysk(person, "show", "--json", key, lines=(PIN,)).stdout)
    name = "the blue token, zoë's"
    assert after == {**before, "name": name, "display_name": name}
    assert pysk(person, "list", lines=(PIN,)).stdout.rstrip("\n").endswith(f"  alice  {name}")
    # The names are the same no more: each is changed alone from now on.
    where = f"soft:{person.store}"
    assert pysk(person, "rename", "--display-name", "Alice", where, key, "b" * 64, lines=(PIN,)).returncode == 0
    assert names(person, key) == ("b" * 64, "Alice")
    assert pysk(person, "rename", fingerprint(person), "c", lines=(PIN,)).returncode == 0
    assert names(person, key) == ("c", "Alice")


def test_a_name_that_no_token_need_keep_whole_is_refused_before_it_hears_of_it(person: Person, key: str) -> None:
    for name, sentence in (
        ("é" * 33, "the name has more than 64 bytes; choose a shorter one"),
        ("a\tb", "the name is empty or has characters that cannot be printed; choose another one"),
        ("", "the name is empty or has characters that cannot be printed; choose another one"),
    ):
        for arguments in ((key, name), ("--display-name", name, key, "fine")):
            done = pysk(person, "rename", *arguments)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", f"pysk: {sentence}\n")
    assert names(person, key) == ("openssh", "openssh")
    assert pysk(person, "rename", key).returncode == 2


def test_a_token_that_cannot_rename_says_so_before_it_wants_its_pin(person: Person, sockets: Path) -> None:
    with serve("--profile", "fido2.1-pre", f"unix:{sockets}/token") as served:
        person.configure(device=served.names[0])
        person.set_pin(PIN)
        done = pysk(person, "rename", "0123456789abcdef", "name")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pysk: the authenticator cannot rename its resident keys; enroll another one with -O user=, or keep the name\n"
    )


@pytest.mark.parametrize(("command", "message"), [("list", 1), ("export", 2), ("rename", 3), ("delete", 3)])
def test_a_token_that_is_pulled_out_meanwhile_is_told_in_a_sentence(
    person: Person, connect: Connect, command: str, message: int
) -> None:
    with connect(pulled_out_at(message)) as relay:
        person.configure(device=relay.address)
        person.set_pin(PIN)
        done_enrolling, path = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
        assert done_enrolling.status == 0, done_enrolling
        key = hashlib.sha256(KeyFile(path).key_handle).hexdigest()[:16]
        more = {"rename": (key, "another"), "delete": ("--yes", key)}.get(command, ())
        done = pysk(person, command, *more, lines=(PIN,))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"pysk: the other end of {relay.address} is gone; start or forward it again\n"
    assert not list(person.folder.glob("id_*"))


def pulled_out_at(number: int) -> Spoil:
    """Cut the connection at that message of credential management: the lists take two, then comes what is done."""
    seen = 0

    def spoil(direction: str, _number: int, content: bytes) -> list[bytes] | None:
        nonlocal seen
        seen += direction == TO_TOKEN and name_of(content) == "manage"
        return [content] if seen < number else None

    return spoil


@pytest.mark.parametrize("command", [("list",), ("export",), ("show", "0123456789"), ("rename", "0123456789", "name")])
def test_a_pin_that_is_blocked_or_not_set_is_told_in_a_sentence(person: Person, command: tuple[str, ...]) -> None:
    enrolled(person)
    where = f"soft:{person.store}"
    done = pysk(person, *command)
    assert (done.returncode, done.stderr) == (
        1, f"pysk: the authenticator has no PIN; set one with: pysk pin set {where}\n"
    )  # fmt: skip
    person.set_pin(PIN)
    for _ in range(3):
        pysk(person, "list", lines=(WRONG_PIN,))
    done = pysk(person, *command, lines=(PIN,))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pysk: the PIN is blocked after three wrong tries; restart the machine, and try again\n"


def test_the_keys_of_a_full_token_are_listed_exported_and_renamed(person: Person, sockets: Path) -> None:
    with serve("--profile", "small", f"unix:{sockets}/token") as served:
        person.configure(device=served.names[0])
        person.set_pin(PIN)
        for number in range(3):
            options = ("resident", f"application=ssh:{number}")
            done, _ = person.enroll(f"id{number}", "ed25519-sk", *options, answers=[(PIN_PROMPT, PIN)])
            assert done.status == 0, done
        keys = [line.split("  ")[0] for line in pysk(person, "list", lines=(PIN,)).stdout.splitlines()]
        assert len(keys) == 3
        assert pysk(person, "rename", keys[0], "n" * 64, lines=(PIN,)).returncode == 0
        assert len(pysk(person, "export", "--output", "exported", lines=(PIN,)).stdout.splitlines()) == 3
