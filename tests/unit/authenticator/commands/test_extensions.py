from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap2.pin import PinProtocol, PinProtocolV1, PinProtocolV2
from support.soft_token import CLIENT_DATA_HASH, RP_ID, Device, Person, credential_id, descriptor, refusal

from sk_provider.authenticator.presence import DENIED, GRANTED
from sk_provider.ctap import status

pytestmark = pytest.mark.slow

SALT = bytes(range(32))
OTHER_SALT = bytes(range(32, 64))


def hmac_secret(device: Device, handle: bytes, salts: bytes, protocol: Any = None, **arguments: Any) -> bytes:
    """Ask for the hmac-secret of one or two salts, and decrypt what comes."""
    protocol = protocol or PinProtocolV2()
    key, secret = device.agree(protocol)
    salt_enc = protocol.encrypt(secret, salts)
    inputs = {1: key, 2: salt_enc, 3: protocol.authenticate(secret, salt_enc), 4: protocol.VERSION}
    assertion = device.get(handle, extensions={"hmac-secret": inputs}, **arguments)
    assert assertion.auth_data.extensions is not None
    decrypted: bytes = protocol.decrypt(secret, assertion.auth_data.extensions["hmac-secret"])
    return decrypted


@pytest.mark.parametrize("protocol", [PinProtocolV1(), PinProtocolV2()], ids=["1", "2"])
def test_hmac_secret_is_the_same_each_time_and_for_each_salt(device: Device, protocol: PinProtocol) -> None:
    made = device.make(extensions={"hmac-secret": True})
    assert made.auth_data.extensions == {"hmac-secret": True}
    handle = credential_id(made)
    first = hmac_secret(device, handle, SALT, protocol)
    assert len(first) == 32
    device.power_up()
    assert hmac_secret(device, handle, SALT + OTHER_SALT, protocol)[:32] == first
    assert hmac_secret(device, handle, OTHER_SALT + SALT, protocol)[32:] == first
    assert hmac_secret(device, credential_id(device.make()), SALT, protocol) != first


def test_hmac_secret_is_computed_from_the_random_of_the_verification(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make(verified=True))
    state = device.store.read()
    key = device.authenticator.power_up.keeper(state).open(made, device.get(made).auth_data.rp_id_hash)
    assert key is not None
    assert hmac_secret(device, made, SALT) == hmac.digest(key.cred_random, SALT, "sha256")
    assert hmac_secret(device, made, SALT, verified=True) == hmac.digest(key.cred_random_uv, SALT, "sha256")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({1: None}, status.MISSING_PARAMETER),
        ({2: None}, status.MISSING_PARAMETER),
        ({3: None}, status.MISSING_PARAMETER),
        ({1: []}, status.CBOR_UNEXPECTED_TYPE),
        ({1: {}}, status.INVALID_PARAMETER),
        ({2: "salt"}, status.CBOR_UNEXPECTED_TYPE),
        ({3: bytes(32)}, status.PIN_AUTH_INVALID),
        ({4: 3}, status.INVALID_PARAMETER),
    ],
)
@pytest.mark.store_only
def test_a_malformed_hmac_secret_input_is_refused(device: Device, change: dict[int, Any], code: int) -> None:
    protocol: Any = PinProtocolV2()
    made = credential_id(device.make())
    key, secret = device.agree(protocol)
    salt_enc = protocol.encrypt(secret, SALT)
    inputs = {1: key, 2: salt_enc, 3: protocol.authenticate(secret, salt_enc), 4: 2, **change}
    inputs = {key: value for key, value in inputs.items() if value is not None}
    assert refusal(device.get, made, extensions={"hmac-secret": inputs}) == code


@pytest.mark.parametrize("salts", [b"", bytes(16), bytes(48), bytes(96)])
def test_salts_of_another_length_are_refused(device: Device, salts: bytes) -> None:
    made = credential_id(device.make())
    assert refusal(hmac_secret, device, made, salts) == status.INVALID_LENGTH


def test_hmac_secret_needs_presence(device: Device, person: Person) -> None:
    made = credential_id(device.make())
    assert refusal(hmac_secret, device, made, SALT, options={"up": False}) == status.UNSUPPORTED_OPTION


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"hmac-secret": 1}, status.CBOR_UNEXPECTED_TYPE),
        ({"credProtect": True}, status.CBOR_UNEXPECTED_TYPE),
        ({"credProtect": 0}, status.INVALID_OPTION),
        ({"credProtect": 4}, status.INVALID_OPTION),
        ({"credBlob": "text"}, status.CBOR_UNEXPECTED_TYPE),
        ({"minPinLength": 1}, status.CBOR_UNEXPECTED_TYPE),
        ({"largeBlobKey": 1}, status.CBOR_UNEXPECTED_TYPE),
        ({"largeBlobKey": False}, status.INVALID_OPTION),
        ({"largeBlobKey": True}, status.INVALID_OPTION),  # not discoverable
    ],
)
@pytest.mark.store_only
def test_a_malformed_extension_makes_no_credential(device: Device, inputs: dict[str, Any], code: int) -> None:
    assert refusal(device.make, extensions=inputs) == code


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"hmac-secret": True}, status.CBOR_UNEXPECTED_TYPE),
        ({"credBlob": b"blob"}, status.CBOR_UNEXPECTED_TYPE),
        ({"largeBlobKey": "key"}, status.CBOR_UNEXPECTED_TYPE),
        ({"largeBlobKey": False}, status.INVALID_OPTION),
    ],
)
@pytest.mark.store_only
def test_a_malformed_extension_signs_nothing(device: Device, inputs: dict[str, Any], code: int) -> None:
    assert refusal(device.get, credential_id(device.make()), extensions=inputs) == code


def test_values_of_extensions_are_looked_at_only_when_all_else_is_well(device: Device, person: Person) -> None:
    device.set_pin()
    made = credential_id(device.make())
    bad_auth: Any = {"pin_uv_param": bytes(32), "pin_uv_protocol": 2}
    for inputs in ({"credProtect": 9}, {"largeBlobKey": False}):
        assert refusal(device.make, extensions=inputs, **bad_auth) == status.PIN_AUTH_INVALID
        person.answer = DENIED
        assert refusal(device.make, extensions=inputs) == status.OPERATION_DENIED
        person.answer = GRANTED
        assert refusal(device.make, exclude_list=[descriptor(made)], extensions=inputs) == status.CREDENTIAL_EXCLUDED
        assert refusal(device.make, extensions=inputs) == status.INVALID_OPTION
    key, _ = device.agree(PinProtocolV2())
    bad_salts = {1: key, 2: bytes(48), 3: bytes(32), 4: 2}
    for salts in (bad_salts, {**bad_salts, 4: 3}, {**bad_salts, 1: {}}):
        extensions = {"hmac-secret": salts}
        assert refusal(device.get, b"unknown", extensions=extensions) == status.NO_CREDENTIALS
        person.answer = DENIED
        assert refusal(device.get, made, extensions=extensions) == status.OPERATION_DENIED
        person.answer = GRANTED
    assert refusal(hmac_secret, device, b"unknown", bytes(48)) == status.NO_CREDENTIALS
    silently = {"options": {"up": False}, "extensions": {"hmac-secret": bad_salts}}
    assert refusal(device.get, b"unknown", **silently) == status.NO_CREDENTIALS


@pytest.mark.parametrize("inputs", [{"credProtect": "1"}, {"largeBlobKey": 1}])
def test_types_of_extensions_are_looked_at_first(device: Device, person: Person, inputs: dict[str, Any]) -> None:
    assert refusal(device.make, extensions=inputs) == status.CBOR_UNEXPECTED_TYPE
    assert refusal(device.get, b"unknown", extensions={"hmac-secret": {1: 1}}) == status.CBOR_UNEXPECTED_TYPE
    assert not person.requests


def test_without_extensions_an_assertion_has_no_extension_data(device: Device) -> None:
    made = device.make(options={"rk": True}, extensions={"credBlob": b"blob", "hmac-secret": True, "credProtect": 1})
    assert device.get(credential_id(made)).auth_data.extensions is None


def test_a_cred_blob_is_kept_with_a_discoverable_credential(device: Device) -> None:
    blob = os.urandom(32)
    made = device.make(options={"rk": True}, extensions={"credBlob": blob})
    assert made.auth_data.extensions == {"credBlob": True}
    assert device.get(credential_id(made), extensions={"credBlob": True}).auth_data.extensions == {"credBlob": blob}
    too_long = device.make(user_id=b"2", options={"rk": True}, extensions={"credBlob": bytes(33)})
    assert too_long.auth_data.extensions == {"credBlob": False}
    not_discoverable = device.make(extensions={"credBlob": blob})
    assert not_discoverable.auth_data.extensions == {"credBlob": False}
    for without in (too_long, not_discoverable):
        assertion = device.get(credential_id(without), extensions={"credBlob": True})
        assert assertion.auth_data.extensions == {"credBlob": b""}


def test_a_large_blob_key_belongs_to_a_discoverable_credential(device: Device) -> None:
    device.set_pin()
    made = device.make_resident(extensions={"largeBlobKey": True})
    assert made.large_blob_key is not None
    assert len(made.large_blob_key) == 32
    assert made.auth_data.extensions is None
    handle = credential_id(made)
    assert device.get(handle, extensions={"largeBlobKey": True}).large_blob_key == made.large_blob_key
    assert device.get(handle).large_blob_key is None
    without = credential_id(device.make_resident(user_id=b"2"))
    assert device.get(without, extensions={"largeBlobKey": True}).large_blob_key is None
    listed = device.credential_management().enumerate_creds(made.auth_data.rp_id_hash)
    assert [credential.get(0x0B) for credential in listed] == [None, made.large_blob_key]


def test_a_large_blob_key_is_told_for_a_user_without_an_id_too(device: Device) -> None:
    made = device.make(user_id=b"", options={"rk": True}, extensions={"largeBlobKey": True})
    assertion = device.get(credential_id(made), extensions={"largeBlobKey": True})
    assert assertion.user is None
    assert assertion.large_blob_key == made.large_blob_key


def test_next_assertions_carry_the_extensions_too(device: Device) -> None:
    for number in range(2):
        device.make(user_id=bytes([number]), options={"rk": True}, extensions={"credBlob": bytes([number])})
    protocol: Any = PinProtocolV2()
    key, secret = device.agree(protocol)
    salt_enc = protocol.encrypt(secret, SALT)
    inputs = {1: key, 2: salt_enc, 3: protocol.authenticate(secret, salt_enc), 4: 2}
    first = device.get(extensions={"hmac-secret": inputs, "credBlob": True})
    second = device.get_next()
    for number, assertion in ((1, first), (0, second)):
        outputs = assertion.auth_data.extensions
        assert outputs is not None
        assert outputs["credBlob"] == bytes([number])
        assert len(protocol.decrypt(secret, outputs["hmac-secret"])) == 32


def test_extensions_that_the_profile_lacks_are_ignored(make_device: Callable[[str], Device]) -> None:
    device = make_device("fido2.0")
    made = device.make(extensions={"credProtect": 3, "credBlob": b"x", "largeBlobKey": 7})
    assert made.auth_data.extensions is None
    request = {1: RP_ID, 2: CLIENT_DATA_HASH, 3: [descriptor(credential_id(made))], 4: {"credBlob": 1}}
    assert device.request(2, request)[0] == status.SUCCESS
