"""The store's keeper of keys: each credential ID (key handle) carries its private key, sealed under the store's secret.

The format is written into people's key files and permanent:

    "pysk" (4) | version 1 (1) | store id (16) | nonce (12) | AES-256-GCM(secret, nonce, plaintext, associated data)
    plaintext: private key (32) | properties (1) | CredRandomWithUV (32) | CredRandomWithoutUV (32)
    associated data: version (1) | COSE algorithm (4, signed, big-endian) | SHA-256(RP id) (32)
"""

from __future__ import annotations

import os

from . import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .keeper import Properties

MARK = b"pysk"
VERSION = 1
HEADER_LENGTH = 4 + 1 + 16
LENGTH = HEADER_LENGTH + 12 + 32 + 1 + 32 + 32 + 16

# The properties byte: the credProtect level (CTAP 2.1 §12.1) and whether the store must still hold a record.
CRED_PROTECT_MASK = 0x03
DISCOVERABLE = 0x80


def store_id_of(credential_id: bytes) -> bytes | None:
    """Return the id (16 bytes) of the store that a key handle names; None if it does not bear the mark."""
    if len(credential_id) < HEADER_LENGTH or credential_id[:4] != MARK:
        return None
    return credential_id[5:HEADER_LENGTH]


class SealingKeeper:
    """A keeper.Keeper that has nothing to remember but a store's id (16 bytes) and its secret (32 bytes)."""

    __slots__ = ("_header", "_secret")

    max_credential_id_length = LENGTH

    def __init__(self, store_id: bytes, secret: bytes) -> None:
        self._header = MARK + bytes((VERSION,)) + store_id
        self._secret = secret

    def make(self, algorithm: int, rp_id_hash: bytes, properties: Properties) -> tuple[bytes, SealedKey]:
        """See keeper.Keeper."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        flags = properties.cred_protect | (DISCOVERABLE if properties.discoverable else 0)
        plaintext = keys.generate(algorithm) + bytes((flags,)) + os.urandom(64)
        nonce = os.urandom(12)
        sealed = AESGCM(self._secret).encrypt(nonce, plaintext, _associated_data(algorithm, rp_id_hash))
        return self._header + nonce + sealed, SealedKey(algorithm, plaintext)

    def open(self, untrusted_id: bytes, rp_id_hash: bytes) -> SealedKey | None:
        """See keeper.Keeper; a credential ID does not tell its algorithm."""
        if len(untrusted_id) != LENGTH or not untrusted_id.startswith(self._header):
            return None
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        cipher = AESGCM(self._secret)
        nonce, sealed = untrusted_id[HEADER_LENGTH : HEADER_LENGTH + 12], untrusted_id[HEADER_LENGTH + 12 :]
        for algorithm in keys.ALGORITHMS:
            try:
                plaintext = cipher.decrypt(nonce, sealed, _associated_data(algorithm, rp_id_hash))
            except InvalidTag:
                continue
            return SealedKey(algorithm, plaintext)
        return None


class SealedKey:
    """A keeper.Key that was sealed in its credential ID."""

    __slots__ = ("_private_key", "algorithm", "cred_protect", "cred_random", "cred_random_uv", "discoverable")

    def __init__(self, algorithm: int, plaintext: bytes) -> None:
        self.algorithm = algorithm
        self._private_key = plaintext[:32]
        self.cred_protect = plaintext[32] & CRED_PROTECT_MASK
        self.discoverable = bool(plaintext[32] & DISCOVERABLE)
        self.cred_random_uv = plaintext[33:65]
        self.cred_random = plaintext[65:97]

    def public_key(self) -> dict[int, Any]:
        """See keeper.Key."""
        return keys.public_key(self.algorithm, self._private_key)

    def sign(self, message: bytes) -> bytes:
        """See keeper.Key."""
        return keys.sign(self.algorithm, self._private_key, message)


def _associated_data(algorithm: int, rp_id_hash: bytes) -> bytes:
    return bytes((VERSION,)) + algorithm.to_bytes(4, "big", signed=True) + rp_id_hash
