"""The signature algorithms of credentials: their private keys are 32 bytes, their public keys COSE maps."""

from __future__ import annotations

from sk_provider.ctap import EDDSA, ES256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALGORITHMS = (ES256, EDDSA)


def generate(algorithm: int) -> bytes:
    """Make a private key: a P-256 scalar (big-endian) or an Ed25519 seed, 32 bytes."""
    if algorithm == EDDSA:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.generate().private_bytes_raw()
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")


def public_key(algorithm: int, private_key: bytes) -> dict[int, Any]:
    """Return the COSE key that belongs to a private key (32 bytes)."""
    if algorithm == EDDSA:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        seed = Ed25519PrivateKey.from_private_bytes(private_key)
        return {1: 1, 3: EDDSA, -1: 6, -2: seed.public_key().public_bytes_raw()}
    from cryptography.hazmat.primitives.asymmetric import ec

    point = ec.derive_private_key(int.from_bytes(private_key, "big"), ec.SECP256R1()).public_key().public_numbers()
    return {1: 2, 3: ES256, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}


def sign(algorithm: int, private_key: bytes, message: bytes) -> bytes:
    """Sign a message with a private key (32 bytes); return for ES256 the DER of r and s, for EdDSA 64 bytes."""
    if algorithm == EDDSA:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(private_key).sign(message)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.derive_private_key(int.from_bytes(private_key, "big"), ec.SECP256R1())
    return key.sign(message, ec.ECDSA(hashes.SHA256()))
