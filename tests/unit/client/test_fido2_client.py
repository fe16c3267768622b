"""What python-fido2 is spared of a hostile token's answers, and what it says of the others."""

from __future__ import annotations

import pytest
from support import answering

from sk_provider.client import u2f
from sk_provider.client.fido2_client import open_ctap2
from sk_provider.client.token import Token
from sk_provider.ctap import cbor
from sk_provider.errors import AuthenticatorError
from sk_provider.operation import Operation

AAGUID = bytes(16)
ADDRESS = "unix:/answering"


def test_a_sound_answer_is_understood() -> None:
    ctap2 = open_ctap2(Token(answering.Token(b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: AAGUID})), ADDRESS), Operation(5))
    assert ctap2.info.versions == ["FIDO_2_1"]


@pytest.mark.parametrize(
    "untrusted_answer",
    [
        b"",
        b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: 1 << 40}),  # which python-fido2 makes as many zeros of
        b"\0" + b"\x81" * 5000,  # nested too deeply for a recursive reader
        b"\0\xa1\x01",
        b"\0\x01",
    ],
)
def test_an_answer_that_would_harm_is_refused_before_it_is_read(untrusted_answer: bytes) -> None:
    with pytest.raises(AuthenticatorError):
        open_ctap2(Token(answering.Token(untrusted_answer), ADDRESS), Operation(5))


@pytest.mark.parametrize("answer", [{1: {}, 2: 1 << 40, 3: b""}, {1: {}, 2: b"", 3: 1 << 40}])
def test_a_number_for_a_byte_string_is_refused_in_an_assertion(answer: dict[object, object]) -> None:
    token = answering.Token(b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: AAGUID}))
    ctap2 = open_ctap2(Token(token, ADDRESS), Operation(5))
    token.answer = b"\0" + cbor.encode(answer)
    with pytest.raises(AuthenticatorError):
        ctap2.get_assertion("ssh:", bytes(32))


def test_a_number_for_authenticator_data_is_refused_in_a_new_credential() -> None:
    token = answering.Token(b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: AAGUID}))
    ctap2 = open_ctap2(Token(token, ADDRESS), Operation(5))
    token.answer = b"\0" + cbor.encode({1: "none", 2: 1 << 40, 3: {}})
    with pytest.raises(AuthenticatorError):
        ctap2.make_credential(bytes(32), {"id": "ssh:"}, {"id": b"u"}, [{"type": "public-key", "alg": -7}])


@pytest.mark.parametrize("untrusted_answer", [b"", b"\0", b"\0\x90\x00", b"\1\0\0\x90\x00"])
def test_a_u2f_answer_that_is_cut_short_is_one_of_our_errors(untrusted_answer: bytes) -> None:
    with pytest.raises(AuthenticatorError):
        u2f.holds_key(Token(answering.Token(untrusted_answer, 0), ADDRESS), "ssh:", b"key", Operation(5))
