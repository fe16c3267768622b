from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap2 import CredentialManagement
from support.soft_token import RP_ID, Device, Permission, credential_id, descriptor, refusal

from sk_provider.ctap import status

pytestmark = pytest.mark.slow

RESULT = CredentialManagement.RESULT
RP_ID_HASH = hashlib.sha256(RP_ID.encode()).digest()


def user(user_id: bytes, name: str = "Name") -> Any:
    return {"id": user_id, "name": name}


@pytest.fixture
def pin_device(device: Device) -> Device:
    device.set_pin()
    return device


def test_an_empty_token_lists_nothing(pin_device: Device) -> None:
    manager = pin_device.credential_management()
    assert manager.get_metadata() == {1: 0, 2: 100}
    assert manager.enumerate_rps() == []
    assert manager.enumerate_creds(RP_ID_HASH) == []
    assert refusal(manager.enumerate_rps_begin) == status.NO_CREDENTIALS


def test_all_rps_and_credentials_are_listed(pin_device: Device) -> None:
    made = {
        (rp_id, user_id): pin_device.make_resident(rp_id, user_id, extensions={"credProtect": 2})
        for rp_id in ("ssh:", "ssh:b", "example.com")
        for user_id in (b"1", b"2", b"3")
    }
    manager = pin_device.credential_management()
    assert manager.get_metadata() == {1: 9, 2: 91}
    rps = manager.enumerate_rps()
    assert {rp[RESULT.RP]["id"] for rp in rps} == {"ssh:", "ssh:b", "example.com"}
    assert rps[0][RESULT.TOTAL_RPS] == 3
    for rp in rps:
        assert rp[RESULT.RP]["name"] == "an RP"
        assert rp[RESULT.RP_ID_HASH] == hashlib.sha256(rp[RESULT.RP]["id"].encode()).digest()
        listed = manager.enumerate_creds(rp[RESULT.RP_ID_HASH])
        assert listed[0][RESULT.TOTAL_CREDENTIALS] == 3
        for credential in listed:
            data = made[rp[RESULT.RP]["id"], credential[RESULT.USER]["id"]].auth_data.credential_data
            assert data is not None
            assert credential[RESULT.CREDENTIAL_ID] == descriptor(data.credential_id)
            assert credential[RESULT.PUBLIC_KEY] == dict(data.public_key)
            assert credential[RESULT.CRED_PROTECT] == 2
            assert credential[RESULT.USER]["displayName"] == "A User"


def test_a_deleted_credential_is_gone(pin_device: Device) -> None:
    kept = credential_id(pin_device.make_resident(user_id=b"kept"))
    gone = credential_id(pin_device.make_resident(user_id=b"gone"))
    manager = pin_device.credential_management()
    manager.delete_cred(descriptor(gone))
    assert refusal(manager.delete_cred, descriptor(gone)) == status.NO_CREDENTIALS
    assert [c[RESULT.CREDENTIAL_ID]["id"] for c in manager.enumerate_creds(RP_ID_HASH)] == [kept]
    assert refusal(pin_device.get, gone) == status.NO_CREDENTIALS
    pin_device.get(kept)


def test_user_information_is_replaced_and_empty_names_removed(pin_device: Device) -> None:
    made = credential_id(pin_device.make_resident())
    manager: Any = pin_device.credential_management()
    manager.update_user_info(descriptor(made), user(b"user", "New Name"))
    assert manager.enumerate_creds(RP_ID_HASH)[0][RESULT.USER] == {"id": b"user", "name": "New Name"}
    assert refusal(manager.update_user_info, descriptor(made), user(b"other")) == status.INVALID_PARAMETER
    assert refusal(manager.update_user_info, descriptor(b"x"), user(b"user")) == status.NO_CREDENTIALS
    manager._call(7, {2: descriptor(made), 3: {"id": b"user", "name": "", "displayName": ""}})
    assert manager.enumerate_creds(RP_ID_HASH)[0][RESULT.USER] == {"id": b"user"}
    assert pin_device.get().credential["id"] == made


def test_a_token_without_the_permission_manages_nothing(pin_device: Device) -> None:
    pin_device.make_resident()
    token = pin_device.pin_token(Permission.GET_ASSERTION, RP_ID)
    manager = CredentialManagement(pin_device.ctap2, pin_device.pin_protocol, token)
    assert refusal(manager.get_metadata) == status.PIN_AUTH_INVALID


def test_a_token_bound_to_an_rp_manages_that_rp_alone(pin_device: Device) -> None:
    own = credential_id(pin_device.make_resident())
    foreign = credential_id(pin_device.make_resident("ssh:other"))
    manager = pin_device.credential_management(RP_ID)
    assert refusal(manager.get_metadata) == status.PIN_AUTH_INVALID
    assert refusal(manager.enumerate_rps) == status.PIN_AUTH_INVALID
    for rp_id in (b"ssh:other", b"ssh:unknown"):
        assert refusal(manager.enumerate_creds, hashlib.sha256(rp_id).digest()) == status.PIN_AUTH_INVALID
    assert refusal(manager.delete_cred, descriptor(foreign)) == status.PIN_AUTH_INVALID
    assert refusal(manager.update_user_info, descriptor(foreign), user(b"user")) == status.PIN_AUTH_INVALID
    assert len(manager.enumerate_creds(RP_ID_HASH)) == 1
    manager.update_user_info(descriptor(own), user(b"user"))
    manager.delete_cred(descriptor(own))
    assert list(pin_device.store.read().credentials) == [foreign]


def test_an_enumeration_ends_with_another_command_or_after_thirty_seconds(pin_device: Device) -> None:
    for number in range(3):
        pin_device.make_resident(f"ssh:{number}", b"1")
    pin_device.make_resident("ssh:many", b"1")
    made = credential_id(pin_device.make_resident("ssh:many", b"2"))
    manager = pin_device.credential_management()
    manager.enumerate_rps_begin()
    manager.enumerate_rps_next()
    pin_device.now += 31
    assert refusal(manager.enumerate_rps_next) == status.NOT_ALLOWED
    pin_device.now -= 31
    manager.enumerate_rps_begin()
    assert refusal(manager.enumerate_creds_next) == status.NOT_ALLOWED
    manager.update_user_info(descriptor(made), user(b"2"))
    assert refusal(manager.enumerate_rps_next) == status.NOT_ALLOWED
    manager.enumerate_creds_begin(hashlib.sha256(b"ssh:many").digest())
    pin_device.request(4)
    assert refusal(manager.enumerate_creds_next) == status.NOT_ALLOWED


def test_an_enumeration_ends_with_the_token_that_began_it(pin_device: Device) -> None:
    for number in range(4):
        pin_device.make_resident(f"ssh:{number}")
    manager = pin_device.credential_management()
    manager.get_metadata()
    pin_device.now += 590
    manager.enumerate_rps_begin()
    pin_device.now += 9
    manager.enumerate_rps_next()
    pin_device.now += 2
    assert refusal(manager.enumerate_rps_next) == status.NOT_ALLOWED


def test_credentials_can_be_listed_while_rps_are(pin_device: Device) -> None:
    for rp_id in ("ssh:a", "ssh:b"):
        for number in range(3):
            pin_device.make_resident(rp_id, bytes([number]))
    manager = pin_device.credential_management()
    rp_id_hashes = [manager.enumerate_rps_begin()[RESULT.RP_ID_HASH]]
    assert len(manager.enumerate_creds(rp_id_hashes[0])) == 3
    rp_id_hashes.append(manager.enumerate_rps_next()[RESULT.RP_ID_HASH])
    assert len(manager.enumerate_creds(rp_id_hashes[1])) == 3
    assert len(set(rp_id_hashes)) == 2
    assert refusal(manager.enumerate_rps_next) == status.NOT_ALLOWED


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, status.MISSING_PARAMETER),
        ({1: "1"}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 0}, status.INVALID_SUBCOMMAND),
        ({1: 8}, status.INVALID_SUBCOMMAND),
        ({1: 1}, status.PUAT_REQUIRED),
        ({1: 2}, status.PUAT_REQUIRED),
        ({1: 3}, status.NOT_ALLOWED),
        ({1: 5}, status.NOT_ALLOWED),
        ({1: 4}, status.PUAT_REQUIRED),
        ({1: 4, 2: []}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 4, 3: 7, 4: bytes(32)}, status.MISSING_PARAMETER),
        ({1: 4, 2: {}, 3: 2, 4: bytes(32)}, status.MISSING_PARAMETER),
        ({1: 4, 2: {1: bytes(32)}, 4: bytes(32)}, status.MISSING_PARAMETER),
        ({1: 4, 2: {1: bytes(32)}, 3: 7, 4: bytes(32)}, status.INVALID_PARAMETER),
        ({1: 4, 2: {1: bytes(32)}, 3: 2, 4: bytes(32)}, status.PIN_AUTH_INVALID),
        ({1: 6}, status.PUAT_REQUIRED),
        ({1: 6, 3: 2, 4: bytes(32)}, status.MISSING_PARAMETER),
        ({1: 7}, status.PUAT_REQUIRED),
        ({1: 7, 2: {2: {}}, 3: 2, 4: bytes(32)}, status.MISSING_PARAMETER),
        ({1: 1, 4: bytes(32)}, status.MISSING_PARAMETER),
        ({1: 1, 3: 7, 4: bytes(32)}, status.INVALID_PARAMETER),
        ({1: 1, 3: 2, 4: bytes(32)}, status.PIN_AUTH_INVALID),
        ({1: 1, 3: 2, 4: "param"}, status.CBOR_UNEXPECTED_TYPE),
    ],
)
@pytest.mark.store_only
def test_a_malformed_request_is_refused(device: Device, request_: dict[int, Any], code: int) -> None:
    assert device.request(0x0A, request_) == (code, None)


@pytest.mark.parametrize(
    ("subcommand", "arguments", "code"),
    [
        (4, {}, status.MISSING_PARAMETER),
        (4, {1: "hash"}, status.CBOR_UNEXPECTED_TYPE),
        (4, {1: b"unknown"}, status.NO_CREDENTIALS),
        (6, {}, status.MISSING_PARAMETER),
        (6, {2: b"id"}, status.CBOR_UNEXPECTED_TYPE),
        (6, {2: {"id": b"id"}}, status.MISSING_PARAMETER),
        (7, {2: {"id": b"id", "type": "public-key"}}, status.MISSING_PARAMETER),
        (7, {2: {"id": b"id", "type": "public-key"}, 3: {}}, status.MISSING_PARAMETER),
        (7, {2: {"id": b"id", "type": "public-key"}, 3: {"id": b"", "name": 1}}, status.CBOR_UNEXPECTED_TYPE),
    ],
)
@pytest.mark.store_only
def test_malformed_arguments_are_refused(pin_device: Device, subcommand: int, arguments: Any, code: int) -> None:
    manager = pin_device.credential_management()
    assert refusal(manager._call, subcommand, arguments) == code


def test_the_prototype_command_lists_and_deletes_but_does_not_update(make_device: Callable[[str], Device]) -> None:
    device = make_device("fido2.1-pre")
    assert device.request(0x0A, {1: 1})[0] == status.INVALID_COMMAND
    device.set_pin()
    made = credential_id(device.make_resident())
    manager = CredentialManagement(device.ctap2, device.pin_protocol, device.client_pin().get_pin_token("1234"))
    assert manager.enumerate_creds(RP_ID_HASH)[0][RESULT.CREDENTIAL_ID]["id"] == made
    assert refusal(manager._call, 7, {2: descriptor(made), 3: user(b"user")}) == status.INVALID_SUBCOMMAND
    manager.delete_cred(descriptor(made))
    assert not device.store.read().credentials


def test_a_listing_by_one_process_sees_what_another_made(pin_device: Device) -> None:
    other = pin_device.beside()
    made = credential_id(other.make_resident())
    listed = pin_device.credential_management().enumerate_creds(RP_ID_HASH)
    assert [credential[RESULT.CREDENTIAL_ID]["id"] for credential in listed] == [made]
