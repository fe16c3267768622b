from __future__ import annotations

import hashlib
from typing import Any

import pytest

from sk_provider.authenticator.state import FORMAT, NewerFormat, State
from sk_provider.ctap.cbor import CborError, decode, encode


def test_what_is_written_is_read() -> None:
    state = State.new()
    state.counter = 7
    state.credentials[b"id"] = b"record"
    state.always_uv = True
    read = State.from_bytes(state.to_bytes())
    assert {name: getattr(read, name) for name in State.__slots__} == {
        name: getattr(state, name) for name in State.__slots__
    }


@pytest.mark.parametrize(
    "change",
    [
        {"secret": b"short"},
        {"store_id": b"short"},
        {"counter": "1"},
        {"pin": b"1234"},
        {"credentials": []},
        {"force_pin_change": 0},
        {"always_uv": 1},
        {"unknown": 1},
    ],
)
def test_members_of_the_wrong_kind_are_refused(change: dict[str, Any]) -> None:
    outer = decode(State.new().to_bytes())
    content = encode({**decode(outer["state"]), **change})
    outer |= {"state": content, "sha256": hashlib.sha256(content).digest()}
    with pytest.raises(CborError):
        State.from_bytes(encode(outer))


def test_a_newer_format_is_told_from_damage() -> None:
    with pytest.raises(NewerFormat):
        State.from_bytes(encode({"format": FORMAT + 1, "anything": "else"}))


def test_clearing_keeps_the_identity_and_the_counter_alone() -> None:
    state = State.new()
    before = State.from_bytes(state.to_bytes())
    state.counter = 7
    state.credentials[b"id"] = b"record"
    state.pin = bytes(48)
    state.clear()
    assert (state.store_id, state.counter) == (before.store_id, 7)
    assert state.secret != before.secret
    assert state.attestation_key != before.attestation_key
    assert (state.credentials, state.pin) == ({}, b"")
