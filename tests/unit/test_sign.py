"""The policy of signing, on the software authenticator and on tokens that answer what they are told to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st
from support.answering import Liar, Scripted, answer
from support.soft_token import EDDSA, ES256, PIN, Device, Person, credential_id

from sk_provider import sign
from sk_provider.api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    SignRequest,
    SignResponse,
)
from sk_provider.authenticator.presence import DENIED
from sk_provider.authenticator.store import Store
from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.credentials.public_key import public_key_bytes
from sk_provider.credentials.signature import verifies
from sk_provider.ctap import commands, status
from sk_provider.errors import (
    AuthenticatorError,
    CredentialNotFound,
    InvalidRequest,
    PinAlwaysRequired,
    PinBlocked,
    PinInvalid,
    PinNotSet,
    PinRequired,
    PresenceDenied,
    SecurityKeyError,
    Unsupported,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.transport_api import Channel

APPLICATION = "ssh:"
DIGEST = bytes(range(32))
VERIFIED = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
COSE = {ALGORITHM_ECDSA: ES256, ALGORITHM_ED25519: EDDSA}
GET_ASSERTION, GET_INFO, CLIENT_PIN = commands.GET_ASSERTION, commands.GET_INFO, commands.CLIENT_PIN


class Table:
    """Puts the channel to a token before sk_sign(), and notes which was opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[SignRequest] = []
        self.public_key: tuple[int, bytes] | None = None
        self._monkeypatch = monkeypatch

    def sign(
        self,
        channel: Channel,
        key_handle: bytes = b"key handle",
        *,
        algorithm: int = ALGORITHM_ECDSA,
        flags: int = FLAG_USER_PRESENCE,
        pin: str | None = None,
    ) -> SignResponse:
        def open_token(request: SignRequest, *_: object) -> Token:
            self.opened.append(request)
            token = Token(channel, "unix:/token")
            token.public_key = self.public_key
            return token

        self._monkeypatch.setattr(selection, "open_for_signature", open_token)
        request = SignRequest(algorithm, DIGEST, APPLICATION, key_handle, flags, pin, None)
        return sign.sign(request, Configuration(), Operation(30, tell=lambda _: None))

    def refusal(self, channel: Channel, **arguments: Any) -> SecurityKeyError:
        with pytest.raises(SecurityKeyError) as caught:
            self.sign(channel, **arguments)
        return caught.value


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(monkeypatch)


def make_device(folder: Path, profile: str = "fido2.1") -> Device:
    return Device(Store.create(str(folder / "store")), Person(), profile)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path)


def signature_of(response: SignResponse, algorithm: int) -> bytes:
    if algorithm == ALGORITHM_ED25519:
        assert response.sig_s == b""
        return response.sig_r
    assert len(response.sig_r) == len(response.sig_s) == 32
    return encode_dss_signature(int.from_bytes(response.sig_r, "big"), int.from_bytes(response.sig_s, "big"))


@pytest.mark.parametrize("algorithm", [ALGORITHM_ECDSA, ALGORITHM_ED25519])
@pytest.mark.parametrize("flags", [FLAG_USER_PRESENCE, 0])
def test_a_signature_is_the_keys_with_its_flags_and_counter(
    table: Table, device: Device, algorithm: int, flags: int
) -> None:
    made = device.make(algorithm=COSE[algorithm])
    assert made.auth_data.credential_data is not None
    channel = Scripted({}, device)
    device.person.requests.clear()
    response = table.sign(channel, credential_id(made), algorithm=algorithm, flags=flags)
    assert response.flags == flags
    assert response.counter == device.store.read().counter
    signed = (
        hashlib.sha256(APPLICATION.encode()).digest() + bytes([flags]) + response.counter.to_bytes(4, "big") + DIGEST
    )
    public_key = public_key_bytes(made.auth_data.credential_data.public_key, COSE[algorithm])
    assert verifies(algorithm, public_key, signed, signature_of(response, algorithm))
    assert device.person.actions == (["sign"] if flags else [])
    assert [data[0] for data in channel.asked] == [GET_ASSERTION]
    assert channel.times_closed == 1


def test_an_algorithm_that_there_is_not_is_refused_before_anything_is_opened(table: Table) -> None:
    error = table.refusal(Scripted({}), algorithm=2)
    assert type(error) is Unsupported
    assert "algorithm 2" in str(error)
    assert table.opened == []


def test_a_key_without_a_handle_is_refused_before_anything_is_opened(table: Table) -> None:
    assert type(table.refusal(Scripted({}), key_handle=b"")) is InvalidRequest
    assert table.opened == []


@pytest.mark.parametrize("refusing", [bytes([status.NO_CREDENTIALS]), b"", b"\0\1"])
def test_the_token_is_closed_whatever_it_answers(table: Table, refusing: bytes) -> None:
    channel = Scripted({GET_ASSERTION: refusing})
    table.refusal(channel)
    assert channel.times_closed == 1


def test_a_pin_verifies_the_person(table: Table, device: Device) -> None:
    device.set_pin()
    channel = Scripted({}, device)
    made = credential_id(device.make(verified=True))
    assert table.sign(channel, made, flags=VERIFIED, pin=PIN).flags == 5
    assert 5 not in channel.parameters(GET_ASSERTION)[0]
    assert type(table.refusal(channel, key_handle=made, flags=VERIFIED, pin="9999")) is PinInvalid
    assert channel.times_closed == 2


def lie_of_no_verification(request: bytes, told: dict[int, Any]) -> None:
    if request[0] == GET_ASSERTION:
        told[2] = told[2][:32] + bytes([told[2][32] & ~4]) + told[2][33:]


def test_a_pin_must_have_verified_the_person(table: Table, device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make(verified=True))
    error = table.refusal(Liar(device, lie_of_no_verification), key_handle=made, flags=VERIFIED, pin=PIN)
    assert "does not confirm user verification" in str(error)


def test_a_token_that_can_verifies_the_person_itself(table: Table, tmp_path: Path) -> None:
    device = make_device(tmp_path, "uv")
    made = credential_id(device.make(options={"uv": True}))
    channel = Scripted({}, device)
    assert table.sign(channel, made, flags=VERIFIED).flags == 5
    assert channel.parameters(GET_ASSERTION)[0][5] == {"uv": True}
    # Nor does it where nobody wants that.
    channel.asked.clear()
    assert table.sign(channel, made).flags == 1
    assert [data[0] for data in channel.asked] == [GET_ASSERTION]
    error = table.refusal(Liar(device, lie_of_no_verification), key_handle=made, flags=VERIFIED)
    assert "does not confirm user verification" in str(error)


def info(options: dict[str, bool], *extensions: str, **more: object) -> bytes:
    return answer({1: ["FIDO_2_1"], 2: list(extensions), 3: bytes(16), 4: options})


TRIES = answer({3: 8})


@pytest.mark.parametrize(
    ("options", "kind", "happened"),
    [
        ({"clientPin": True}, PinRequired, "this key requires a PIN for every use"),
        ({"clientPin": True, "uv": False}, PinRequired, "this key requires a PIN for every use"),
        ({"clientPin": False}, PinNotSet, "this key requires a PIN for every use, and the authenticator has none"),
        ({}, Unsupported, "this key requires user verification, which the authenticator does not have"),
        ({"uv": False}, Unsupported, "this key requires user verification, which the authenticator does not have"),
    ],
)
def test_a_key_that_wants_verification_is_not_tried_without_any(
    table: Table, options: dict[str, bool], kind: type[SecurityKeyError], happened: str
) -> None:
    channel = Scripted({GET_INFO: info(options), CLIENT_PIN: TRIES})
    error = table.refusal(channel, flags=VERIFIED)
    assert (type(error), error.happened) == (kind, happened)
    assert channel.parameters(GET_ASSERTION) == []


def test_a_blocked_pin_is_not_asked_for(table: Table) -> None:
    channel = Scripted({GET_INFO: info({"clientPin": True}), CLIENT_PIN: answer({3: 0})})
    assert type(table.refusal(channel, flags=VERIFIED)) is PinBlocked


@pytest.mark.parametrize("code", [status.UNSUPPORTED_OPTION, status.INVALID_OPTION, status.UP_REQUIRED])
def test_a_signature_without_a_touch_that_is_refused_is_told_as_that(table: Table, code: int) -> None:
    channel = Scripted({GET_ASSERTION: bytes([code])})
    error = table.refusal(channel, flags=0)
    assert type(error) is PresenceDenied
    assert error.remedy == "enroll a new key without -O no-touch-required"
    assert "no-touch-required" not in str(table.refusal(channel))


def test_another_refusal_of_a_signature_without_a_touch_is_told_in_its_own_words(table: Table) -> None:
    error = table.refusal(Scripted({GET_ASSERTION: bytes([status.REQUEST_TOO_LARGE])}), flags=0)
    assert "too large" in str(error)


def test_a_touch_that_is_refused_is_told(table: Table, device: Device) -> None:
    made = credential_id(device.make())
    device.person.answer = DENIED
    error = table.refusal(device, key_handle=made)
    assert type(error) is PresenceDenied
    assert "was not confirmed" in str(error)


def test_a_token_that_wants_its_pin_for_every_use_is_told_as_that(table: Table) -> None:
    channel = Scripted(
        {GET_ASSERTION: bytes([status.PUAT_REQUIRED]), GET_INFO: info({"clientPin": True}), CLIENT_PIN: TRIES}
    )
    error = table.refusal(channel)
    assert type(error) is PinAlwaysRequired
    assert error.happened == "the authenticator requires its PIN for every use (alwaysUv)"
    channel.answers[GET_INFO] = [info({"clientPin": False})]
    error = table.refusal(channel)
    assert type(error) is PinNotSet
    assert error.happened == "the authenticator requires user verification for every use (alwaysUv), and has no PIN"


def test_a_token_that_verifies_nobody_itself_any_more_is_told_as_that(table: Table) -> None:
    channel = Scripted(
        {
            GET_ASSERTION: bytes([status.PUAT_REQUIRED]),
            GET_INFO: info({"clientPin": True, "uv": True}),
            CLIENT_PIN: TRIES,
        }
    )
    error = table.refusal(channel, flags=VERIFIED)
    assert type(error) is PinRequired
    assert error.happened == "the authenticator's built-in user verification is not available now"
    assert channel.parameters(GET_ASSERTION)[0][5] == {"uv": True}


def test_what_a_token_says_to_a_pin_is_no_question_for_one(table: Table, device: Device) -> None:
    device.set_pin()
    channel = Scripted({GET_ASSERTION: bytes([status.UV_BLOCKED])}, device)
    error = table.refusal(channel, flags=VERIFIED, pin=PIN)
    assert type(error) is PinBlocked
    assert "built-in user verification is blocked" in error.happened
    channel.answers[GET_ASSERTION] = [bytes([status.NO_CREDENTIALS])]
    error = table.refusal(channel, pin=PIN)
    assert error.happened == "the authenticator does not hold this key"


HIDDEN = "the authenticator does not hold this key, or hides it until it is given the PIN (verify-required)"


@pytest.mark.parametrize(
    ("told", "flags", "happened"),
    [
        (info({}, "credProtect"), FLAG_USER_PRESENCE, HIDDEN),
        (info({}, "hmac-secret"), FLAG_USER_PRESENCE, "the authenticator does not hold this key"),
        (bytes([status.INVALID_COMMAND]), FLAG_USER_PRESENCE, "the authenticator does not hold this key"),
        (info({"uv": True}, "credProtect"), VERIFIED, "the authenticator does not hold this key"),
    ],
)
def test_a_key_that_is_not_there_may_be_hidden_where_keys_can_be(
    table: Table, told: bytes, flags: int, happened: str
) -> None:
    channel = Scripted({GET_ASSERTION: bytes([status.NO_CREDENTIALS]), GET_INFO: told})
    error = table.refusal(channel, flags=flags)
    assert type(error) is CredentialNotFound
    assert error.happened == happened


def test_another_refusal_is_not_told_as_a_hidden_key(table: Table) -> None:
    channel = Scripted({GET_ASSERTION: bytes([status.NOT_ALLOWED]), GET_INFO: info({}, "credProtect")})
    assert "hides" not in str(table.refusal(channel))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_by_ed25519_has_64_bytes(table: Table, device: Device, length: int) -> None:
    made = credential_id(device.make(algorithm=EDDSA))

    def lie(request: bytes, told: dict[int, Any]) -> None:
        if request[0] == GET_ASSERTION:
            told[3] = bytes(length)

    error = table.refusal(Liar(device, lie), key_handle=made, algorithm=ALGORITHM_ED25519)
    assert str(error) == "the authenticator's signature is not an Ed25519 signature; check the type in the key file"


def test_a_key_of_another_type_than_the_key_file_says_is_told(table: Table, device: Device) -> None:
    ecdsa, ed25519 = (credential_id(device.make(algorithm=algorithm)) for algorithm in (ES256, EDDSA))
    for key_handle, algorithm in ((ecdsa, ALGORITHM_ED25519), (ed25519, ALGORITHM_ECDSA)):
        error = table.refusal(device, key_handle=key_handle, algorithm=algorithm)
        assert error.remedy == "check the type in the key file"


def test_a_known_public_key_is_what_the_signature_is_checked_by(table: Table, device: Device) -> None:
    made = device.make()
    assert made.auth_data.credential_data is not None
    point = public_key_bytes(made.auth_data.credential_data.public_key, ES256)
    table.public_key = ALGORITHM_ECDSA, point
    assert table.sign(device, credential_id(made)).flags == 1
    other = device.make(user_id=b"other")
    error = table.refusal(device, key_handle=credential_id(other))
    assert type(error) is AuthenticatorError
    assert "does not match the public key" in error.happened


INTEGERS = st.integers(0, 2**256 - 1)


@given(INTEGERS, INTEGERS)
@example(0x80, 0x7F)
@example(2**256 - 1, 2**255)
@example(0, 0)
def test_r_and_s_of_a_signature_by_ecdsa_have_32_bytes_each(r: int, s: int) -> None:
    assert sign._split_signature(ALGORITHM_ECDSA, encode_dss_signature(r, s)) == (
        r.to_bytes(32, "big"),
        s.to_bytes(32, "big"),
    )


def test_zeros_in_front_are_none_of_a_number() -> None:
    padded = bytes.fromhex("300a 0204 00000001 0202 0080")
    assert sign._split_signature(ALGORITHM_ECDSA, padded) == (bytes(31) + b"\x01", bytes(31) + b"\x80")


@pytest.mark.parametrize(
    "untrusted_der",
    [
        "",
        "30",
        "3000",
        "3006020101020101ff",  # more after it
        "3007020101020101ff",  # more in it
        "3106020101020101",
        "2f06020101020101",
        "3005020101020101",
        "3006030101020101",
        "3006010101020101",
        "3006020101030101",
        "3004 0200 0200",  # nothing in them
        "3005 0200 020101",
        "3006 020181 020101",  # negative
        "3006 020101 020180",
        "3005 020101 0201",  # cut short
        "3006 020101 020201",
        "3026 0221 01" + 32 * "00" + "020101",  # too large
        "3026 020101 0221 01" + 32 * "00",
    ],
)
def test_what_is_no_signature_by_ecdsa_is_told_as_that(untrusted_der: str) -> None:
    with pytest.raises(AuthenticatorError, match="not an ECDSA signature; check the type in the key file"):
        sign._split_signature(ALGORITHM_ECDSA, bytes.fromhex(untrusted_der))


@given(
    st.builds(encode_dss_signature, INTEGERS, INTEGERS),
    st.lists(st.tuples(st.integers(0, 71), st.integers(0, 255)), max_size=2),
    st.integers(0, 72),
)
def test_what_is_read_as_a_signature_by_ecdsa_is_one(sound: bytes, changes: list[tuple[int, int]], length: int) -> None:
    changed = bytearray(sound)
    for index, value in changes:
        if index < len(changed):
            changed[index] = value
    untrusted_der = bytes(changed[:length])
    try:
        r, s = sign._split_signature(ALGORITHM_ECDSA, untrusted_der)
    except AuthenticatorError:
        assert not is_read_elsewhere(untrusted_der)
        return
    numbers, content = (r, s), b""
    for number in numbers:
        length = untrusted_der[len(content) + 3]
        content += bytes([2, length]) + int.from_bytes(number, "big").to_bytes(length, "big")
    assert untrusted_der == bytes([0x30, len(content)]) + content


def is_read_elsewhere(der: bytes) -> bool:
    try:
        return max(decode_dss_signature(der)) < 1 << 256
    except ValueError:
        return False
