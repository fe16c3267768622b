"""pysk devices and card readers: why there is no card to use, and what is one."""

from __future__ import annotations

import json
import subprocess

from support import pcscd
from support.card import PassedOn
from support.openssh import Person, provider_lines
from support.serve import serve, wait_until

from sk_provider.transports import nfc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READER = "nfc:Virtual PCD 00 00"
OTHER_READER = "nfc:Virtual PCD 00 01"


def devices(person: Person, *arguments: str) -> list[dict[str, Any]]:
    """Return what pysk devices says of cards."""
    done = subprocess.run(
        [person.pysk, "devices", "--json", *arguments],
        env=person.environment, check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    return [each for each in json.loads(done.stdout) if each["transport"] == "nfc"]


def statuses(person: Person, *arguments: str) -> dict[str, str]:
    return {each["address"]: each["status"] for each in devices(person, *arguments)}


def test_readers_without_a_card_and_a_card_are_told(person: Person) -> None:
    wait_until(lambda: not nfc.discover(""), "the removal of the card before")
    assert statuses(person) == {READER: "no-card", OTHER_READER: "no-card"}
    with serve(f"vpcd:127.0.0.1:{pcscd.PORT}"):
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        assert statuses(person) == {READER: "ready", OTHER_READER: "no-card"}
        (card,) = devices(person, READER)
        assert (card["name"], card["ed25519_sk"], card["pin"]) == ("pysk software authenticator", True, "not-set")


def test_a_card_that_is_no_security_key_is_told(person: Person) -> None:
    wait_until(lambda: not nfc.discover(""), "the removal of the card before")
    with PassedOn(pcscd.PORT, lambda _command: b"\x6a\x82"):
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        assert statuses(person)[READER] == "not-fido"


def test_why_no_card_can_be_there_is_told(person: Person) -> None:
    assert statuses(person, "nfc:no such reader") == {"nfc:no such reader": "no-reader"}
    with pcscd.hidden():
        assert statuses(person) == {"nfc:": "no-service"}
    with pcscd.stopped():
        assert statuses(person) == {"nfc:": "failed"}


def test_who_is_not_let_in_is_told_so(person: Person) -> None:
    person.configure(device="nfc:")
    with pcscd.refusing():
        (refused,) = devices(person)
        done, _ = person.enroll("id", "ed25519-sk")
        doctor = subprocess.run(
            [person.pysk, "doctor", "--json"], env=person.environment, check=False, capture_output=True, timeout=60
        )
    told = "the PC/SC service does not let you use card readers"
    assert (refused["status"], refused["problem"]) == ("forbidden", told)
    assert "libpysk(8)" in refused["remedy"]
    assert provider_lines(done.errors) == [f"libpysk: {told}; {refused['remedy']}"]
    assert any(each["seen"] == told for each in json.loads(doctor.stdout)), doctor
