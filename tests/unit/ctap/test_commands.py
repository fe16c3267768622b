"""Which requests an authenticator may be silent to, as it waits for a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.ctap import cbor, commands


def request(command: int, parameters: dict[int, object] | None = None) -> bytes:
    return bytes([command]) + (b"" if parameters is None else cbor.encode(parameters))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request(commands.MAKE_CREDENTIAL, {1: bytes(32)}), True),
        (request(commands.RESET), True),
        (request(commands.SELECTION), True),
        (request(commands.GET_ASSERTION, {1: "ssh:"}), True),
        (request(commands.GET_ASSERTION, {1: "ssh:", 5: {"uv": True}}), True),
        (request(commands.GET_ASSERTION, {1: "ssh:", 5: {"up": True}}), True),
        (request(commands.GET_ASSERTION, {1: "ssh:", 5: {"up": False}}), False),
        (request(commands.CLIENT_PIN, {1: 2, 2: commands.GET_TOKEN_USING_UV}), True),
        (request(commands.CLIENT_PIN, {1: 2, 2: commands.GET_TOKEN_USING_PIN}), False),
        (request(commands.CLIENT_PIN, {1: 2, 2: commands.GET_KEY_AGREEMENT}), False),
        (request(commands.GET_INFO), False),
        (request(commands.GET_NEXT_ASSERTION), False),
        (request(commands.CREDENTIAL_MANAGEMENT, {1: commands.GET_CREDS_METADATA}), False),
        (b"", False),
        # What cannot be understood
        (bytes([commands.GET_ASSERTION]), False),
        (bytes([commands.CLIENT_PIN]), False),
        (request(commands.GET_ASSERTION) + b"\x81\x01", False),
        (request(commands.CLIENT_PIN) + b"\x81\x06", False),
        (request(commands.GET_ASSERTION, {1: "ssh:", 5: ["up"]}), True),
        (request(commands.CLIENT_PIN, {1: 2}), False),
    ],
)
def test_only_what_waits_for_a_person_may_be_answered_with_silence(sent: bytes, expected: bool) -> None:
    assert commands.waits_for_a_person(sent) is expected


@given(st.sampled_from([commands.GET_ASSERTION, commands.CLIENT_PIN]), st.binary())
def test_any_request_is_told(command: int, parameters: bytes) -> None:
    assert commands.waits_for_a_person(bytes([command]) + parameters) in (True, False)
