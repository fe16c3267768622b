from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap2 import LargeBlobs
from support.soft_token import Device, Permission, refusal

from sk_provider.authenticator.state import EMPTY_LARGE_BLOBS
from sk_provider.ctap import status

EMPTY = bytes.fromhex("8076be8b528d0075f7aae98d6fa57a6d3c")  # CTAP 2.1 §6.10


def sealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()[:16]


def blobs(device: Device) -> LargeBlobs:
    if not device.store.read().pin:
        return LargeBlobs(device.ctap2)
    return LargeBlobs(device.ctap2, device.pin_protocol, device.pin_token(Permission.LARGE_BLOB_WRITE))


def test_a_new_token_holds_the_empty_array(device: Device) -> None:
    assert EMPTY_LARGE_BLOBS == EMPTY
    assert device.request(0x0C, {1: 100, 3: 0}) == (status.SUCCESS, {1: EMPTY})
    assert blobs(device).read_blob_array() == []


@pytest.mark.parametrize("pin", [False, True])
def test_a_blob_is_read_back_by_who_has_the_key(device: Device, pin: bool) -> None:
    if pin:
        device.set_pin()
    key, other = os.urandom(32), os.urandom(32)
    data = os.urandom(3000)  # needs several fragments once encoded, if fragments are small
    blobs(device).put_blob(key, data)
    device.power_up()
    assert blobs(device).get_blob(key) == data
    assert blobs(device).get_blob(other) is None
    blobs(device).delete_blob(key)
    assert blobs(device).get_blob(key) is None


def test_fragments_become_the_array_once_it_is_whole(device: Device) -> None:
    array = sealed(b"\x81" + b"\x58\x64" + bytes(100))
    assert device.request(0x0C, {2: array[:50], 3: 0, 4: len(array)}) == (status.SUCCESS, None)
    assert device.store.read().large_blobs == EMPTY
    assert device.request(0x0C, {1: 999, 3: 0}) == (status.SUCCESS, {1: EMPTY})
    assert device.request(0x0C, {2: array[50:], 3: 50}) == (status.SUCCESS, None)
    assert device.store.read().large_blobs == array
    assert device.request(0x0C, {1: 10, 3: 3}) == (status.SUCCESS, {1: array[3:13]})
    assert device.request(0x0C, {1: 10, 3: len(array)}) == (status.SUCCESS, {1: b""})
    assert device.request(0x0C, {2: b"", 3: len(array)}) == (status.INVALID_SEQ, None)


def test_an_array_with_a_wrong_checksum_is_not_stored(device: Device) -> None:
    array = sealed(bytes(20))[:-1] + b"\0"
    assert device.request(0x0C, {2: array, 3: 0, 4: len(array)}) == (status.INTEGRITY_FAILURE, None)
    assert device.store.read().large_blobs == EMPTY


def test_fragments_come_in_order_in_time_and_without_other_commands_between(device: Device) -> None:
    array = sealed(bytes(100))
    first = {2: array[:50], 3: 0, 4: len(array)}
    rest = {2: array[50:], 3: 50}
    assert device.request(0x0C, rest) == (status.INVALID_SEQ, None)
    device.request(0x0C, first)
    assert device.request(0x0C, {2: array[51:], 3: 51}) == (status.INVALID_SEQ, None)
    device.request(4)
    assert device.request(0x0C, rest) == (status.INVALID_SEQ, None)
    device.request(0x0C, first)
    device.now += 31
    assert device.request(0x0C, rest) == (status.INVALID_SEQ, None)
    device.request(0x0C, first)
    assert device.request(0x0C, {2: array[50:] + b"\0", 3: 50}) == (status.INVALID_PARAMETER, None)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, status.INVALID_PARAMETER),
        ({1: 10}, status.INVALID_PARAMETER),
        ({3: 0}, status.INVALID_PARAMETER),
        ({1: 10, 2: b"x", 3: 0}, status.INVALID_PARAMETER),
        ({1: 10, 3: 0, 4: 17}, status.INVALID_PARAMETER),
        ({1: 10, 3: 0, 5: bytes(32), 6: 2}, status.INVALID_PARAMETER),
        ({1: 10, 3: 18}, status.INVALID_PARAMETER),
        ({1: 10, 3: -1}, status.INVALID_PARAMETER),
        ({1: -1, 3: 0}, status.INVALID_PARAMETER),
        ({1: 8000, 3: 0}, status.INVALID_LENGTH),
        ({1: "10", 3: 0}, status.CBOR_UNEXPECTED_TYPE),
        ({2: "fragment", 3: 0}, status.CBOR_UNEXPECTED_TYPE),
        ({2: b"fragment", 3: 0}, status.INVALID_PARAMETER),
        ({2: b"fragment", 3: 0, 4: 16}, status.INVALID_PARAMETER),
        ({2: b"fragment", 3: 0, 4: 4097}, status.LARGE_BLOB_STORAGE_FULL),
        ({2: b"fragment", 3: 5, 4: 17}, status.INVALID_PARAMETER),
        ({2: b"fragment", 3: 5}, status.INVALID_SEQ),
        ({2: b"f" * 7560, 3: 0, 4: 17}, status.INVALID_LENGTH),
    ],
)
def test_a_malformed_request_is_refused(device: Device, request_: dict[int, Any], code: int) -> None:
    assert device.request(0x0C, request_) == (code, None)


def test_writing_needs_the_pin_once_one_is_set_and_reading_does_not(device: Device) -> None:
    device.set_pin()
    array = sealed(bytes(20))
    request = {2: array, 3: 0, 4: len(array)}
    assert device.request(0x0C, request) == (status.PUAT_REQUIRED, None)
    assert device.request(0x0C, {**request, 5: bytes(32)}) == (status.MISSING_PARAMETER, None)
    assert device.request(0x0C, {**request, 5: bytes(32), 6: 2}) == (status.PIN_AUTH_INVALID, None)
    token = device.pin_token(Permission.CREDENTIAL_MGMT)
    lacking = LargeBlobs(device.ctap2, device.pin_protocol, token)
    assert refusal(lacking.write_blob_array, []) == status.PIN_AUTH_INVALID
    assert device.request(0x0C, {1: 17, 3: 0}) == (status.SUCCESS, {1: EMPTY})


def test_the_write_permission_outlives_an_assertion_of_the_same_token(device: Device) -> None:
    device.set_pin()
    device.make()
    token = device.pin_token(Permission.LARGE_BLOB_WRITE | Permission.MAKE_CREDENTIAL, "ssh:")
    device.make(**device.auth(token))
    LargeBlobs(device.ctap2, device.pin_protocol, token).put_blob(bytes(32), b"data")
    assert refusal(device.make, **device.auth(token)) == status.PIN_AUTH_INVALID


def test_a_small_token_reads_and_writes_in_fragments(make_device: Callable[[str], Device]) -> None:
    device = make_device("small")
    data = os.urandom(900)
    blobs(device).put_blob(bytes(32), data)
    assert blobs(device).get_blob(bytes(32)) == data
    assert refusal(blobs(device).put_blob, bytes(32), os.urandom(1100)) == status.LARGE_BLOB_STORAGE_FULL
