"""Authenticators that speak U2F alone: what is asked of them, what they may answer, and what it means."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from fido2.ctap1 import Ctap1
from support import soft_token
from support.answering import Scripted
from support.soft_token import Device

from sk_provider import enroll, sign
from sk_provider.api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    FLAG_RESIDENT_KEY,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    EnrollRequest,
    EnrollResponse,
    SignRequest,
    SignResponse,
)
from sk_provider.authenticator.presence import DENIED
from sk_provider.authenticator.store import Store
from sk_provider.client import selection, u2f
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.credentials.signature import verifies
from sk_provider.ctap import apdu
from sk_provider.errors import (
    AuthenticatorError,
    CredentialNotFound,
    Interrupted,
    SecurityKeyError,
    Unsupported,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.transport_api import Channel

APPLICATION = "ssh:work"
APP_PARAM = hashlib.sha256(APPLICATION.encode()).digest()
DIGEST = bytes(range(32))
HANDLE = b"key handle"
NOT_TOUCHED, WRONG_DATA, UNKNOWN, DONE = b"\x69\x85", b"\x6a\x80", b"\x6f\x00", b"\x90\x00"
SIGNED = b"\x01\x00\x00\x00\x07" + bytes.fromhex("3006020101020102")


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(u2f, "_POLL_INTERVAL", 0.01)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(Store.create(str(tmp_path / "store")), soft_token.Person(), "u2f")


def scripted(*answers: bytes) -> Scripted:
    """Return a token that gives these answers to APDUs, the last one for ever."""
    channel = Scripted({apdu.CLA_ISO: list(answers)})
    channel.capabilities = 0
    return channel


class Person:
    """Whoever signs and enrolls, and what they were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.operation = Operation(30, tell=self.told.append)
        self._monkeypatch = monkeypatch

    def _connect(self, channel: Channel) -> None:
        for name in ("open_for_signature", "open_for_enrollment"):
            self._monkeypatch.setattr(selection, name, lambda *_: Token(channel, "unix:/token"))

    def sign(self, channel: Channel, flags: int = FLAG_USER_PRESENCE, key_handle: bytes = HANDLE) -> SignResponse:
        self._connect(channel)
        request = SignRequest(ALGORITHM_ECDSA, DIGEST, APPLICATION, key_handle, flags, None, None)
        return sign.sign(request, Configuration(), self.operation)

    def enroll(
        self, channel: Channel, flags: int = FLAG_USER_PRESENCE, algorithm: int = ALGORITHM_ECDSA
    ) -> EnrollResponse:
        self._connect(channel)
        request = EnrollRequest(algorithm, b"challenge", APPLICATION, flags, None, None, None)
        return enroll.enroll(request, Configuration(), self.operation)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    return Person(monkeypatch)


def test_a_key_is_registered_and_signs(person: Person, device: Device) -> None:
    made = person.enroll(device)
    assert made.flags == FLAG_USER_PRESENCE
    assert made.attestation_certificate.startswith(b"\x30")
    signed = person.sign(device, key_handle=made.key_handle)
    assert signed.flags == 1
    assert signed.counter == device.store.read().counter
    message = APP_PARAM + b"\x01" + signed.counter.to_bytes(4, "big") + DIGEST
    r, s = (int.from_bytes(number, "big") for number in (signed.sig_r, signed.sig_s))
    assert verifies(ALGORITHM_ECDSA, made.public_key, message, encode_dss_signature(r, s))
    assert person.told == []


class Changed:
    """Changes what a token answers to a registration."""

    def __init__(self, device: Device, index: int) -> None:
        self.capabilities = device.capabilities
        self._device = device
        self._index = index

    def call(self, cmd: int, data: bytes = b"", event: object = None, on_keepalive: object = None) -> bytes:
        answer = bytearray(self._device.call(cmd, data))
        answer[self._index] ^= 1
        return bytes(answer)

    def close(self) -> None:
        """Nothing to let go."""


@pytest.mark.parametrize("index", [10, 70, -3], ids=["public key", "key handle", "signature"])
def test_a_registration_that_was_changed_on_its_way_is_refused(person: Person, device: Device, index: int) -> None:
    with pytest.raises(AuthenticatorError):
        person.enroll(Changed(device, index))


def test_a_registration_of_something_else_is_refused(person: Person, device: Device) -> None:
    other = device.call(3, apdu.extended(0, apdu.INS_REGISTER, 0, 0, bytes(32) + APP_PARAM))
    with pytest.raises(AuthenticatorError, match="attestation of the new key does not verify"):
        person.enroll(scripted(other))


@pytest.mark.parametrize(
    ("flags", "algorithm", "sentence"),
    [
        (FLAG_USER_PRESENCE, ALGORITHM_ED25519, "does not support this type of key; use the other"),
        (
            FLAG_USER_PRESENCE | FLAG_RESIDENT_KEY,
            ALGORITHM_ECDSA,
            "does not support resident keys; leave out -O resident",
        ),
        (
            FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION,
            ALGORITHM_ECDSA,
            "does not support keys that require user verification",
        ),
    ],
)
def test_what_u2f_cannot_do_is_refused_before_a_touch(
    person: Person, flags: int, algorithm: int, sentence: str
) -> None:
    channel = scripted(NOT_TOUCHED)
    with pytest.raises(Unsupported, match=sentence):
        person.enroll(channel, flags, algorithm)
    assert channel.asked == []
    assert channel.times_closed == 1


def test_a_registration_is_for_the_application_and_the_challenge(person: Person) -> None:
    channel = scripted(WRONG_DATA)
    with pytest.raises(SecurityKeyError):
        person.enroll(channel)
    request = apdu.Apdu(channel.asked[0])
    assert (request.ins, request.data) == (apdu.INS_REGISTER, hashlib.sha256(b"challenge").digest() + APP_PARAM)


def test_a_key_that_wants_verification_is_not_asked_for(person: Person) -> None:
    channel = scripted(SIGNED + DONE)
    with pytest.raises(
        Unsupported, match="which the authenticator does not have; connect the authenticator that it was"
    ):
        person.sign(channel, FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION)
    assert channel.asked == []


def test_a_pin_does_not_verify_anybody_either(person: Person) -> None:
    channel = scripted(SIGNED + DONE)
    request = SignRequest(
        ALGORITHM_ECDSA, DIGEST, APPLICATION, HANDLE, FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION, "1234", None
    )
    with pytest.raises(
        Unsupported, match="which the authenticator does not have; connect the authenticator that it was"
    ):
        u2f.get_assertion(request, token(channel), person.operation)
    assert channel.asked == []


def test_a_signature_without_a_touch_is_told_to_want_one(person: Person) -> None:
    person.sign(scripted(SIGNED + DONE), 0)
    assert person.told == ["the authenticator supports U2F only, and signs only when it is touched; touch it"]


def test_a_signature_is_for_the_application_the_message_and_the_key(person: Person) -> None:
    channel = scripted(SIGNED + DONE)
    response = person.sign(channel)
    assert (response.flags, response.counter) == (1, 7)
    assert (response.sig_r[-1], response.sig_s[-1]) == (1, 2)
    request = apdu.Apdu(channel.asked[0])
    assert (request.ins, request.p1) == (apdu.INS_AUTHENTICATE, apdu.P1_ENFORCE_PRESENCE)
    assert request.data == DIGEST + APP_PARAM + bytes([len(HANDLE)]) + HANDLE
    assert person.told == []


@pytest.mark.parametrize("presence", [0, 2, 4, 5])
def test_presence_must_be_confirmed_and_nothing_else(person: Person, presence: int) -> None:
    with pytest.raises(AuthenticatorError, match="does not confirm a touch"):
        person.sign(scripted(bytes([presence]) + SIGNED[1:] + DONE))


@pytest.mark.parametrize(
    ("answered", "kind", "sentence"),
    [
        (WRONG_DATA, CredentialNotFound, "the authenticator does not hold this key"),
        (UNKNOWN, AuthenticatorError, r"the shared authenticator failed \(status 6f00\)"),
        (b"\x6d\x00", AuthenticatorError, "the authenticator answered with status 6d00"),
        (b"\x67\x00", AuthenticatorError, "the authenticator answered with status 6700"),
    ],
)
def test_what_a_status_word_means_is_told(
    person: Person, answered: bytes, kind: type[Exception], sentence: str
) -> None:
    channel = scripted(answered)
    with pytest.raises(kind, match=sentence):
        person.sign(channel)
    with pytest.raises(kind, match=sentence):
        person.enroll(channel)
    assert len(channel.asked) == channel.times_closed == 2


def test_a_key_handle_that_u2f_has_no_room_for_is_not_asked_for(person: Person) -> None:
    channel = scripted(SIGNED + DONE)
    assert person.sign(channel, key_handle=bytes(255)).flags == 1
    channel.asked.clear()
    with pytest.raises(CredentialNotFound, match="does not hold this key"):
        person.sign(channel, key_handle=bytes(256))
    assert channel.asked == []


def test_a_touch_is_asked_for_until_it_comes(person: Person) -> None:
    channel = scripted(NOT_TOUCHED, NOT_TOUCHED, SIGNED + DONE)
    assert person.sign(channel).counter == 7
    assert len(channel.asked) == 3


def test_what_ends_the_operation_ends_the_polling(person: Person) -> None:
    channel = scripted(NOT_TOUCHED)
    person.operation.call_off()
    with pytest.raises(Interrupted):
        person.sign(channel)
    assert len(channel.asked) == channel.times_closed == 1


def token(channel: Channel) -> Token:
    return Token(channel, "unix:/token")


def holds_key(channel: Channel, key_handle: bytes = HANDLE) -> bool:
    return u2f.holds_key(token(channel), APPLICATION, key_handle, Operation(30))


def test_whether_there_is_a_key_is_asked_without_a_touch(device: Device) -> None:
    key_handle = Ctap1(device).register(DIGEST, APP_PARAM).key_handle
    device.person.answer = DENIED
    device.person.requests.clear()
    assert holds_key(device, key_handle) is True
    assert holds_key(device, key_handle[:-1] + bytes([key_handle[-1] ^ 1])) is False
    assert device.person.requests == []


@pytest.mark.parametrize(
    ("answered", "expected"), [(NOT_TOUCHED, True), (WRONG_DATA, False), (UNKNOWN, False), (SIGNED + DONE, False)]
)
def test_only_a_key_that_wants_a_touch_is_there(answered: bytes, expected: bool) -> None:
    channel = scripted(answered)
    assert holds_key(channel) is expected
    (asked,) = channel.asked
    assert apdu.Apdu(asked).p1 == apdu.P1_CHECK_ONLY
    assert apdu.Apdu(asked).data[:32] == bytes(32)


def test_a_key_handle_that_u2f_has_no_room_for_is_in_no_token() -> None:
    channel = scripted(NOT_TOUCHED)
    assert holds_key(channel, bytes(255)) is True
    assert holds_key(channel, bytes(256)) is False
    assert len(channel.asked) == 1


def test_a_touch_is_one_that_was_waited_for() -> None:
    registered = b"\x05" + bytes(65) + b"\0\x30\0" + DONE
    channel = scripted(NOT_TOUCHED, registered)
    assert u2f.wait_for_touch(token(channel), Operation(30)) is True
    assert len(channel.asked) == 2
    for asked in channel.asked:
        assert apdu.Apdu(asked).data == bytes(32) + hashlib.sha256(b"ssh:").digest()
    assert u2f.wait_for_touch(token(scripted(registered)), Operation(30)) is False


def test_waiting_for_a_touch_ends_with_a_refusal_or_the_event() -> None:
    with pytest.raises(AuthenticatorError, match="6d00"):
        u2f.wait_for_touch(token(scripted(b"\x6d\x00")), Operation(30))
    operation = Operation(30)
    operation.call_off()
    with pytest.raises(Interrupted):
        u2f.wait_for_touch(token(scripted(NOT_TOUCHED)), operation)
