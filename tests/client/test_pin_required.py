"""A PIN is asked for exactly when another call with a PIN can succeed, and at the cost of one command more."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from support.openssh import PIN, WRONG_PIN, Person
from support.relay import TO_CLIENT

from sk_provider.api import (
    ALGORITHM_ED25519,
    FLAG_FORCE_OPERATION,
    FLAG_RESIDENT_KEY,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    EnrollRequest,
    ResidentRequest,
    SignRequest,
)
from sk_provider.authenticator.state import PIN_RETRIES
from sk_provider.authenticator.store import Store
from sk_provider.config import Configuration
from sk_provider.ctap import framing
from sk_provider.enroll import enroll
from sk_provider.errors import PinAlwaysRequired, PinBlocked, PinInvalid, PinNotSet, PinRequired, SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.resident import load_resident_keys
from sk_provider.sign import sign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from support.relay import Connect, Relay, Spoil

    Serve = Callable[..., AbstractContextManager["Asker"]]

INIT, CBOR = framing.INIT, framing.CBOR
VERIFIED = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
RESIDENT = FLAG_USER_PRESENCE | FLAG_RESIDENT_KEY

# What the token verifies the person for, by a token for two commands or by the command itself
BUILT_IN = [("sign", VERIFIED), ("enroll", RESIDENT), ("enroll", RESIDENT | FLAG_FORCE_OPERATION)]


class Asker:
    """Asks the provider for operations by one token, as a host does."""

    def __init__(self, relay: Relay, store: Store) -> None:
        self.relay = relay
        self.store = store
        self.key_handle = b""

    def set(self, **members: object) -> None:
        """Have the token's store say something else."""
        with self.store.transaction() as state:
            for name, value in members.items():
                setattr(state, name, value)

    def enroll(self, flags: int = RESIDENT, pin: str | None = None) -> None:
        request = EnrollRequest(ALGORITHM_ED25519, bytes(32), "ssh:", flags, pin, self.relay.address, None)
        self.relay.reports.clear()
        self.key_handle = enroll(request, Configuration(), Operation(5)).key_handle

    def sign(self, flags: int = VERIFIED, pin: str | None = None) -> None:
        device = self.relay.address
        request = SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:", self.key_handle, flags, pin, device)
        self.relay.reports.clear()
        sign(request, Configuration(), Operation(5))

    def list(self, pin: str | None = None) -> None:
        self.relay.reports.clear()
        load_resident_keys(ResidentRequest(pin, self.relay.address), Configuration(), Operation(5))

    def refusal(self, call: Callable[..., None], *arguments: object) -> SecurityKeyError:
        with pytest.raises(SecurityKeyError) as caught:
            call(*arguments)
        return caught.value


@pytest.fixture
def serve(person: Person, connect: Connect) -> Serve:
    """Return what serves a token of a profile, with a PIN or without, that holds a key which wants verification."""

    @contextmanager
    def serving(profile: str, pin: str = "", spoil: Spoil | None = None) -> Iterator[Asker]:
        with connect(spoil, "--profile", profile, "--store", str(person.store)) as relay:
            person.configure(device=relay.address)
            if pin:
                person.set_pin(pin)
            asker = Asker(relay, Store.open(str(person.store)))
            if pin or profile == "uv":
                asker.enroll(VERIFIED, pin or None)
            yield asker

    return serving


def test_one_command_tells_whether_the_pin_is_worth_asking_for(serve: Serve) -> None:
    with serve("fido2.1", PIN) as asker:
        assert type(asker.refusal(asker.sign)) is PinRequired
        # a channel, getInfo for how the person is verified, the tries
        assert asker.relay.transactions() == [INIT, CBOR, CBOR]
        assert type(asker.refusal(asker.enroll)) is PinRequired
        assert asker.relay.transactions() == [INIT, CBOR, CBOR]
        assert type(asker.refusal(asker.list)) is PinRequired
        assert asker.relay.transactions() == [INIT, CBOR, CBOR]
        asker.sign(VERIFIED, PIN)
        asker.enroll(RESIDENT, PIN)


@pytest.mark.parametrize("operation", ["sign", "enroll", "list"])
def test_a_blocked_pin_is_not_asked_for(serve: Serve, operation: str) -> None:
    with serve("fido2.1", PIN) as asker:
        asker.set(pin_retries=0)
        error = asker.refusal(getattr(asker, operation))
        assert type(error) is PinBlocked
        assert "for good" in str(error)


@pytest.mark.parametrize("operation", ["sign", "enroll", "list"])
def test_a_pin_that_is_blocked_until_the_next_power_up_is_not_asked_for(serve: Serve, operation: str) -> None:
    with serve("fido2.1", PIN) as asker:
        for expected in (PinInvalid, PinInvalid, PinBlocked):
            assert type(asker.refusal(asker.sign, VERIFIED, WRONG_PIN)) is expected
        error = asker.refusal(getattr(asker, operation))
        assert type(error) is PinBlocked
        assert "three wrong tries" in str(error)


@pytest.mark.parametrize("operation", ["sign", "enroll", "list"])
def test_a_pin_that_must_be_changed_is_not_asked_for(serve: Serve, operation: str) -> None:
    with serve("fido2.1", PIN) as asker:
        asker.set(force_pin_change=True)
        error = asker.refusal(getattr(asker, operation))
        assert type(error) is PinBlocked
        assert "pysk pin change" in str(error)


@pytest.mark.parametrize(("operation", "flags"), BUILT_IN)
def test_the_pin_is_asked_for_when_built_in_verification_is_blocked(serve: Serve, operation: str, flags: int) -> None:
    with serve("uv", PIN) as asker:
        asker.set(uv_retries=0)
        assert type(asker.refusal(getattr(asker, operation), flags)) is PinRequired
        getattr(asker, operation)(flags, PIN)


@pytest.mark.parametrize(("operation", "flags"), BUILT_IN)
def test_no_pin_is_asked_for_when_both_are_blocked(serve: Serve, operation: str, flags: int) -> None:
    with serve("uv", PIN) as asker:
        asker.set(uv_retries=0, pin_retries=0)
        assert type(asker.refusal(getattr(asker, operation), flags)) is PinBlocked


@pytest.mark.parametrize(("operation", "flags"), BUILT_IN)
def test_no_pin_is_asked_for_when_built_in_verification_is_blocked_and_there_is_none(
    serve: Serve, operation: str, flags: int
) -> None:
    with serve("uv") as asker:
        asker.set(uv_retries=0)
        error = asker.refusal(getattr(asker, operation), flags)
        assert type(error) is PinBlocked
        assert "set one with: pysk pin set" in str(error)


def test_a_pin_for_every_use_is_asked_for_if_there_is_one_that_is_not_blocked(serve: Serve) -> None:
    with serve("always-uv", PIN) as asker:
        assert type(asker.refusal(asker.sign, FLAG_USER_PRESENCE)) is PinAlwaysRequired
        # a channel, the assertion that was refused, getInfo for whether there is a PIN, the tries
        assert asker.relay.transactions() == [INIT, CBOR, CBOR, CBOR]
        asker.sign(FLAG_USER_PRESENCE, PIN)
        asker.set(pin_retries=0)
        assert type(asker.refusal(asker.sign, FLAG_USER_PRESENCE)) is PinBlocked


def test_a_pin_for_every_use_is_not_asked_for_if_there_is_none(serve: Serve) -> None:
    with serve("always-uv", PIN) as asker:
        asker.set(pin=b"")
        error = asker.refusal(asker.sign, FLAG_USER_PRESENCE)
        assert type(error) is PinNotSet
        assert "pysk pin set" in str(error)


@pytest.mark.parametrize("call", ["sign", "list"])
def test_a_pin_that_is_too_short_for_the_authenticator_spends_no_try(serve: Serve, call: str) -> None:
    with serve("fido2.1", PIN) as asker:
        asker.set(min_pin_length=6)
        arguments = (VERIFIED, "12345") if call == "sign" else ("12345",)
        error = asker.refusal(getattr(asker, call), *arguments)
        assert type(error) is PinInvalid
        assert "the PIN is too short: it must have at least 6 characters" in str(error)
        assert asker.store.read().pin_retries == PIN_RETRIES


def hide_forced_change(direction: str, _number: int, content: bytes) -> list[bytes]:
    return [content.replace(b"\x0c\xf5\x0d\x04", b"\x0c\xf4\x0d\x04") if direction == TO_CLIENT else content]


@pytest.mark.parametrize(
    ("spoil", "commands"), [(None, 1), (hide_forced_change, 3)], ids=["known before", "known by the refusal"]
)
def test_a_person_is_told_to_change_the_pin_that_must_be_changed(
    serve: Serve, spoil: Spoil | None, commands: int
) -> None:
    with serve("fido2.1", PIN, spoil) as asker:
        asker.set(force_pin_change=True)
        error = asker.refusal(asker.sign, VERIFIED, PIN)
        assert type(error) is PinBlocked
        assert str(error).endswith(f"change it with: pysk pin change {asker.relay.address}")
        # getInfo; and if that does not tell, the key agreement and the refused token
        assert asker.relay.transactions() == [INIT] + [CBOR] * commands
