"""What an authenticator may say of a new key, and what it may not: one that lies has no need of a signature."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from support.answering import Liar
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
from sk_provider.ctap import AUTHDATA_AT, AUTHDATA_ED, AUTHDATA_UP, AUTHDATA_UV, cbor, commands
from sk_provider.errors import AuthenticatorError
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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
        (without_flag(AUTHDATA_UP), "does not confirm that anybody was present"),
        (changed(without_key_handle), "has no key handle"),
        (changed(without_key), "has no key in it"),
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
    with pytest.raises(AuthenticatorError, match="does not confirm that it verified the person"):
        make(device, without_flag(AUTHDATA_UV), monkeypatch, flags)


@pytest.mark.parametrize("flags", [RESIDENT, VERIFIED])
@pytest.mark.parametrize(
    "lie", [changed(without_extensions), with_cred_protect(1), with_cred_protect("3"), with_extensions([1])]
)
def test_protection_that_was_asked_for_is_looked_for(
    device: Device, lie: Lie, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AuthenticatorError, match="has not protected the new key as it was asked to"):
        make(device, lie, monkeypatch, flags)


def test_a_refused_resident_key_is_named_with_what_deletes_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticatorError) as caught:
        make(device, with_cred_protect(1), monkeypatch, RESIDENT)
    (key_handle,) = device.store.read().credentials
    assert caught.value.happened.endswith("; the resident key that it made for ssh: stays on it")
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
