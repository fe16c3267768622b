"""Records of keys that nobody holds, for directories."""

from __future__ import annotations

import base64
import os

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE
from sk_provider.credentials.directory.record import Record, checked


def record(
    user: str,
    algorithm: int = ALGORITHM_ED25519,
    application: str = "ssh:",
    flags: int = FLAG_USER_PRESENCE,
    comment: str = "",
) -> Record:
    """Return a record of a new key."""
    if algorithm == ALGORITHM_ECDSA:
        point = ec.generate_private_key(ec.SECP256R1()).public_key()
        public_key = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        edwards = ed25519.Ed25519PrivateKey.generate().public_key()
        public_key = edwards.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return checked(user, application, algorithm, public_key, os.urandom(64), flags, comment)


def passkey(kind: str = "es256", *more: bytes, is_bare: bool = False) -> str:
    """Return a passkey of a new key, as SSSD writes it; or is_bare: with x and y alone. more: what follows."""
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
    if kind == "eddsa":
        key = ed25519.Ed25519PrivateKey.generate().public_key()
    elif kind == "rs256":
        key = rsa.generate_private_key(65537, 2048).public_key()
    else:
        key = ec.generate_private_key(ec.SECP384R1() if kind == "es384" else ec.SECP256R1()).public_key()
    if is_bare:
        content = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    else:
        content = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "passkey:" + ",".join(base64.b64encode(each).decode() for each in (os.urandom(48), content, *more))
