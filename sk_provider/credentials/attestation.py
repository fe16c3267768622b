"""Whether whoever sent a new key also signed it, by its attestation statement (WebAuthn §8)."""

from __future__ import annotations

from sk_provider.ctap import EDDSA, ES256
from sk_provider.errors import AuthenticatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from fido2.cose import CoseKey
    from fido2.ctap2.base import AttestationResponse
    from fido2.webauthn import AttestationObject, AuthenticatorData

_VERSION = 0xA0  # [0], which a certificate of version 1 leaves out


def verify(attestation: AttestationResponse | AttestationObject, client_data_hash: bytes) -> None:
    """Check the signature of an attestation of the format packed or fido-u2f; "none" has none.

    Who made the authenticator, and whether its certificate is a good one, is the business of whoever gave the
    challenge: as in OpenSSH's own provider, the signature alone decides.

    Raises AuthenticatorError if it does not verify, or if the format is another one.
    """
    if attestation.fmt == "none":
        return
    try:
        message, key = _signed(attestation.fmt, attestation.att_stmt, attestation.auth_data, client_data_hash)
        key.verify(message, attestation.att_stmt["sig"])
    except Exception:  # noqa: BLE001 - the statement is the authenticator's: it says what the libraries stumble over
        raise AuthenticatorError(
            "the authenticator's attestation of the new key does not verify", "try again, or use another authenticator"
        ) from None


def _signed(
    untrusted_format: str,
    untrusted_statement: Mapping[str, object],
    authenticator_data: AuthenticatorData,
    client_data_hash: bytes,
) -> tuple[bytes, CoseKey]:
    """Return what the statement says is signed, and the key that shall have done it. Raises whatever is wrong."""
    from fido2.cose import CoseKey

    credential = authenticator_data.credential_data
    certificates = untrusted_statement.get("x5c")
    if credential is None:
        raise ValueError
    if untrusted_format == "fido-u2f" and isinstance(certificates, list):
        point = b"\x04" + credential.public_key[-2] + credential.public_key[-3]
        message = b"\0" + authenticator_data.rp_id_hash + client_data_hash + credential.credential_id + point
        return message, _key_of(certificates[0], ES256)
    if untrusted_format != "packed":
        raise ValueError
    algorithm = untrusted_statement["alg"]
    if not isinstance(algorithm, int):
        raise TypeError
    message = bytes(authenticator_data) + client_data_hash
    if isinstance(certificates, list):
        return message, _key_of(certificates[0], algorithm)
    if "x5c" in untrusted_statement or credential.public_key.get(3) != algorithm:
        raise ValueError
    return message, CoseKey.parse(credential.public_key)


def _key_of(untrusted_certificate: bytes, algorithm: int) -> CoseKey:
    """Return a certificate's public key; algorithm: COSE's."""
    from fido2.cose import CoseKey

    return CoseKey.for_alg(algorithm).from_cryptography_key(_public_key_of(untrusted_certificate))


def algorithm_of(untrusted_certificate: bytes) -> int:
    """Return COSE's number of the algorithm by which authenticators sign with a certificate's key.

    Raises whatever is wrong with it.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from fido2.cose import ES384, ES512, RS256

    key = _public_key_of(untrusted_certificate)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return EDDSA
    if isinstance(key, rsa.RSAPublicKey):
        return RS256.ALGORITHM
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": ES256, "secp384r1": ES384.ALGORITHM, "secp521r1": ES512.ALGORITHM}[key.curve.name]
    raise ValueError


def _public_key_of(untrusted_certificate: bytes) -> PublicKeyTypes:
    """Return a certificate's public key.

    Authenticators have certificates that strict parsers refuse: of version 1, with serial number 0, with parameters
    where there should be none. So nothing of one is parsed but where its key is (RFC 5280 §4.1).
    """
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    _, certificate, _ = _element(untrusted_certificate)
    _, rest, _ = _element(certificate)
    if rest[0] == _VERSION:
        _, _, rest = _element(rest)
    for _ in ("serialNumber", "signature", "issuer", "validity", "subject"):
        _, _, rest = _element(rest)
    subject_public_key_info, _, _ = _element(rest)
    return load_der_public_key(subject_public_key_info)


def _element(der: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the first element of DER, its content, and what follows it. Raises ValueError or IndexError."""
    start, length = 2, der[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    end = start + length
    if end > len(der):
        raise ValueError
    return der[:end], der[start:end], der[end:]
