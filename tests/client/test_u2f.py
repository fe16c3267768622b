"""Tokens that speak U2F alone, also one that announces CTAP2, as YubiKey 4 do, and does not know its commands."""

from __future__ import annotations

import pytest
from support.openssh import PIN, PIN_PROMPT, Person, assert_signs, enrolled, provider_lines
from support.relay import announce_ctap2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from support.relay import Connect, Relay


@pytest.fixture(params=[None, announce_ctap2], ids=["announces U2F", "announces CTAP2"])
def relay(request: pytest.FixtureRequest, connect: Connect) -> AbstractContextManager[Relay]:
    return connect(request.param, "--profile", "u2f")


def test_it_enrolls_and_signs(person: Person, relay: AbstractContextManager[Relay]) -> None:
    with relay as token:
        person.configure(device=token.address)
        assert_signs(person, enrolled(person, "ecdsa-sk"))


def test_no_message_is_sent_for_its_announcement_but_the_one_that_shows_it_wrong(
    person: Person, connect: Connect
) -> None:
    with connect(announce_ctap2, "--profile", "u2f") as token:
        person.configure(device=token.address)
        key = enrolled(person, "ecdsa-sk")
        assert token.messages() == ["init", "info", "u2f"]
        token.reports.clear()
        assert_signs(person, key)
        assert token.messages() == ["init", "get", "u2f"]


@pytest.mark.parametrize(
    ("kind", "options", "remedy"),
    [
        ("ed25519-sk", [], "ecdsa-sk"),
        ("ecdsa-sk", ["resident"], "leave out -O resident"),
        ("ecdsa-sk", ["verify-required"], "leave out -O resident and -O verify-required"),
    ],
)
def test_what_it_cannot_do_is_refused_before_it_is_touched(
    person: Person, relay: AbstractContextManager[Relay], kind: str, options: list[str], remedy: str
) -> None:
    with relay as token:
        person.configure(device=token.address)
        done, _ = person.enroll("id", kind, *options)
        assert done.status != 0
        (line,) = provider_lines(done.errors)
        assert remedy in line
        assert "u2f" not in token.messages()


def test_it_has_no_pin_and_no_resident_keys(person: Person, relay: AbstractContextManager[Relay]) -> None:
    with relay as token:
        person.configure(device=token.address)
        done = person.run(str(person.pysk), "pin", "status", token.address)
        assert done.errors.splitlines() == ["pysk: the authenticator does not support PINs; use one that does"]
        done = person.run(str(person.pysk), "reset", "--yes", token.address)
        assert done.errors.splitlines() == [
            "pysk: the authenticator supports U2F only, which has no reset; use another one"
        ]
        done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
        assert provider_lines(done.errors) == [
            "libpysk: the authenticator cannot list its resident keys; use the key files made at enrollment"
        ]


def test_it_is_found_among_several(person: Person, connect: Connect) -> None:
    with connect() as other, connect(announce_ctap2, "--profile", "u2f") as token:
        person.configure(device=token.address)
        key = enrolled(person, "ecdsa-sk")
        person.configure(device=f"{other.address} {token.address}")
        assert_signs(person, key)


def test_one_of_several_is_chosen_by_its_touch(person: Person, connect: Connect) -> None:
    never, soon = "after:60000", "after:700"
    with (
        connect(None, presence=never) as other,
        connect(announce_ctap2, "--profile", "u2f", presence=soon) as token,
    ):
        person.configure(device=f"{other.address} {token.address}")
        done, key = person.enroll("id", "ecdsa-sk")
        assert done.status == 0, done
        person.configure(device=token.address)
        assert_signs(person, key)
