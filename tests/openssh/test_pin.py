"""PINs as ssh-keygen asks for them: wrong, right, blocked and missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.openssh import ASKS_ON_DEMAND, PIN, PIN_PROMPT, WRONG_PIN, Person, provider_lines, version
from support.terminal import Done

BLOCKED = "the PIN is blocked after three wrong tries"


@pytest.fixture
def protected(person: Person, kind: str) -> Path:
    """A key that wants a PIN for each use, of an authenticator that has one."""
    person.set_pin(PIN)
    done, path = person.enroll("id", kind, "verify-required")
    assert done.status == 0, done
    return path


def test_missing_pin_is_told_and_not_asked_for(person: Person, kind: str) -> None:
    done, path = person.enroll("id", kind, "verify-required")
    assert done.status != 0
    assert not path.exists()
    assert PIN_PROMPT not in done.screen or version() < ASKS_ON_DEMAND
    assert provider_lines(done.errors) == [
        (
            "libpysk: a key with verify-required needs an authenticator with a PIN, and this one has none; "
            f"set one with: pysk pin set soft:{person.store}"
        )
    ]


def test_enrollment_survives_one_wrong_pin(person: Person, kind: str) -> None:
    person.set_pin(PIN)
    done, path = person.enroll("id", kind, "resident", answers=[(PIN_PROMPT, WRONG_PIN), (PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert path.exists()
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]


def test_enrollment_ends_after_two_wrong_pins(person: Person, kind: str) -> None:
    person.set_pin(PIN)
    done, path = person.enroll("id", kind, "resident", answers=[(PIN_PROMPT, WRONG_PIN), (PIN_PROMPT, WRONG_PIN)])
    assert done.status != 0
    assert not path.exists()
    assert provider_lines(done.errors) == [
        "libpysk: wrong PIN, 7 tries left; try again",
        "libpysk: wrong PIN, 6 tries left; try again",
    ]


def test_wrong_pin_signs_nothing(person: Person, protected: Path) -> None:
    done, signature = person.sign(protected, answers=[(PIN_PROMPT, WRONG_PIN)])
    assert done.status != 0
    assert not signature.exists()
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]
    assert WRONG_PIN not in done.screen + done.errors


def test_right_pin_gives_all_tries_back(person: Person, protected: Path) -> None:
    for _ in range(2):
        for _ in range(2):
            person.sign(protected, answers=[(PIN_PROMPT, WRONG_PIN)])
        done, signature = person.sign(protected, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert person.verify(protected, signature).returncode == 0
    done, _ = person.sign(protected, answers=[(PIN_PROMPT, WRONG_PIN)])
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]


def block(person: Person, protected: Path) -> Done:
    for _ in range(3):
        done, _ = person.sign(protected, answers=[(PIN_PROMPT, WRONG_PIN)])
    return done


def test_third_wrong_pin_in_a_row_blocks_the_right_one(person: Person, protected: Path) -> None:
    done = block(person, protected)
    assert provider_lines(done.errors) == [f"libpysk: {BLOCKED}; restart the machine, and try again"]
    done, signature = person.sign(protected, answers=[(PIN_PROMPT, PIN)])
    assert done.status != 0
    assert not signature.exists()
    assert len(provider_lines(done.errors)) == 1
    assert BLOCKED in done.errors


def test_pin_is_not_asked_for_when_it_is_blocked(person: Person, protected: Path) -> None:
    block(person, protected)
    done, path = person.enroll("other", "ed25519-sk", "resident")
    assert done.status != 0
    assert not path.exists()
    assert PIN_PROMPT not in done.screen or version() < ASKS_ON_DEMAND
    assert len(provider_lines(done.errors)) == 1
    assert BLOCKED in done.errors


def test_key_without_pin_is_usable_while_the_pin_is_blocked(person: Person, protected: Path) -> None:
    _, plain = person.enroll("plain", "ed25519-sk")
    block(person, protected)
    done, signature = person.sign(plain)
    assert done.status == 0, done
    assert person.verify(plain, signature).returncode == 0


@pytest.mark.parametrize("pin", ["123", 64 * "x"], ids=["too short", "too long"])
def test_pin_that_cannot_be_one_spends_no_try(person: Person, protected: Path, pin: str) -> None:
    done, _ = person.sign(protected, answers=[(PIN_PROMPT, pin)])
    assert done.status != 0
    assert len(provider_lines(done.errors)) == 1
    done, _ = person.sign(protected, answers=[(PIN_PROMPT, WRONG_PIN)])
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]


def test_pin_is_compared_in_its_composed_form(person: Person) -> None:
    person.set_pin("Z\u00fcrichsee")
    done, path = person.enroll(
        "id", "ed25519-sk", "resident", "verify-required", answers=[(PIN_PROMPT, "Zu\u0308richsee")]
    )
    assert done.status == 0, done
    done, signature = person.sign(path, answers=[(PIN_PROMPT, "Z\u00fcrichsee")])
    assert person.verify(path, signature).returncode == 0


def test_pysk_sets_and_changes_the_pin_on_the_terminal(person: Person, kind: str) -> None:
    pysk = str(person.pysk)
    done = person.run(pysk, "pin", "set", answers=[("New PIN: ", PIN), ("New PIN again: ", PIN)])
    assert done.status == 0, done
    assert PIN not in done.screen + done.errors
    _, path = person.enroll("id", kind, "verify-required")
    new = "battery staple"
    answers = [("Current PIN: ", PIN), ("New PIN: ", new), ("New PIN again: ", new)]
    done = person.run(pysk, "pin", "change", answers=answers)
    assert done.status == 0, done
    done, _ = person.sign(path, answers=[(PIN_PROMPT, PIN)])
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]
    assert person.run(pysk, "pin", "status").screen == "a PIN is set, 7 tries left\n"
    done, signature = person.sign(path, answers=[(PIN_PROMPT, new)])
    assert person.verify(path, signature).returncode == 0


def test_pysk_tells_of_a_pin_that_is_missing_or_blocked(person: Person, protected: Path) -> None:
    assert person.run(str(person.pysk), "pin", "status").screen == "a PIN is set, 8 tries left\n"
    block(person, protected)
    done = person.run(str(person.pysk), "pin", "status")
    assert done.screen == "a PIN is set, 5 tries left, blocked until the next power-up\n"
