"""The command pysk, as a person and as a script call it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from fido2.ctap2 import ClientPin, Config, Ctap2
from support.impatient import RESET_WINDOW_S
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, Person
from support.provider_tree import Tree
from support.serve import serve

from sk_provider.config import Configuration
from sk_provider.operation import Operation
from sk_provider.transports import soft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from support.impatient import Impatient
    from support.relay import Connect

NEW_PIN = "another horse"

# Python lets what is no text pass in the locale C.UTF-8, and in no other.
STRICT = {"PYTHONIOENCODING": "utf-8"}


def pysk(person: Person, *arguments: str, lines: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run pysk as a script does, with lines on a standard input that is no terminal."""
    return subprocess.run(
        [person.pysk, *arguments],
        input="".join(f"{line}\n" for line in lines),
        text=True, env=person.environment, cwd=person.folder, check=False, capture_output=True, timeout=60,
    )  # fmt: skip


def test_the_state_of_the_pin_is_told_as_json(person: Person) -> None:
    person.enroll("id", "ed25519-sk")
    told = json.loads(pysk(person, "pin", "status", "--json").stdout)
    assert told == {"is_set": False, "tries_left": None, "wants_power_cycle": False}
    person.set_pin(PIN)
    for tries_left, wants_power_cycle in ((8, False), (7, False), (6, False), (5, True)):
        told = json.loads(pysk(person, "pin", "status", "--json").stdout)
        assert told == {"is_set": True, "tries_left": tries_left, "wants_power_cycle": wants_power_cycle}
        pysk(person, "pin", "change", lines=(WRONG_PIN, NEW_PIN))


@pytest.mark.parametrize("address", [(), ("named",)])
def test_a_pin_is_set_changed_and_told(person: Person, address: tuple[str, ...]) -> None:
    where = tuple(f"soft:{person.store}" for _ in address)
    done = pysk(person, "pin", "set", *where, lines=(PIN,))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "PIN set\n")
    assert pysk(person, "pin", "status", *where).stdout == "a PIN is set, 8 tries left\n"
    done = pysk(person, "pin", "change", *where, lines=(PIN, NEW_PIN))
    assert (done.returncode, done.stderr) == (0, "PIN changed\n")
    done = pysk(person, "pin", "change", *where, lines=(PIN, NEW_PIN))
    assert (done.returncode, done.stderr) == (1, "pysk: wrong PIN, 7 tries left; try again\n")
    assert pysk(person, "pin", "change", *where, lines=(NEW_PIN, PIN)).returncode == 0
    assert pysk(person, "pin", "status", *where).stdout == "a PIN is set, 8 tries left\n"


def test_a_pin_is_asked_for_twice_on_a_terminal_and_not_shown(person: Person) -> None:
    done = person.run(str(person.pysk), "pin", "set", answers=[("New PIN:", PIN), ("New PIN again:", PIN)])
    assert done.status == 0, done
    assert PIN not in done.screen + done.errors


def test_a_wrong_pin_costs_one_try_and_is_told_before_a_new_one_is_asked_for(person: Person) -> None:
    person.set_pin(PIN)
    done = person.run(str(person.pysk), "pin", "change", answers=[("Current PIN:", WRONG_PIN)])
    assert done.status == 1
    assert "New PIN" not in done.screen + done.errors
    assert "pysk: wrong PIN, 7 tries left; try again" in done.errors
    assert pysk(person, "pin", "status").stdout == "a PIN is set, 7 tries left\n"
    answers = [("Current PIN:", PIN), ("New PIN:", NEW_PIN), ("New PIN again:", NEW_PIN)]
    assert person.run(str(person.pysk), "pin", "change", answers=answers).status == 0


def test_a_pin_that_must_be_changed_is_changed(person: Person) -> None:
    person.set_pin(PIN)
    channel = soft.open(str(person.store), Configuration(), Operation(60), may_create=False)
    try:
        ctap2 = Ctap2(channel)  # type: ignore[arg-type]  # it has what is used of a CtapDevice
        client_pin = ClientPin(ctap2)
        pin_uv_auth_token = client_pin.get_pin_token(PIN, ClientPin.PERMISSION.AUTHENTICATOR_CFG)
        Config(ctap2, client_pin.protocol, pin_uv_auth_token).set_min_pin_length(force_change_pin=True)
    finally:
        channel.close()
    done = pysk(person, "pin", "change", lines=(WRONG_PIN, NEW_PIN))
    assert (done.returncode, done.stderr) == (1, "pysk: wrong PIN, 7 tries left; try again\n")
    done = pysk(person, "pin", "change", lines=(PIN, NEW_PIN))
    assert (done.returncode, done.stderr) == (0, "PIN changed\n")


def test_two_different_new_pins_set_none(person: Person) -> None:
    done = person.run(str(person.pysk), "pin", "set", answers=[("New PIN:", PIN), ("New PIN again:", NEW_PIN)])
    assert done.status == 1
    assert "pysk: the two PINs differ; try again" in done.errors
    assert pysk(person, "pin", "status").stdout == "no PIN is set\n"


@pytest.mark.parametrize(
    ("pin", "sentence"),
    [
        ("123", "the PIN is too short: it must have at least 4 characters; try again"),
        ("", "the PIN is too short: it must have at least 4 characters; try again"),
        ("x" * 64, "the PIN is too long: it must have at most 63 bytes; try again"),
        ("é" * 32, "the PIN is too long: it must have at most 63 bytes; try again"),
    ],
)
def test_an_impossible_pin_is_told_before_the_authenticator_hears_of_it(
    person: Person, pin: str, sentence: str
) -> None:
    done = pysk(person, "pin", "set", lines=(pin,))
    assert (done.returncode, done.stderr) == (1, f"pysk: {sentence}\n")


def test_a_pin_that_nobody_gives_is_told_of_as_such(person: Person) -> None:
    done = pysk(person, "pin", "set")
    assert (done.returncode, done.stderr) == (
        1,
        (
            "pysk: no PIN can be read: standard input is no terminal, and has no more lines; "
            "use a terminal, or write the PIN to standard input\n"
        ),
    )


@pytest.mark.parametrize("variables", [{}, STRICT], ids=["lax", "strict"])
@pytest.mark.parametrize("command", ["set", "change"])
def test_a_pin_that_is_no_text_is_told(person: Person, command: str, variables: dict[str, str]) -> None:
    if command == "change":
        person.set_pin(PIN)
    done = subprocess.run(
        [person.pysk, "pin", command], input=b"\xffabcdef\n" * 2, env=person.environment | variables,
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        b"pysk: the PIN is not UTF-8 text; correct it, or the terminal's character set\n",
    )


@pytest.mark.parametrize(
    ("arguments", "stdin", "happened"),
    [
        ("pin set", "<&-", "there is no standard input to read the PIN from"),
        ("pin set", "0>/dev/null", "standard input cannot be read (Bad file descriptor)"),
        ("reset soft:STORE", "<&-", "there is no standard input to confirm on"),
        ("reset soft:STORE", "0>/dev/null", "standard input cannot be read (Bad file descriptor)"),
        ("reset soft:STORE", "<latin1", "the answer is not UTF-8 text"),
    ],
)
def test_a_standard_input_that_cannot_be_read_is_told(
    person: Person, arguments: str, stdin: str, happened: str
) -> None:
    (person.folder / "latin1").write_bytes(b"\xff\n")
    person.enroll("id", "ed25519-sk")
    done = subprocess.run(
        ["sh", "-c", f"{person.pysk} {arguments.replace('STORE', str(person.store))} {stdin}"],
        text=True, env=person.environment | STRICT, cwd=person.folder, check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        .removeprefix(f"Delete all keys and the PIN of soft:{person.store}? [y/N]: ")
        .startswith(f"pysk: {happened}; ")
    )
    assert "Traceback" not in done.stderr


PRINTING = (
    "--help", "keys --help", "--version", "path", "devices", "devices --json", "devices soft:{store}", "pin status",
    "pin status --json", "keys list", "keys list --json", "directory list", "directory list --json", "doctor",
    "doctor --json", "try soft:{store}", "serve udp:127.0.0.1:0",
)  # fmt: skip


@pytest.mark.parametrize(
    ("output", "reason", "variables"),
    [
        (">/dev/full", "No space left on device", {}),
        (">/dev/full", "No space left on device", {"PYTHONUNBUFFERED": "1"}),
        (">&-", "Bad file descriptor", {}),
        ("| true", None, {}),
    ],
    ids=["full", "unbuffered", "closed", "unread"],
)
def test_output_that_cannot_be_written_is_one_sentence_and_that_nobody_reads_is_none(
    person: Person, output: str, reason: str | None, variables: dict[str, str]
) -> None:
    person.set_pin(PIN)
    done = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])[0]
    assert done.status == 0, done
    records = person.folder / "records"
    person.configure("Presence auto", f"KeyDirectory file:{records}")
    assert pysk(person, "directory", "add", "--user", "me", str(person.folder / "id")).returncode == 0
    person.configure("Presence auto", f"KeyDirectory file:{records}", "KeyDirectoryUser me")
    for command in PRINTING:
        # A reader that is gone before anything is written, and not only soon.
        wait = "sleep 0.2; " if output == "| true" else ""
        script = f"set -o pipefail; {{ {wait}{person.pysk} {command.format(store=person.store)}; }} {output}"
        found = subprocess.run(
            ["bash", "-c", script], input=f"{PIN}\n" * 2, text=True, env=person.environment | variables,
            cwd=person.folder, check=False, capture_output=True, timeout=60,
        )  # fmt: skip
        told = "" if reason is None else f"pysk: standard output cannot be written ({reason}); redirect it elsewhere\n"
        errors = found.stderr.replace("PIN: ", "").replace("Warning: Password input may be echoed.\n", "")
        assert (command, found.returncode, errors, found.stdout) == (command, 1, told, "")


def test_a_missing_package_is_told(person: Person, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "packages")
    tree.remove("fido2")
    program = f"import sys; sys.path.insert(0, {str(tree.folder)!r}); from sk_provider.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, "pin", "status"],
        text=True, env=person.environment, check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "pysk: a Python package cannot be loaded (No module named 'fido2'); reinstall libpysk\n",
    )


def test_a_pin_is_one_pin_however_its_accents_are_typed(person: Person) -> None:
    assert pysk(person, "pin", "set", lines=("caf\u00e9",)).returncode == 0
    assert pysk(person, "pin", "change", lines=("cafe\u0301", PIN)).returncode == 0


def test_a_second_first_pin_is_refused(person: Person) -> None:
    person.set_pin(PIN)
    done = pysk(person, "pin", "set", lines=(NEW_PIN,))
    assert (done.returncode, done.stderr) == (
        1,
        f"pysk: the authenticator already has a PIN; change it with: pysk pin change soft:{person.store}\n",
    )


def test_three_wrong_pins_block_and_the_status_tells(person: Person) -> None:
    person.set_pin(PIN)
    for _ in range(3):
        done = pysk(person, "pin", "change", lines=(WRONG_PIN, NEW_PIN))
    assert done.returncode == 1
    assert "blocked" in done.stderr
    assert "blocked" in pysk(person, "pin", "status").stdout
    # Nor is any asked for any more, which could not be read.
    assert "the PIN is blocked" in pysk(person, "pin", "change").stderr


def test_a_reset_kills_the_keys_and_the_pin(person: Person) -> None:
    _, key = person.enroll("id", "ed25519-sk")
    person.set_pin(PIN)
    done = pysk(person, "reset", f"soft:{person.store}", lines=("n",))
    assert done.returncode == 1
    assert person.sign(key)[0].status == 0
    assert pysk(person, "reset", "--yes", f"soft:{person.store}").returncode == 0
    assert pysk(person, "pin", "status").stdout == "no PIN is set\n"
    done_signing, _ = person.sign(key)
    assert done_signing.status != 0
    assert "the authenticator does not hold this key" in done_signing.errors


def test_nothing_is_asked_where_it_is_known_that_it_cannot_be_done(person: Person, connect: Connect) -> None:
    """What is asked all the same could not be read."""
    done = pysk(person, "reset", "unix:/nonexistent")
    assert (done.returncode, done.stderr.partition(";")[0]) == (1, "pysk: nobody listens at unix:/nonexistent")
    with connect(None, "--profile", "u2f") as relay:
        done = pysk(person, "reset", relay.address)
    assert (done.returncode, done.stderr.partition(";")[0]) == (
        1,
        "pysk: the authenticator supports U2F only, which has no reset",
    )
    person.enroll("id", "ed25519-sk")
    person.set_pin(PIN)
    done = pysk(person, "keys", "export", "--output", f"{person.folder}/none/none")
    assert (done.returncode, done.stderr) == (
        1,
        f"pysk: {person.folder}/none/none cannot be written (No such file or directory); name another folder\n",
    )


def test_a_person_may_take_longer_to_choose_a_pin_than_to_touch_the_authenticator(person: Person) -> None:
    with tempfile.TemporaryDirectory(prefix="pysk-") as folder, serve(f"unix:{folder}/token") as served:
        person.configure("Timeout 3", device=served.names[0])
        process = subprocess.Popen(
            [person.pysk, "pin", "set"],
            env=person.environment,
            text=True,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(6)
        assert process.communicate(f"{PIN}\n", timeout=60)[1] == "PIN set\n"


def test_a_reset_that_comes_too_late_is_explained(person: Person, sockets: Path, impatience: Impatient) -> None:
    with serve(f"unix:{sockets}/token", pysk=impatience.pysk) as served:
        time.sleep(RESET_WINDOW_S)
        done = pysk(person, "reset", "--yes", served.names[0])
    assert done.returncode == 1
    assert done.stderr == (
        "pysk: pysk share refuses resets, and pysk serve allows one only within 10 seconds of its start; "
        "reset it on the machine that it is plugged into, or restart pysk serve and reset it at once\n"
    )


def test_a_status_makes_no_store(person: Person) -> None:
    done = pysk(person, "pin", "status")
    assert done.returncode == 1
    assert done.stderr.startswith(f"pysk: there is no software authenticator in {person.store}; ")
    assert not person.store.exists()


def test_the_library_is_found_for_each_release_of_openssh(person: Person) -> None:
    majors = {"8.2": "4", "8.3": "5", "8.4": "7", "8.8": "7", "8.9": "9", "9.0": "9", "9.1": "10", "10.0": "10"}
    for release, major in majors.items():
        ssh = person.folder / "ssh"
        ssh.write_text(f"#!/bin/sh\necho OpenSSH_{release}p1 >&2\n")
        ssh.chmod(0o700)
        person.environment["PATH"] = f"{person.folder}:/usr/bin:/bin"
        found = Path(pysk(person, "path").stdout.strip())
        assert found.name == ("libpysk.so" if major == "10" else f"libpysk-skapi{major}.so")
        assert found.is_absolute()
        assert found.exists()
        assert pysk(person, "path", "--api", major).stdout.strip() == str(found)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda library: re.sub(rb"(libpython3)\.\d+", rb"\1.99", library),
            r"libpython3\.99\S*: cannot open .*; install Python's .* \(Debian: apt-get install libpython3\.99\)",
        ),
        (lambda _library: b"no library", r".*; reinstall libpysk"),
    ],
    ids=["libpython", "no library"],
)
def test_a_library_that_cannot_be_loaded_is_told_with_what_it_lacks(
    person: Person, tmp_path: Path, damage: Callable[[bytes], bytes], sentence: str
) -> None:
    tree = Tree(tmp_path / "packages")
    library = tree.package / "libpysk-skapi9.so"
    library.write_bytes(damage(library.read_bytes()))
    program = f"import sys; sys.path.insert(0, {str(tree.folder)!r}); from sk_provider.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, "path", "--api", "9"],
        text=True, env=person.environment, check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"pysk: {library} cannot be loaded \({sentence}\n", done.stderr)


def test_the_help_of_serve_has_a_line_for_each_kind_of_address(person: Person) -> None:
    lines = [line.strip() for line in pysk(person, "serve", "--help").stdout.splitlines()]
    begin = lines.index("uhid:                  a USB HID device (/dev/uhid, as root)")
    end = lines.index("", begin)
    kinds = [line.partition(":")[0] for line in lines[begin:end]]
    assert kinds == ["uhid", "udp", "unix", "vpcd", "stdio", "stdio"]


def test_a_wrong_pin_is_never_shown(person: Person) -> None:
    person.set_pin(PIN)
    done = person.run(
        "ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, WRONG_PIN)]
    )  # fmt: skip
    assert WRONG_PIN not in done.screen + done.errors
