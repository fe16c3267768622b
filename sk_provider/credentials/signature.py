"""Whether a signature is a key's, in the forms that sk-api has for both."""

from __future__ import annotations

from sk_provider.api import ALGORITHM_ED25519


def verifies(algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a public key has signed a message.

    algorithm: sk-api's; public_key: 32 bytes of Ed25519 or 65 of an uncompressed P-256 point; signature: 64 bytes, or
    DER of r and s.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        if algorithm == ALGORITHM_ED25519:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        else:
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import ec

            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
            point.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True
