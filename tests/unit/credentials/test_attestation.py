"""Attestation statements: their signature decides, and certificates are read that strict parsers refuse."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fido2.cose import ES256
from fido2.ctap2 import AttestationResponse
from fido2.webauthn import AttestedCredentialData, AuthenticatorData
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.credentials.attestation import verify
from sk_provider.errors import AuthenticatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Make = Callable[[bytes], AttestationResponse]

CLIENT_DATA_HASH = bytes(range(32))
RP_ID_HASH = hashlib.sha256(b"ssh:").digest()
CREDENTIAL_ID = b"credential"
ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
NULL = b"\x05\0"
AAGUID_EXTENSION = bytes.fromhex("060b2b0601040182e51c010104")

credential_key = ec.generate_private_key(ec.SECP256R1())
attestation_key = ec.generate_private_key(ec.SECP256R1())


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes(2, "big")
    return bytes([tag, 0x82]) + length + content


def certificate(
    public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    *,
    version: int | None = 2,
    serial: bytes = b"\x01",
    parameters: bytes = b"",
    unused_bits: int = 0,
    subject: bytes = b"",
    extensions: bytes = b"",
) -> bytes:
    algorithm = der(0x30, ECDSA_SHA256, parameters)
    tbs = der(
        0x30,
        b"" if version is None else der(0xA0, der(0x02, bytes([version]))),
        der(0x02, serial),
        algorithm,
        der(0x30),
        der(0x30, der(0x17, b"200101000000Z"), der(0x17, b"991231235959Z")),
        der(0x30, subject),
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        extensions,
    )
    return der(0x30, tbs, algorithm, der(0x03, bytes([unused_bits]), b"no signature of anybody"))


def cose_key() -> ES256:
    point = credential_key.public_key().public_numbers()
    return ES256({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})


def authenticator_data() -> AuthenticatorData:
    credential = AttestedCredentialData.create(bytes(16), CREDENTIAL_ID, cose_key())
    flags = AuthenticatorData.FLAG.AT | AuthenticatorData.FLAG.UP
    made: AuthenticatorData = AuthenticatorData.create(RP_ID_HASH, flags, 1, credential)
    return made


def signed(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def packed(
    x5c: bytes | None, key: ec.EllipticCurvePrivateKey = attestation_key, **members: object
) -> AttestationResponse:
    data = authenticator_data()
    statement: dict[str, object] = {"alg": -7, "sig": signed(key, data + CLIENT_DATA_HASH)}
    if x5c is not None:
        statement["x5c"] = [x5c]
    return AttestationResponse("packed", data, statement | members)


def fido_u2f(x5c: bytes) -> AttestationResponse:
    point = credential_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    message = b"\0" + RP_ID_HASH + CLIENT_DATA_HASH + CREDENTIAL_ID + point
    statement = {"sig": signed(attestation_key, message), "x5c": [x5c]}
    return AttestationResponse("fido-u2f", authenticator_data(), statement)


BASIC_CONSTRAINTS = der(0x30, bytes.fromhex("0603551d13"), der(0x04, bytes.fromhex("30030101ff")))
AAGUID = der(0x30, AAGUID_EXTENSION, der(0x04, der(0x04, b"another " * 2)))

CERTIFICATES: dict[str, dict[str, Any]] = {
    "as it should be": {},
    "version 1": {"version": None},
    "serial number 0": {"serial": b"\0"},
    "a negative serial number": {"serial": b"\xff"},
    "NULL parameters": {"parameters": NULL},
    "unused bits in its signature": {"unused_bits": 7},
    "a common name alone": {"subject": der(0x31, der(0x30, bytes.fromhex("0603550403"), der(0x0C, b"a token")))},
    "a certificate authority": {"extensions": der(0xA3, der(0x30, BASIC_CONSTRAINTS))},
    "another AAGUID": {"extensions": der(0xA3, der(0x30, AAGUID))},
}


@pytest.mark.parametrize("form", CERTIFICATES)
@pytest.mark.parametrize("make", [packed, fido_u2f])
def test_a_certificate_is_not_judged_by_its_form(make: Make, form: str) -> None:
    x5c = certificate(attestation_key.public_key(), **CERTIFICATES[form])
    verify(make(x5c), CLIENT_DATA_HASH)


@pytest.mark.parametrize("make", [packed, fido_u2f])
def test_what_the_certificates_key_has_not_signed_is_refused(make: Make) -> None:
    x5c = certificate(credential_key.public_key())
    with pytest.raises(AuthenticatorError, match="does not verify"):
        verify(make(x5c), CLIENT_DATA_HASH)
    with pytest.raises(AuthenticatorError, match="does not verify"):
        verify(make(certificate(attestation_key.public_key())), bytes(32))


def test_without_a_certificate_the_new_key_itself_has_signed() -> None:
    verify(packed(None, credential_key), CLIENT_DATA_HASH)
    with pytest.raises(AuthenticatorError, match="does not verify"):
        verify(packed(None, attestation_key), CLIENT_DATA_HASH)


def test_the_new_keys_own_signature_is_of_its_own_algorithm() -> None:
    with pytest.raises(AuthenticatorError, match="does not verify"):
        verify(packed(None, credential_key, alg=-8), CLIENT_DATA_HASH)


def test_an_ed25519_certificate_signs_too() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    data = authenticator_data()
    statement = {"alg": -8, "sig": key.sign(data + CLIENT_DATA_HASH), "x5c": [certificate(key.public_key())]}
    verify(AttestationResponse("packed", data, statement), CLIENT_DATA_HASH)


@pytest.mark.parametrize(
    "statement",
    [
        {},
        {"alg": -7},
        {"alg": -7, "sig": b""},
        {"alg": -7, "sig": 5},
        {"alg": "ES256", "sig": b"sig"},
        {"alg": 1 << 70, "sig": b"sig"},
        {"alg": -7, "sig": b"sig", "x5c": []},
        {"alg": -7, "sig": b"sig", "x5c": 5},
        {"alg": -7, "sig": b"sig", "x5c": ["text"]},
        {"alg": -7, "sig": b"sig", "x5c": [[48, 0]]},
        {"alg": -7, "sig": b"sig", "x5c": None},
        {"alg": -7, "sig": b"sig", "x5c": [b"\x30\x84"]},
    ],
)
@pytest.mark.parametrize("form", ["packed", "fido-u2f"])
def test_a_statement_that_is_none_is_refused(form: str, statement: dict[str, object]) -> None:
    with pytest.raises(AuthenticatorError, match="does not verify"):
        verify(AttestationResponse(form, authenticator_data(), statement), CLIENT_DATA_HASH)


def test_a_format_that_nobody_here_verifies_is_refused() -> None:
    attestation = packed(None, credential_key)
    with pytest.raises(AuthenticatorError, match="does not verify"):
        verify(AttestationResponse("tpm", attestation.auth_data, attestation.att_stmt), CLIENT_DATA_HASH)


@given(st.integers(0, 180), st.binary(max_size=4))
def test_a_certificate_that_is_cut_short_or_changed_is_refused_and_harms_nothing(at: int, other: bytes) -> None:
    whole = certificate(attestation_key.public_key())
    changed = whole[:at] + other
    with pytest.raises(AuthenticatorError):
        verify(packed(changed), CLIENT_DATA_HASH)
