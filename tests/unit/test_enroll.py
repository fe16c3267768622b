"""What an authenticator may say of a new key, and what it may not: one that lies has no need of a signature."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from support.answering import Liar, Scripted, answer
from support.soft_token import Device, Person

from sk_provider import enroll
from sk_provider.api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    FLAG_FORCE_OPERATION,
    FLAG_RESIDENT_KEY,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    EnrollRequest,
    EnrollResponse,
)
from sk_provider.authenticator.store import Store
from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.credentials import known_keys
from sk_provider.ctap import AUTHDATA_AT, AUTHDATA_ED, AUTHDATA_UP, AUTHDATA_UV, cbor, commands, status
from sk_provider.errors import (
    AuthenticatorError,
    CredentialExists,
    InvalidRequest,
    PinBlocked,
    PinInvalid,
    PinNotSet,
    PinRequired,
    SecurityKeyError,
    TimedOut,
    Unsupported,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sk_provider.transport_api import Channel

    Lie = Callable[[dict[int, object]], None]

PIN = "1234"
APPLICATION = "ssh:"
RP_ID_HASH = hashlib.sha256(APPLICATION.encode()).digest()
RESIDENT = FLAG_USER_PRESENCE | FLAG_RESIDENT_KEY
VERIFIED = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION


def without_attestation(lie: Lie) -> Callable[[bytes, dict[int, object]], None]:
    """Have a lie told of each new credential, and nothing signed."""

    def change(request: bytes, answer: dict[int, object]) -> None:
        if request[0] == commands.MAKE_CREDENTIAL:
            answer[1], answer[3] = "none", {}
            lie(answer)

    return change


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(Store.create(str(tmp_path / "store")), Person())


def make(
    device: Device, lie: Lie, monkeypatch: pytest.MonkeyPatch, flags: int = FLAG_USER_PRESENCE, **changes: object
) -> EnrollResponse:
    monkeypatch.setattr(
        selection, "open_for_enrollment", lambda *_: Token(Liar(device, without_attestation(lie)), "unix:/liar")
    )
    algorithm = ALGORITHM_ECDSA if "algorithm" not in changes else ALGORITHM_ED25519
    pin = PIN if flags != FLAG_USER_PRESENCE else None
    if pin:
        device.set_pin(PIN)
    request = EnrollRequest(algorithm, b"challenge", APPLICATION, flags, pin, None, None)
    return enroll.enroll(request, Configuration(), Operation(30))


def changed(change: Callable[[bytes], bytes]) -> Lie:
    """A lie about the authenticatorData."""

    def lie(answer: dict[int, object]) -> None:
        data = answer[2]
        assert isinstance(data, bytes)
        answer[2] = change(data)

    return lie


def without_flag(flag: int) -> Lie:
    return changed(lambda data: data[:32] + bytes([data[32] & ~flag]) + data[33:])


def without_extensions(data: bytes) -> bytes:
    length = struct.unpack_from(">H", data, 53)[0]
    _, used = cbor.decode_prefix(data[55 + length :])
    return data[:32] + bytes([data[32] & ~AUTHDATA_ED]) + data[33 : 55 + length + used]


def with_extensions(outputs: Any) -> Lie:
    def change(data: bytes) -> bytes:
        plain = without_extensions(data)
        return plain[:32] + bytes([plain[32] | AUTHDATA_ED]) + plain[33:] + cbor.encode(outputs)

    return changed(change)


def with_cred_protect(level: object) -> Lie:
    return with_extensions({"credProtect": level})


def without_key_handle(data: bytes) -> bytes:
    length = struct.unpack_from(">H", data, 53)[0]
    return data[:53] + b"\0\0" + data[55 + length :]


def without_key(data: bytes) -> bytes:
    return data[:32] + bytes([data[32] & ~AUTHDATA_AT]) + data[33:37]


def nothing(_answer: dict[int, object]) -> None:
    pass


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (without_flag(AUTHDATA_UP), "does not confirm a touch"),
        (changed(without_key_handle), "has no key handle"),
        (changed(without_key), "answer has no key"),
        (changed(lambda data: bytes(32) + data[32:]), "is for another application"),
    ],
)
def test_a_key_that_was_not_asked_for_is_refused(
    device: Device, lie: Lie, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AuthenticatorError, match=sentence):
        make(device, lie, monkeypatch)


def test_a_key_of_another_type_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticatorError, match="a key of another type"):
        make(device, changed(lambda data: data.replace(b"\x03\x27", b"\x03\x26")), monkeypatch, algorithm="ed25519")


@pytest.mark.parametrize("flags", [RESIDENT, VERIFIED])
def test_verification_that_was_asked_for_is_looked_for(
    device: Device, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AuthenticatorError, match="does not confirm user verification"):
        make(device, without_flag(AUTHDATA_UV), monkeypatch, flags)


@pytest.mark.parametrize("flags", [RESIDENT, VERIFIED])
@pytest.mark.parametrize(
    "lie", [changed(without_extensions), with_cred_protect(1), with_cred_protect("3"), with_extensions([1])]
)
def test_protection_that_was_asked_for_is_looked_for(
    device: Device, lie: Lie, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AuthenticatorError, match="did not protect the new key as requested"):
        make(device, lie, monkeypatch, flags)


def test_a_refused_resident_key_is_named_with_what_deletes_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticatorError) as caught:
        make(device, with_cred_protect(1), monkeypatch, RESIDENT)
    (key_handle,) = device.store.read().credentials
    assert caught.value.happened.endswith("; the resident key that it made for ssh: is still on it")
    key = hashlib.sha256(key_handle).hexdigest()[:16]
    assert caught.value.remedy == f"delete it with: pysk keys delete unix:/liar {key}"


def test_nothing_unverified_is_handed_to_the_host(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(answer: dict[int, object]) -> None:
        answer[3] = {"alg": -7, "sig": b"signature", "x5c": [b"certificate"]}

    response = make(device, lie, monkeypatch)
    assert (response.signature, response.attestation_certificate) == (b"", b"")


def test_an_honest_key_is_taken(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    response = make(device, nothing, monkeypatch, RESIDENT | FLAG_FORCE_OPERATION)
    assert response.flags == RESIDENT
    assert response.key_handle in device.store.read().credentials
    assert len(response.public_key) == 65


class Table:
    """Puts the channel to a token before sk_enroll(), and notes what it is asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.configuration = Configuration()
        self.configuration.known_keys = str(folder / "known_keys")
        self.opened = 0
        self._monkeypatch = monkeypatch

    def enroll(
        self,
        channel: Channel,
        flags: int = FLAG_USER_PRESENCE,
        *,
        algorithm: int = ALGORITHM_ECDSA,
        pin: str | None = None,
        user: str | None = None,
    ) -> EnrollResponse:
        def open_token(*_: object) -> Token:
            self.opened += 1
            return Token(channel, "unix:/token")

        self._monkeypatch.setattr(selection, "open_for_enrollment", open_token)
        request = EnrollRequest(algorithm, b"challenge", APPLICATION, flags, pin, None, user)
        return enroll.enroll(request, self.configuration, Operation(30, tell=lambda _: None))

    def refusal(self, channel: Channel, flags: int = FLAG_USER_PRESENCE, **arguments: Any) -> SecurityKeyError:
        with pytest.raises(SecurityKeyError) as caught:
            self.enroll(channel, flags, **arguments)
        return caught.value


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(tmp_path, monkeypatch)


def make_device(folder: Path, profile: str) -> Device:
    return Device(Store.create(str(folder / profile)), Person(), profile)


def about_the_key(lie: Lie) -> Callable[[bytes, dict[int, object]], None]:
    def change(request: bytes, answer: dict[int, object]) -> None:
        if request[0] == commands.MAKE_CREDENTIAL:
            lie(answer)

    return change


def test_a_plain_key_is_asked_for_with_nothing_that_it_does_not_need(table: Table, device: Device) -> None:
    channel = Scripted({}, device)
    response = table.enroll(channel, user="alice")
    assert [data[0] for data in channel.asked] == [commands.GET_INFO, commands.MAKE_CREDENTIAL]
    assert channel.parameters(commands.MAKE_CREDENTIAL) == [
        {
            1: hashlib.sha256(b"challenge").digest(),
            2: {"id": APPLICATION},
            3: {"id": b"alice" + bytes(27), "name": "openssh", "displayName": "openssh"},
            4: [{"type": "public-key", "alg": -7}],
        }
    ]
    assert channel.times_closed == 1
    assert known_keys.recall(str(table.configuration.known_keys), APPLICATION, response.key_handle) == (
        ALGORITHM_ECDSA,
        response.public_key,
    )


@pytest.mark.parametrize(("algorithm", "length"), [(ALGORITHM_ECDSA, 65), (ALGORITHM_ED25519, 32)])
def test_what_the_token_has_signed_is_handed_to_the_host_as_it_came(
    table: Table, device: Device, algorithm: int, length: int
) -> None:
    made: dict[int, object] = {}
    response = table.enroll(Liar(device, about_the_key(made.update)), algorithm=algorithm)
    statement: Any = made[3]
    assert made[1] == "packed"
    assert (response.signature, [response.attestation_certificate]) == (statement["sig"], statement["x5c"])
    assert cbor.decode(response.authenticator_data) == made[2]
    assert len(response.public_key) == length
    assert response.flags == FLAG_USER_PRESENCE


def test_a_key_that_its_own_signature_attests_has_no_certificate(table: Table) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_numbers()
    x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
    cose_key = cbor.encode({1: 2, 3: -7, -1: 1, -2: x, -3: y})
    data = RP_ID_HASH + b"\x41" + bytes(4) + bytes(16) + b"\0\x03key" + cose_key
    signature = key.sign(data + hashlib.sha256(b"challenge").digest(), ec.ECDSA(hashes.SHA256()))
    made = answer({1: "packed", 2: data, 3: {"alg": -7, "sig": signature}})
    response = table.enroll(Scripted({commands.GET_INFO: info({}), commands.MAKE_CREDENTIAL: made}))
    assert (response.signature, response.attestation_certificate) == (signature, b"")
    assert (response.key_handle, response.public_key) == (b"key", b"\x04" + x + y)


def with_signature(change: Callable[[bytes], bytes]) -> Lie:
    def lie(answer: dict[int, object]) -> None:
        statement: Any = answer[3]
        statement["sig"] = change(statement["sig"])

    return lie


@pytest.mark.parametrize(
    "lie",
    [
        with_signature(lambda signature: signature[:-1] + bytes([signature[-1] ^ 1])),
        with_signature(lambda _: b""),
        changed(lambda data: data[:36] + bytes([data[36] ^ 1]) + data[37:]),
    ],
)
def test_a_key_whose_attestation_does_not_verify_is_refused(table: Table, device: Device, lie: Lie) -> None:
    error = table.refusal(Liar(device, about_the_key(lie)))
    assert error.happened == "the authenticator's attestation of the new key does not verify"


def test_a_refused_key_that_is_not_resident_is_not_said_to_stay(table: Table, device: Device) -> None:
    error = table.refusal(Liar(device, about_the_key(with_signature(lambda _: b""))))
    assert "stays" not in error.happened
    assert "keys delete" not in error.remedy


def test_an_answer_without_a_key_is_told_for_a_resident_one_too(table: Table, device: Device) -> None:
    device.set_pin(PIN)
    without_anything = changed(lambda data: data[:32] + bytes([AUTHDATA_UP | AUTHDATA_UV]) + data[33:37])
    error = table.refusal(Liar(device, about_the_key(without_anything)), RESIDENT, pin=PIN)
    assert error.happened == "the authenticator's answer has no key"


def test_a_key_that_only_the_flags_deny_is_none(table: Table, device: Device) -> None:
    # python-fido2 reads no key where the flag is missing, so what follows are extensions to it.
    error = table.refusal(Liar(device, about_the_key(changed(lambda data: data[:32] + b"\x01" + data[33:]))))
    assert type(error) is AuthenticatorError


def test_an_algorithm_that_there_is_not_is_refused_before_anything_is_opened(table: Table) -> None:
    assert "algorithm 2" in str(table.refusal(Scripted({}), algorithm=2))
    assert table.opened == 0


@pytest.mark.parametrize("user", [None, "", "a", 31 * "a", "\u00e9" * 15, "\udc80"])
def test_a_user_has_32_bytes_of_which_the_last_is_zero(table: Table, device: Device, user: str | None) -> None:
    channel = Scripted({}, device)
    table.enroll(channel, user=user)
    sent: Any = channel.parameters(commands.MAKE_CREDENTIAL)[0][3]
    assert sent["id"] == (user or "").encode("utf-8", "surrogateescape").ljust(32, b"\0")


@pytest.mark.parametrize("user", [32 * "a", 16 * "\u00e9"])
def test_a_longer_user_is_refused_before_anything_is_opened(table: Table, user: str) -> None:
    error = table.refusal(Scripted({}), user=user)
    assert (type(error), error.happened) == (InvalidRequest, "the user name is longer than 31 bytes")
    assert table.opened == 0


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        (RESIDENT, commands.CRED_PROTECT_OPTIONAL_WITH_LIST),
        (VERIFIED, commands.CRED_PROTECT_REQUIRED),
        (RESIDENT | FLAG_USER_VERIFICATION, commands.CRED_PROTECT_REQUIRED),
    ],
)
def test_a_key_is_protected_as_its_flags_say(table: Table, device: Device, flags: int, level: int) -> None:
    device.set_pin(PIN)
    channel = Scripted({}, device)
    response = table.enroll(channel, flags, pin=PIN)
    (sent,) = channel.parameters(commands.MAKE_CREDENTIAL)
    assert sent[6] == {"credProtect": level}
    assert sent.get(7) == ({"rk": True} if flags & FLAG_RESIDENT_KEY else None)
    assert sent[9] == 2
    assert response.flags == flags
    resident = device.store.read().credentials
    assert (response.key_handle in resident) is bool(flags & FLAG_RESIDENT_KEY)


def info(options: dict[str, bool], **members: object) -> bytes:
    """An answer to getInfo; members: those with other names than their numbers' are named m2 and so on."""
    told: dict[int, object] = {1: ["FIDO_2_1"], 2: ["credProtect"], 3: bytes(16), 4: options, 6: [2, 1]}
    return answer(told | {int(name[1:]): value for name, value in members.items()})


UNTOUCHED = bytes([status.USER_ACTION_TIMEOUT])


def asked_to_make(table: Table, flags: int, told: bytes) -> dict[int, object]:
    """Return what is asked of a token that says this of itself, for a new key."""
    channel = Scripted({commands.GET_INFO: told, commands.MAKE_CREDENTIAL: UNTOUCHED})
    assert "nobody touched" in str(table.refusal(channel, flags))
    (sent,) = channel.parameters(commands.MAKE_CREDENTIAL)
    return sent


def refused_by(table: Table, flags: int, told: bytes) -> SecurityKeyError:
    """Return why nothing is asked of a token that says this of itself."""
    channel = Scripted({commands.GET_INFO: told, commands.CLIENT_PIN: answer({3: 8})})
    error = table.refusal(channel, flags)
    assert channel.parameters(commands.MAKE_CREDENTIAL) == []
    assert channel.parameters(commands.GET_ASSERTION) == []
    return error


PLAIN, FORCED = FLAG_USER_PRESENCE, RESIDENT | FLAG_FORCE_OPERATION
SET = "set one with: pysk pin set unix:/token"


@pytest.mark.parametrize(
    ("flags", "options", "expected"),
    [
        (PLAIN, {}, None),
        (PLAIN, {"clientPin": False}, None),
        (PLAIN, {"clientPin": True, "makeCredUvNotRqd": True}, None),
        (PLAIN, {"uv": True, "makeCredUvNotRqd": True}, None),
        (PLAIN, {"uv": True}, {"uv": True}),
        (PLAIN, {"uv": True, "clientPin": True}, {"uv": True}),
        (PLAIN, {"uv": True, "makeCredUvNotRqd": True, "alwaysUv": True}, {"uv": True}),
        (VERIFIED, {"uv": True, "makeCredUvNotRqd": True}, None),
        (VERIFIED, {"clientPin": True, "makeCredUvNotRqd": True}, None),
        (FORCED, {"rk": True, "clientPin": False}, {"rk": True}),
        (FORCED, {"rk": True, "uv": True, "makeCredUvNotRqd": True}, {"rk": True, "uv": True}),
        (FORCED, {"rk": True, "uv": True, "pinUvAuthToken": True}, {"rk": True, "uv": True}),
    ],
)
def test_the_person_is_verified_by_the_token_where_that_will_be_wanted(
    table: Table, flags: int, options: dict[str, bool], expected: dict[str, bool] | None
) -> None:
    sent = asked_to_make(table, flags, info(options))
    assert sent.get(7) == expected
    assert 8 not in sent


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (PLAIN, {"clientPin": True}),
        (PLAIN, {"clientPin": True, "uv": False}),
        (PLAIN, {"clientPin": True, "makeCredUvNotRqd": False}),
        (PLAIN, {"clientPin": True, "makeCredUvNotRqd": True, "alwaysUv": True}),
        (RESIDENT, {"rk": True, "clientPin": True, "makeCredUvNotRqd": True}),
    ],
)
def test_the_pin_is_asked_for_where_it_will_be_wanted(table: Table, flags: int, options: dict[str, bool]) -> None:
    error = refused_by(table, flags, info(options))
    assert (type(error), error.happened) == (PinRequired, "the authenticator requires its PIN for this enrollment")
    error = refused_by(table, flags, info(options, m12=True))
    assert (type(error), error.remedy) == (PinBlocked, "change it with: pysk pin change unix:/token")


@pytest.mark.parametrize(
    ("flags", "options", "kind", "sentence"),
    [
        (
            PLAIN,
            {"alwaysUv": True},
            PinNotSet,
            f"the authenticator requires user verification to make a key, and has no PIN; {SET}",
        ),
        (
            PLAIN,
            {"alwaysUv": True, "clientPin": False},
            PinNotSet,
            f"the authenticator requires user verification to make a key, and has no PIN; {SET}",
        ),
        (
            VERIFIED,
            {"clientPin": False},
            PinNotSet,
            f"a key with verify-required needs an authenticator with a PIN, and this one has none; {SET}",
        ),
        (
            VERIFIED,
            {},
            Unsupported,
            "the authenticator has neither a PIN nor other user verification; leave out -O verify-required",
        ),
        (
            VERIFIED,
            {"uv": False},
            Unsupported,
            "the authenticator has neither a PIN nor other user verification; leave out -O verify-required",
        ),
        (RESIDENT, {}, Unsupported, "the authenticator does not support resident keys; leave out -O resident"),
        (
            RESIDENT,
            {"rk": False},
            Unsupported,
            "the authenticator does not support resident keys; leave out -O resident",
        ),
    ],
)
def test_what_the_token_cannot_do_is_told_before_a_touch(
    table: Table, flags: int, options: dict[str, bool], kind: type[SecurityKeyError], sentence: str
) -> None:
    error = refused_by(table, flags, info(options))
    assert (type(error), str(error)) == (kind, sentence)


@pytest.mark.parametrize("members", [{"m2": []}, {"m2": ["hmac-secret"]}])
def test_a_token_that_protects_no_keys_makes_only_those_that_need_no_protection(
    table: Table, members: dict[str, object]
) -> None:
    told = info({"rk": True, "uv": True, "makeCredUvNotRqd": True}, **members)
    for flags in (RESIDENT, VERIFIED):
        error = refused_by(table, flags, told)
        assert (type(error), error.remedy) == (Unsupported, "leave out -O resident and -O verify-required")
    assert 6 not in asked_to_make(table, PLAIN, told)


@pytest.mark.parametrize(
    ("algorithms", "is_made"),
    [
        ([{"type": "public-key", "alg": -7}], True),
        ([{"type": "public-key", "alg": -8}, {"type": "public-key", "alg": -7}], True),
        ([], True),
        ([{"type": "public-key", "alg": -8}], False),
    ],
)
def test_a_type_of_key_is_asked_for_unless_the_token_lists_others(
    table: Table, algorithms: list[dict[str, object]], is_made: bool
) -> None:
    told = info({}, m10=algorithms)
    if is_made:
        assert asked_to_make(table, PLAIN, told)[4] == [{"type": "public-key", "alg": -7}]
    else:
        assert refused_by(table, PLAIN, told).happened == "the authenticator does not support this type of key"


def refused(table: Table, code: int, flags: int = PLAIN, options: dict[str, bool] | None = None) -> SecurityKeyError:
    """Return what is told where a token refuses to make a key."""
    told = info(options or {})
    return table.refusal(
        Scripted(
            {commands.GET_INFO: told, commands.MAKE_CREDENTIAL: bytes([code]), commands.CLIENT_PIN: answer({3: 8})}
        ),
        flags,
    )


@pytest.mark.parametrize("code", [status.UNSUPPORTED_OPTION, status.INVALID_OPTION])
def test_an_option_that_a_token_does_not_know_is_to_be_left_out_where_it_was_given(table: Table, code: int) -> None:
    remedy = "leave out -O resident and -O verify-required, or use another authenticator"
    for flags, options in ((FORCED, {"rk": True}), (VERIFIED, {"uv": True, "makeCredUvNotRqd": True})):
        error = refused(table, code, flags, options)
        assert (type(error), error.remedy) == (Unsupported, remedy)
        assert f"error 0x{code:02x}" in error.happened
    assert "-O" not in str(refused(table, code))
    assert "-O" not in str(refused(table, status.OTHER, VERIFIED, {"uv": True, "makeCredUvNotRqd": True}))


def test_a_refusal_for_want_of_a_pin_is_a_question_for_it_where_there_is_one(table: Table) -> None:
    options = {"clientPin": True, "makeCredUvNotRqd": True}
    error = refused(table, status.PUAT_REQUIRED, options=options)
    assert (type(error), error.happened) == (PinRequired, "the authenticator requires its PIN for this enrollment")
    error = refused(table, status.PUAT_REQUIRED)
    assert (type(error), error.remedy) == (PinNotSet, SET)
    assert error.happened == "the authenticator requires user verification for every use (alwaysUv), and has no PIN"


def test_a_refusal_of_a_pin_is_no_question_for_one(table: Table, device: Device) -> None:
    device.set_pin(PIN)
    channel = Scripted({commands.MAKE_CREDENTIAL: bytes([status.UV_BLOCKED])}, device)
    error = table.refusal(channel, VERIFIED, pin=PIN)
    assert (type(error), error.happened) == (PinBlocked, "the authenticator's built-in user verification is blocked")
    assert channel.times_closed == 1


def test_a_wrong_pin_is_told(table: Table, device: Device) -> None:
    device.set_pin(PIN)
    assert type(table.refusal(device, VERIFIED, pin="9999")) is PinInvalid


def test_a_resident_key_is_looked_for_without_a_touch_before_it_is_made(table: Table, device: Device) -> None:
    device.set_pin(PIN)
    channel = Scripted({}, device)
    table.enroll(channel, RESIDENT, pin=PIN)
    (looked,) = channel.parameters(commands.GET_ASSERTION)
    assert (looked[1], looked[5]) == (APPLICATION, {"up": False})
    assert isinstance(looked[2], bytes)
    assert looked[2][:16] == bytes(16)
    assert {6, 7} < set(looked)
    assert 3 not in looked
    assert device.person.actions == ["enroll"]


@pytest.mark.parametrize("flags", [PLAIN, FORCED, VERIFIED])
def test_no_other_key_is_looked_for(table: Table, device: Device, flags: int) -> None:
    device.set_pin(PIN)
    channel = Scripted({}, device)
    table.enroll(channel, flags, pin=PIN)
    assert channel.parameters(commands.GET_ASSERTION) == []


def test_a_resident_key_of_the_same_user_is_not_overwritten_unasked(table: Table, device: Device) -> None:
    device.set_pin(PIN)
    others = table.enroll(device, RESIDENT, pin=PIN, user="other")
    first = table.enroll(device, RESIDENT, pin=PIN, user="alice")
    error = table.refusal(device, RESIDENT, pin=PIN, user="alice")
    assert (type(error), error.happened) == (
        CredentialExists,
        "the authenticator already has a resident key for ssh: and this user",
    )
    key = hashlib.sha256(first.key_handle).hexdigest()[:16]
    assert error.remedy == (
        f"choose another user (-O user=) or application (-O application=), or delete it with: pysk keys "
        f"delete unix:/token {key}"
    )
    again = table.enroll(device, FORCED, pin=PIN, user="alice")
    assert set(device.store.read().credentials) == {others.key_handle, again.key_handle}


def found(user: object, credential: object) -> bytes:
    members = {1: credential, 2: RP_ID_HASH + b"\0" + bytes(4), 3: b"signature", 4: user}
    return answer({number: value for number, value in members.items() if value is not None})


USER_ID = b"alice".ljust(32, b"\0")


@pytest.mark.parametrize(
    ("user", "credential", "delete"),
    [
        ({"id": USER_ID}, {"id": 5}, "delete it; to list the keys: pysk keys list unix:/token"),
        ({"id": USER_ID}, {"id": b"k", "type": "public-key"}, "delete it with: pysk keys delete unix:/token "),
        ({"id": b"alice"}, {"id": b"k", "type": "public-key"}, None),
        ({}, {"id": b"k", "type": "public-key"}, None),
        (None, {"id": b"k", "type": "public-key"}, None),
    ],
)
def test_what_is_found_is_this_users_or_none(
    table: Table, user: object, credential: object, delete: str | None
) -> None:
    channel = Scripted(
        {
            commands.GET_INFO: info({"rk": True}),
            commands.GET_ASSERTION: found(user, credential),
            commands.MAKE_CREDENTIAL: UNTOUCHED,
        }
    )
    error = table.refusal(channel, RESIDENT, user="alice")
    assert type(error) is (TimedOut if delete is None else CredentialExists)
    assert (delete or "touch it") in error.remedy


def test_a_search_that_is_refused_ends_the_enrollment(table: Table) -> None:
    channel = Scripted({commands.GET_INFO: info({"rk": True}), commands.GET_ASSERTION: bytes([status.NOT_ALLOWED])})
    assert "does not allow that" in str(table.refusal(channel, RESIDENT))
    channel.answers[commands.GET_ASSERTION] = [bytes([status.NO_CREDENTIALS])]
    channel.answers[commands.MAKE_CREDENTIAL] = [UNTOUCHED]
    assert "nobody touched" in str(table.refusal(channel, RESIDENT))


def test_one_gesture_serves_the_search_and_the_new_key(table: Table, tmp_path: Path) -> None:
    device = make_device(tmp_path, "uv")
    channel = Scripted({}, device)
    table.enroll(channel, RESIDENT | FLAG_USER_VERIFICATION)
    (looked,), (made,) = (channel.parameters(number) for number in (commands.GET_ASSERTION, commands.MAKE_CREDENTIAL))
    assert looked[5] == {"up": False}
    assert made[7] == {"rk": True}
    assert {6, 7} < set(looked)
    assert {8, 9} < set(made)
    assert len(device.person.requests) == 1


def test_verification_by_the_token_itself_goes_with_each_command_where_one_gesture_serves_one(
    table: Table,
) -> None:
    options = {"rk": True, "uv": True}
    channel = Scripted(
        {
            commands.GET_INFO: info(options),
            commands.GET_ASSERTION: bytes([status.NO_CREDENTIALS]),
            commands.MAKE_CREDENTIAL: UNTOUCHED,
        }
    )
    table.refusal(channel, RESIDENT)
    assert channel.parameters(commands.GET_ASSERTION)[0][5] == {"up": False, "uv": True}
    assert channel.parameters(commands.MAKE_CREDENTIAL)[0][7] == {"rk": True, "uv": True}


def test_verification_by_the_token_itself_is_looked_for(table: Table, tmp_path: Path) -> None:
    device = make_device(tmp_path, "uv")
    for flags in (RESIDENT, FORCED):
        error = table.refusal(Liar(device, without_attestation(without_flag(AUTHDATA_UV))), flags)
        assert "does not confirm user verification" in error.happened
        assert device.person.requests
        device.person.requests.clear()
