from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap1 import ApduError, Ctap1, SignatureData
from fido2.webauthn import AuthenticatorData
from support.soft_token import EDDSA, Device, Person, credential_id, refusal

from sk_provider.authenticator.presence import DENIED
from sk_provider.ctap import status

APPLICATION = os.urandom(32)
CHALLENGE = os.urandom(32)


@pytest.fixture(params=["fido2.1", "u2f"])
def device(make_device: Callable[[str], Device], request: pytest.FixtureRequest) -> Device:
    return make_device(request.param)


def send(device: Device, apdu: str | bytes) -> bytes:
    return device.call(3, bytes.fromhex(apdu) if isinstance(apdu, str) else apdu)


def refused(call: Callable[..., object], *arguments: Any, **options: Any) -> int:
    with pytest.raises(ApduError) as caught:
        call(*arguments, **options)
    return caught.value.code


def test_a_registered_key_signs(device: Device, person: Person) -> None:
    ctap1 = Ctap1(device)
    assert ctap1.get_version() == "U2F_V2"
    registration = ctap1.register(CHALLENGE, APPLICATION)
    registration.verify(APPLICATION, CHALLENGE)
    signature = ctap1.authenticate(CHALLENGE, APPLICATION, registration.key_handle)
    signature.verify(APPLICATION, CHALLENGE, registration.public_key)
    assert signature.user_presence == 1
    later = ctap1.authenticate(CHALLENGE, APPLICATION, registration.key_handle)
    assert later.counter > signature.counter > 0
    assert person.actions == ["enroll", "sign", "sign"]
    assert person.requests[0].rp_id == APPLICATION.hex()


def test_without_a_touch_nothing_is_registered_or_signed(device: Device, person: Person) -> None:
    ctap1 = Ctap1(device)
    handle = ctap1.register(CHALLENGE, APPLICATION).key_handle
    person.answer = DENIED
    assert refused(ctap1.register, CHALLENGE, APPLICATION) == 0x6985
    assert refused(ctap1.authenticate, CHALLENGE, APPLICATION, handle) == 0x6985


def test_checking_a_handle_needs_no_touch_and_signs_nothing(device: Device, person: Person) -> None:
    ctap1 = Ctap1(device)
    handle = ctap1.register(CHALLENGE, APPLICATION).key_handle
    person.requests.clear()
    before = device.store.read().counter
    assert refused(ctap1.authenticate, CHALLENGE, APPLICATION, handle, check_only=True) == 0x6985
    assert refused(ctap1.authenticate, CHALLENGE, os.urandom(32), handle, check_only=True) == 0x6A80
    assert refused(ctap1.authenticate, CHALLENGE, APPLICATION, handle[:-1], check_only=True) == 0x6A80
    assert refused(ctap1.authenticate, CHALLENGE, APPLICATION, b"", check_only=True) == 0x6A80
    assert not person.requests
    assert device.store.read().counter == before


def authenticate(control: int, handle: bytes) -> bytes:
    data = CHALLENGE + APPLICATION + bytes([len(handle)]) + handle
    return bytes([0, 2, control, 0, 0]) + len(data).to_bytes(2, "big") + data + b"\0\0"


def test_a_signature_without_presence_says_so(device: Device, person: Person) -> None:
    registration = Ctap1(device).register(CHALLENGE, APPLICATION)
    person.requests.clear()
    answer = send(device, authenticate(8, registration.key_handle))
    assert answer[-2:] == b"\x90\0"
    assert answer[0] == 0
    assert not person.requests
    SignatureData(answer[:-2]).verify(APPLICATION, CHALLENGE, registration.public_key)


@pytest.mark.parametrize(
    ("apdu", "answer"),
    [
        ("", "6700"),
        ("000300", "6700"),
        ("00030000", "5532465f56329000"),
        ("0003000000", "5532465f56329000"),
        ("00030000000000", "5532465f56329000"),
        ("00030000 01 00", "6700"),
        ("00030000 000001 00", "6700"),
        ("01030000", "6e00"),
        ("80030000", "6e00"),
        ("00000000", "6d00"),
        ("00040000", "6d00"),
        ("00a40000", "6d00"),
        ("00c00000", "6d00"),
        ("00010000", "6700"),
        ("00010300 000040 00", "6700"),
        ("00010300 00003f" + "00" * 63, "6700"),
        ("00010300 3f" + "00" * 63, "6700"),
        ("00020300 000041" + "00" * 64 + "01", "6700"),
        ("00020300 000041" + "00" * 65, "6a80"),
        ("00020300 41" + "00" * 65, "6a80"),
        ("00020300 000040" + "00" * 64, "6700"),
        ("00020300 ffff00", "6700"),
        ("00020300 00ffff", "6700"),  # extended Le alone: no data
    ],
)
def test_a_malformed_apdu_has_its_status_word(device: Device, apdu: str, answer: str) -> None:
    assert send(device, apdu).hex() == answer


def test_an_unknown_control_byte_is_refused(device: Device) -> None:
    handle = Ctap1(device).register(CHALLENGE, APPLICATION).key_handle
    assert send(device, authenticate(4, handle)).hex() == "6a80"


def test_short_and_extended_apdus_register_alike(device: Device) -> None:
    data = CHALLENGE + APPLICATION
    for apdu in (b"\0\1\3\0\x40" + data, b"\0\1\3\0\x40" + data + b"\0", b"\0\1\0\0\0\0\x40" + data + b"\0\0"):
        assert send(device, apdu)[-2:] == b"\x90\0"


def test_a_credential_made_through_ctap2_signs_through_u2f_and_the_other_way(
    make_device: Callable[[str], Device],
) -> None:
    device = make_device("fido2.1")
    made = device.make()
    data = made.auth_data.credential_data
    assert data is not None
    signature = Ctap1(device).authenticate(CHALLENGE, made.auth_data.rp_id_hash, data.credential_id)
    signature.verify(made.auth_data.rp_id_hash, CHALLENGE, b"\4" + data.public_key[-2] + data.public_key[-3])
    registration = Ctap1(device).register(CHALLENGE, made.auth_data.rp_id_hash)
    assert device.get(registration.key_handle).auth_data.flags == AuthenticatorData.FLAG.UP


def test_what_u2f_cannot_serve_is_not_its_own(make_device: Callable[[str], Device]) -> None:
    device = make_device("fido2.1")
    device.set_pin()
    ctap1 = Ctap1(device)
    rp_id_hash = device.make().auth_data.rp_id_hash
    for made in (device.make(algorithm=EDDSA), device.make(extensions={"credProtect": 3})):
        assert refused(ctap1.authenticate, CHALLENGE, rp_id_hash, credential_id(made)) == 0x6A80
    resident = credential_id(device.make_resident())
    ctap1.authenticate(CHALLENGE, rp_id_hash, resident)
    device.ctap2.reset()
    assert refused(ctap1.authenticate, CHALLENGE, rp_id_hash, resident) == 0x6A80


def test_a_reset_while_a_person_is_awaited_prevents_the_signature(device: Device, person: Person) -> None:
    handle = Ctap1(device).register(CHALLENGE, APPLICATION).key_handle

    def reset() -> None:
        device.forget_all()

    person.meanwhile = reset
    assert refused(Ctap1(device).authenticate, CHALLENGE, APPLICATION, handle) == 0x6A80


def test_a_u2f_token_has_no_ctap2_and_says_so(make_device: Callable[[str], Device]) -> None:
    device = make_device("u2f")
    assert device.capabilities == 0
    assert device.call(0x10, b"\4") == bytes([status.INVALID_COMMAND])
    assert make_device("fido2.1").capabilities == 4


def test_u2f_ends_the_chain_of_next_assertions(make_device: Callable[[str], Device]) -> None:
    device = make_device("fido2.1")
    for number in range(2):
        device.make(user_id=bytes([number]), options={"rk": True})
    device.get()
    Ctap1(device).get_version()
    assert refusal(device.get_next) == status.NOT_ALLOWED
