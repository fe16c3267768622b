"""pysk devices, as a person and as a script call it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.openssh import PIN, WRONG_PIN, Person, enrolled
from support.provider_tree import Tree
from support.relay import TO_CLIENT, TO_TOKEN, announce_ctap2
from support.serve import serve

from sk_provider.authenticator.profiles import PROFILES
from sk_provider.client import description
from sk_provider.ctap import framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from support.relay import Connect

NAME = "pysk software authenticator"
BUSY = "the authenticator is busy with another program; end that, or try again when it is done"
NEVER = "after:600000"
ELSEWHERE = ("nfc:", "soft:", "/dev/")
"""What the addresses begin with that this machine may have besides the test's own."""


def run(person: Person, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pysk devices as a script does."""
    return subprocess.run(
        [person.pysk, "devices", *arguments],
        text=True, env=person.environment, cwd=person.folder, check=False, capture_output=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def configure(person: Person, *addresses: str) -> None:
    person.config.write_text("".join(f"Device {address}\n" for address in addresses))


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """Return the lines of the test's own addresses, in cells, by the first."""
    lines = [line.split("  ") for line in done.stdout.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if not cells[0].startswith(ELSEWHERE)}


def objects(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {each["address"]: each for each in json.loads(done.stdout) if not each["address"].startswith(ELSEWHERE)}


def say_nothing(*_: object) -> list[bytes]:
    return []


def be_busy(direction: str, _number: int, content: bytes) -> list[bytes]:
    """Spoil every answer: another program has the token."""
    if direction == TO_TOKEN:
        return [content]
    header = content[:4] + bytes([framing.ERROR | framing.INIT_PACKET, 0, 1, framing.ERR_CHANNEL_BUSY])
    return [header.ljust(framing.REPORT_SIZE, b"\0")]


def test_every_profile_is_listed_with_what_it_can_do(person: Person, sockets: Path) -> None:
    with ExitStack() as stack:
        for name in PROFILES:
            stack.enter_context(serve("--profile", name, f"unix:{sockets}/{name}", presence=NEVER))
        addresses = {f"unix:{sockets}/{name}": name for name in PROFILES}
        configure(person, *addresses)
        text, data = run(person), run(person, "--json")
    assert (text.returncode, data.returncode) == (0, 0), text
    assert list(rows(text)) == list(objects(data)) == list(addresses)
    expected = {name: [NAME, "ready", "ed25519-sk ecdsa-sk", "100 left", "not set"] for name in PROFILES}
    expected["u2f"] = ["U2F security key", "ready", "ecdsa-sk", "no", "none"]
    expected["fido2.0"][2:4] = ["ecdsa-sk ed25519-sk?", "no"]
    expected["fido2.1-pre"][3] = "yes"
    expected["uv"][4] = "not set, verifies by itself"
    expected["always-uv"][4] = "not set, for every use"
    expected["es256-only"][2] = "ecdsa-sk"
    expected["no-algorithms-field"][2] = "ecdsa-sk ed25519-sk?"
    expected["small"][3] = "3 left"
    assert {addresses[address]: cells for address, cells in rows(text).items()} == expected
    for address, told in objects(data).items():
        assert told["status"] == "ready"
        assert told["transport"] == "unix"
        assert told["name"] == expected[addresses[address]][0]
        assert (told["problem"], told["remedy"], told["udev_rule"], told["users"]) == (None, None, None, [])


def test_the_help_names_every_member_and_every_status(person: Person) -> None:
    words = set(re.findall(r"[a-z0-9_-]+", run(person, "--help").stdout))
    done = run(person, "--json", "crow:")
    (told,) = json.loads(done.stdout)
    assert set(told) <= words
    statuses = {*description.ABSENT, *description.UNREADABLE, description.READY, description.NOT_FIDO}
    assert statuses <= words


def test_the_pin_and_the_room_for_resident_keys_are_told(person: Person, connect: Connect) -> None:
    with connect() as token:
        person.configure(device=token.address)
        person.set_pin(PIN)
        enrolled(person, "ed25519-sk")
        assert rows(run(person))[token.address][3:] == ["100 left", "set, 8 tries left"]
        for tries in (7, 6, 5):
            subprocess.run(
                [person.pysk, "pin", "change"],
                input=f"{WRONG_PIN}\n{PIN}\n", text=True, env=person.environment, check=False, capture_output=True,
                timeout=60,
            )  # fmt: skip
            told = objects(run(person, "--json"))[token.address]
            assert told["pin_tries_left"] == tries
        assert told["pin"] == "blocked-until-power-up"
        done = run(person)
        assert done.returncode == 0
        assert rows(done)[token.address][4] == "blocked until power up, 5 tries left"


def test_resident_keys_take_room(person: Person) -> None:
    person.set_pin(PIN)
    done, _ = person.enroll("id", "ed25519-sk", "resident", answers=[("Enter PIN for", PIN)])
    assert done.status == 0, done
    (told,) = json.loads(run(person, "--json", f"soft:{person.store}").stdout)
    assert (told["resident_keys"], told["resident_keys_left"]) == (True, 99)


def test_one_that_announces_ctap2_and_speaks_u2f_alone_is_told(person: Person, connect: Connect) -> None:
    with connect(announce_ctap2, "--profile", "u2f") as token:
        configure(person, token.address)
        assert rows(run(person))[token.address] == ["U2F security key", "ready", "ecdsa-sk", "no", "none"]


def test_nothing_is_asked_for_that_wants_a_touch_or_a_pin(person: Person, connect: Connect) -> None:
    with connect(presence=NEVER) as token:
        person.set_pin(PIN, token.address)
        token.reports.clear()
        assert run(person, token.address).returncode == 0
        assert token.messages() == ["init", "info", "pin"]
        assert token.touches() == 0


@pytest.mark.usefixtures("impatient")
def test_one_that_is_dead_and_one_that_is_busy_hide_no_other(person: Person, connect: Connect) -> None:
    with connect(say_nothing) as dead, connect(be_busy) as busy, connect() as token:
        configure(person, dead.address, busy.address, token.address)
        text, data = run(person), run(person, "--json")
    assert (text.returncode, data.returncode) == (1, 1)
    nothing = ["-", "-", "-"]
    assert rows(text) == {
        dead.address: ["-", "failed", *nothing],
        busy.address: ["-", "busy", *nothing],
        token.address: [NAME, "ready", "ed25519-sk ecdsa-sk", "100 left", "not set"],
    }
    assert text.stderr.splitlines() == [
        f"pysk: {dead.address}: the authenticator does not answer; unplug it, plug it in and try again",
        f"pysk: {busy.address}: the authenticator is busy with another program; end that, or try again when it is done",
    ]
    assert [each["status"] for each in objects(data).values()] == ["failed", "busy", "ready"]


def test_a_token_that_is_pulled_out_is_told(person: Person, connect: Connect) -> None:
    def cut_after_init(direction: str, number: int, content: bytes) -> list[bytes] | None:
        return None if direction == TO_CLIENT and number > 1 else [content]

    with connect(cut_after_init) as token:
        done = run(person, token.address)
    assert (done.returncode, done.stderr) == (
        1,
        f"pysk: the other end of {token.address} is gone; start or forward it again\n",
    )


def test_a_store_that_is_not_there_is_not_made(person: Person) -> None:
    address = f"soft:{person.store}"
    for arguments, status in (((), 0), ((address,), 1)):
        done = run(person, "--json", *arguments)
        told = next(each for each in json.loads(done.stdout) if each["address"] == address)
        assert (done.returncode, told["status"]) == (status, "not-made")
    assert not person.store.exists()
    assert run(person, address).stderr == (
        f"pysk: {address}: there is no software authenticator in {person.store}; "
        f"enroll a key with -O device={address} to make one\n"
    )


def test_all_of_one_is_printed_where_it_is_named(person: Person) -> None:
    address = f"soft:{person.store}"
    person.set_pin(PIN)
    done = run(person, address)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first == address
    told = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines)
    assert told == {
        "authenticator": NAME,
        "status": "ready",
        "keys": "ed25519-sk ecdsa-sk",
        "resident keys": "100 left",
        "verify-required": "yes",
        "PIN": "set, 8 tries left, at least 4 characters",
        "verifies itself": "none",
        "versions": "U2F_V2, FIDO_2_0, FIDO_2_1",
        "extensions": "credBlob, credProtect, hmac-secret, largeBlobKey, minPinLength",
        "transports": "nfc, usb",
        "firmware": "0x1",
        "AAGUID": "4415c58f-d29e-f869-f813-4db032b931cc",
    }


def test_that_resident_keys_want_a_pin_first_is_told(person: Person, connect: Connect) -> None:
    with connect() as token:
        assert "  resident keys    100 left, once a PIN is set\n" in run(person, token.address).stdout


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("udp:192.0.2.1:1", "udp:192.0.2.1:1 is not on this machine, and anybody on the network could answer"),
        ("unix:relative", "unix:relative is not an absolute path; begin it with / or ~/"),
        ("crow:", "there is no transport crow:; use one of"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_and_hides_no_other(
    person: Person, connect: Connect, address: str, sentence: str
) -> None:
    with connect() as token:
        configure(person, address, token.address)
        done = run(person)
        assert done.returncode == 1
        assert rows(done)[address][1] == "unusable"
        assert rows(done)[token.address][1] == "ready"
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"pysk: {sentence}")


def test_a_wrong_line_of_the_configuration_is_told(person: Person) -> None:
    for line, sentence in (
        ("Devise usb:", "unknown keyword Devise; .*"),
        ("Device soft", "soft is not an authenticator's address; write one such as usb: or soft:"),
    ):
        person.config.write_text(f"{line}\n")
        done = run(person)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(rf"pysk: {person.config} line 1: {sentence}\n", done.stderr)


def test_an_argument_that_is_no_address_is_told(person: Person) -> None:
    done = run(person, "soft")
    assert done.returncode == 1
    assert done.stderr == "pysk: soft is not an authenticator's address; write one such as usb: or soft:\n"


def test_what_to_install_for_cards_is_told_and_is_no_failure(person: Person, connect: Connect, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "packages")
    tree.remove("smartcard", "pyscard-*")
    program = f"import sys; sys.path.insert(0, {str(tree.folder)!r}); from sk_provider.cli import main; main()"
    with connect() as token:
        configure(person, token.address)
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, "devices"],
            text=True, env=person.environment, check=False, capture_output=True, timeout=60,
        )  # fmt: skip
        assert rows(done)[token.address][1] == "ready"
    assert "nfc:  -  no-package  -  -  -\n" in done.stdout
    told = "pysk: nfc: cards and NFC need the Python package pyscard; install it with: .*pip install pyscard"
    assert sum(bool(re.fullmatch(told, line)) for line in done.stderr.splitlines()) == 1
    assert done.returncode == 0


def test_several_addresses_are_a_usage_error(person: Person) -> None:
    done = run(person, "usb:", "soft:")
    assert (done.returncode, done.stdout) == (2, "")
    usage, hint, _, error = done.stderr.splitlines()
    assert (usage[:18], hint) == ("Usage: pysk device", "Try 'pysk devices --help' for help.")
    assert error == "pysk: Got unexpected extra argument (soft:)"


def test_a_table_stands_on_a_terminal(person: Person) -> None:
    person.set_pin(PIN)
    # As wide as the address, a path of the test's, wants it.
    done = person.run(str(person.pysk), "devices", environment={"COLUMNS": "250"})
    assert done.status == 0
    head = next(line for line in done.screen.splitlines() if "Address" in line)
    assert all(column in head for column in ("Model", "Status", "Keys", "Resident", "PIN"))
