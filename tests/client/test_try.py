"""pysk try, as a person and as a script call it."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest
from support.openssh import PIN, WRONG_PIN, Person, asks_to_choose
from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from support.relay import Connect

NEVER = "after:600000"
SOON = "after:300"
NAME = "pysk software authenticator"
MAKES = "enroll; touch the authenticator if it blinks"
SIGNS = "sign; touch the authenticator if it blinks"
STEPS = [(None, "open")] + [
    (key_type, step) for key_type in ("ed25519-sk", "ecdsa-sk") for step in ("enroll", "sign", "verify")
]


def run(person: Person, *arguments: str, lines: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run pysk try as a script does, with lines on a standard input that is no terminal."""
    return subprocess.run(
        [person.pysk, "try", *arguments],
        input="".join(f"{line}\n" for line in lines), text=True, env=person.environment, cwd=person.folder,
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip


def test_each_step_is_told_and_timed(person: Person, connect: Connect) -> None:
    with connect() as token:
        done = run(person, token.address)
    assert done.returncode == 0, done
    first, *lines = done.stdout.splitlines()
    assert first == f"{token.address}  {NAME}"
    told = [re.fullmatch(r"(\S+) +(\S+) +\d+\.\d ms", line) for line in lines]
    assert [each and each.groups() for each in told] == [(key_type or "-", step) for key_type, step in STEPS]
    assert done.stderr.splitlines() == [
        f"{key_type}: {what}" for key_type in ("ed25519-sk", "ecdsa-sk") for what in (MAKES, SIGNS)
    ]


def test_a_touch_is_wanted_once_for_each_key_and_each_signature(person: Person, connect: Connect) -> None:
    with connect(presence=SOON) as token:
        assert run(person, token.address).returncode == 0
        assert token.touches() == 4


def test_the_report_is_json_where_that_is_asked_for(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "u2f") as token:
        report = json.loads(run(person, "--json", token.address).stdout)
    assert (report["address"], report["name"], report["succeeded"]) == (token.address, "U2F security key", True)
    assert (report["problem"], report["remedy"]) == (None, None)
    assert [(step["key_type"], step["step"]) for step in report["steps"]] == [STEPS[0], *STEPS[4:]]
    assert all(step["milliseconds"] >= 0 for step in report["steps"])


def test_the_authenticator_of_the_configuration_is_tried_and_keeps_nothing(person: Person) -> None:
    person.set_pin(PIN)
    before = (person.store / "state").stat().st_size
    done = run(person)
    assert done.returncode == 0, done
    assert (person.store / "state").stat().st_size == before
    told = json.loads(
        subprocess.run(
            [person.pysk, "devices", "--json", f"soft:{person.store}"],
            env=person.environment, check=True, capture_output=True, timeout=60,
        ).stdout
    )  # fmt: skip
    assert told[0]["resident_keys_left"] == 100


def test_a_pin_is_asked_for_where_it_is_wanted(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "always-uv") as token:
        done = run(person, token.address)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith(f"set one with: pysk pin set {token.address}")
        person.set_pin(PIN, token.address)
        at_terminal = person.run(str(person.pysk), "try", token.address, answers=[("PIN:", PIN)])
        assert at_terminal.status == 0, at_terminal
        assert PIN not in at_terminal.screen + at_terminal.errors
        done = run(person, "--json", token.address, lines=(WRONG_PIN,))
        report = json.loads(done.stdout)
        assert (done.returncode, report["succeeded"], len(report["steps"])) == (1, False, 1)
        assert (report["problem"], report["remedy"]) == ("wrong PIN, 7 tries left", "try again")
        assert done.stderr.splitlines()[-1] == "pysk: wrong PIN, 7 tries left; try again"
        assert WRONG_PIN not in done.stdout + done.stderr


def test_a_refused_touch_is_told(person: Person, connect: Connect) -> None:
    with connect(presence="deny") as token:
        done = run(person, token.address)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"ed25519-sk: {MAKES}",
        "pysk: the request was not confirmed on the authenticator; try again and touch it",
    ]


def test_a_store_that_is_not_there_is_not_made(person: Person) -> None:
    done = run(person, f"soft:{person.store}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"pysk: there is no software authenticator in {person.store}; "
        f"enroll a key with -O device=soft:{person.store} to make one\n"
    )
    assert not person.store.exists()
    report = json.loads(run(person, "--json", f"soft:{person.store}").stdout)
    assert (report["address"], report["steps"], report["succeeded"]) == (None, [], False)


def test_ctrl_c_ends_it_in_a_sentence_and_lets_the_token_go(person: Person, connect: Connect) -> None:
    with connect(presence=NEVER) as token:
        process = subprocess.Popen(
            [person.pysk, "try", token.address],
            env=person.environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until(token.touches, "the waiting for a touch")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert token.messages()[-1] == "cancel"
    assert process.returncode == 1
    assert said.splitlines()[-1] == "pysk: the test was interrupted, and no key was kept; start it again"
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [8, 12])
def test_a_token_that_is_pulled_out_is_told(person: Person, connect: Connect, number: int) -> None:
    with connect(lambda _direction, count, content: None if count >= number else [content]) as token:
        done = run(person, token.address)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"pysk: the other end of {token.address} is gone; start or forward it again"
    assert "Traceback" not in done.stderr


def test_of_several_the_touched_one_is_tried(person: Person, connect: Connect) -> None:
    with connect(presence=NEVER) as other, connect(presence=SOON) as token:
        person.configure(device=f"{other.address} {token.address}")
        done = run(person)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[0] == f"{token.address}  {NAME}"
    assert asks_to_choose(done.stderr.splitlines()[0], 2)


def test_a_signature_that_does_not_verify_is_told(person: Person, connect: Connect) -> None:
    with connect(fault="bad-signature") as token:
        done = run(person, token.address)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "pysk: the signature is not by the key that the authenticator has just made; use another authenticator"
    )


def test_nothing_is_remembered_of_the_keys(person: Person, tmp_path: Path) -> None:
    person.set_pin(PIN)
    person.configure(f"KnownKeys {tmp_path}/known_keys", "Presence auto")
    assert run(person).returncode == 0
    assert not (tmp_path / "known_keys").exists()
