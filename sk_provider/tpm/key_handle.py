"""What a key handle (credential ID) of a key in a TPM holds; keeper.py says what the key's authorization is made of.

The format is written into people's key files and permanent:

    "ptpm" (4) | version 1 (1) | store id (16) | nonce (12) | AES-256-GCM(secret, nonce, plaintext, associated data)
    plaintext: properties (1) | seed (32) | X25519 public key (32) | TPM2B_PUBLIC | TPM2B_PRIVATE
    associated data: version (1) | COSE algorithm (4, signed, big-endian) | SHA-256(RP id) (32)

The last two are the key as TPM2_Load takes it, below the storage primary key. Sealed as a whole, a key handle tells
nothing of itself: a bare TPM2B_PUBLIC has the public key.
"""

from __future__ import annotations

import os

MARK = b"ptpm"
VERSION = 1
HEADER_LENGTH = 4 + 1 + 16
NONCE_LENGTH = 12
SEED_LENGTH = 32
POINT_LENGTH = 32
MAX_LENGTH = 640
"""Of a whole key handle, in bytes: a TPM whose wrapped private keys are longer than any known one's still fits."""

# The properties byte: the credProtect level (CTAP 2.1 §12.1) and whether the store must still hold a record.
CRED_PROTECT_MASK = 0x03
DISCOVERABLE = 0x80


class Content:
    """What a key handle holds sealed.

    cred_protect, discoverable: see keeper.Properties.
    seed: 32 random bytes.
    point: an X25519 public key, 32 bytes.
    wrapped: the key, as Tpm.create_key() returns it.
    """

    __slots__ = ("cred_protect", "discoverable", "point", "seed", "wrapped")

    def __init__(self, cred_protect: int, seed: bytes, point: bytes, wrapped: bytes, *, discoverable: bool) -> None:
        self.cred_protect = cred_protect
        self.discoverable = discoverable
        self.seed = seed
        self.point = point
        self.wrapped = wrapped


def store_id_of(credential_id: bytes) -> bytes | None:
    """Return the id (16 bytes) of the store that a key handle names; None if it does not bear the mark."""
    if len(credential_id) < HEADER_LENGTH or credential_id[:4] != MARK:
        return None
    return credential_id[5:HEADER_LENGTH]


def bears(credential_id: bytes, store_id: bytes) -> bool:
    """Return whether a key handle is of this version, and names this store."""
    return credential_id.startswith(MARK + bytes((VERSION,)) + store_id)


def seal(content: Content, store_id: bytes, secret: bytes, algorithm: int, rp_id_hash: bytes) -> bytes:
    """Return the key handle of a key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    properties = bytes((content.cred_protect | (DISCOVERABLE if content.discoverable else 0),))
    plaintext = properties + content.seed + content.point + content.wrapped
    nonce = os.urandom(NONCE_LENGTH)
    sealed = AESGCM(secret).encrypt(nonce, plaintext, _associated_data(algorithm, rp_id_hash))
    return MARK + bytes((VERSION,)) + store_id + nonce + sealed


def unseal(untrusted_id: bytes, secret: bytes, algorithm: int, rp_id_hash: bytes) -> Content | None:
    """Return what a key handle that bears the store's id holds; None if it was not sealed by this secret."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, sealed = untrusted_id[HEADER_LENGTH:][:NONCE_LENGTH], untrusted_id[HEADER_LENGTH + NONCE_LENGTH :]
    if len(untrusted_id) > MAX_LENGTH or len(sealed) < 1 + SEED_LENGTH + POINT_LENGTH:
        return None
    try:
        plaintext = AESGCM(secret).decrypt(nonce, sealed, _associated_data(algorithm, rp_id_hash))
    except InvalidTag:
        return None
    seed, point = plaintext[1 : 1 + SEED_LENGTH], plaintext[1 + SEED_LENGTH :][:POINT_LENGTH]
    return Content(
        plaintext[0] & CRED_PROTECT_MASK,
        seed,
        point,
        plaintext[1 + SEED_LENGTH + POINT_LENGTH :],
        discoverable=bool(plaintext[0] & DISCOVERABLE),
    )


def _associated_data(algorithm: int, rp_id_hash: bytes) -> bytes:
    return bytes((VERSION,)) + algorithm.to_bytes(4, "big", signed=True) + rp_id_hash
