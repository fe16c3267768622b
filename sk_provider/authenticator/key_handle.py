"""The token's credential IDs (key handles): each carries its private key, sealed under the store's secret.

The format is written into people's key files and permanent:

    "pysk" (4) | version 1 (1) | store id (16) | nonce (12) | AES-256-GCM(secret, nonce, plaintext, associated data)
    plaintext: private key (32) | properties (1) | CredRandomWithUV (32) | CredRandomWithoutUV (32)
    associated data: version (1) | COSE algorithm (4, signed, big-endian) | SHA-256(RP id) (32)
"""

from __future__ import annotations

import os

MARK = b"pysk"
VERSION = 1
HEADER_LENGTH = 4 + 1 + 16
LENGTH = HEADER_LENGTH + 12 + 32 + 1 + 32 + 32 + 16

# The properties byte: the credProtect level (CTAP 2.1 section 12.1) and whether the store must still hold a record.
CRED_PROTECT_MASK = 0x03
DISCOVERABLE = 0x80


class KeyHandle:
    """A credential ID that was opened.

    :ivar credential_id: the sealed bytes.
    :ivar algorithm: the COSE algorithm.
    :ivar private_key: 32 bytes, see keys.py.
    :ivar cred_protect: 1, 2 or 3.
    :ivar discoverable: whether the credential exists only as long as the store holds a record of it.
    :ivar cred_random_uv: CredRandomWithUV (32 bytes), see hmac-secret, CTAP 2.1 section 12.5.
    :ivar cred_random: CredRandomWithoutUV (32 bytes).
    """

    __slots__ = (
        "algorithm",
        "cred_protect",
        "cred_random",
        "cred_random_uv",
        "credential_id",
        "discoverable",
        "private_key",
    )

    def __init__(self, credential_id: bytes, algorithm: int, plaintext: bytes) -> None:
        self.credential_id = credential_id
        self.algorithm = algorithm
        self.private_key = plaintext[:32]
        self.cred_protect = plaintext[32] & CRED_PROTECT_MASK
        self.discoverable = bool(plaintext[32] & DISCOVERABLE)
        self.cred_random_uv = plaintext[33:65]
        self.cred_random = plaintext[65:97]


def store_id_of(credential_id: bytes) -> bytes | None:
    """Tell the id (16 bytes) of the store that a key handle names; None if it does not bear the mark."""
    if len(credential_id) < HEADER_LENGTH or credential_id[:4] != MARK:
        return None
    return credential_id[5:HEADER_LENGTH]


def seal(
    store_id: bytes,
    secret: bytes,
    algorithm: int,
    rp_id_hash: bytes,
    private_key: bytes,
    cred_protect: int,
    discoverable: bool,
) -> KeyHandle:
    """Make a credential ID for a private key (32 bytes), with fresh CredRandoms.

    :param store_id: 16 bytes.
    :param secret: the store's secret, 32 bytes.
    :param rp_id_hash: SHA-256 of the RP id, 32 bytes.
    :param cred_protect: 1, 2 or 3.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    properties = cred_protect | (DISCOVERABLE if discoverable else 0)
    plaintext = private_key + bytes((properties,)) + os.urandom(64)
    nonce = os.urandom(12)
    sealed = AESGCM(secret).encrypt(nonce, plaintext, _associated_data(algorithm, rp_id_hash))
    return KeyHandle(MARK + bytes((VERSION,)) + store_id + nonce + sealed, algorithm, plaintext)


def unseal(
    store_id: bytes, secret: bytes, algorithms: tuple[int, ...], rp_id_hash: bytes, untrusted_id: bytes
) -> KeyHandle | None:
    """Open a credential ID, whose algorithm it does not tell.

    :param store_id: 16 bytes.
    :param secret: the store's secret, 32 bytes.
    :param algorithms: the COSE algorithms to try.
    :param rp_id_hash: SHA-256 of the RP id, 32 bytes.
    :return: None if this store did not make it, for this RP id, since its last reset.
    """
    if len(untrusted_id) != LENGTH or not untrusted_id.startswith(MARK + bytes((VERSION,)) + store_id):
        return None
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(secret)
    nonce, sealed = untrusted_id[HEADER_LENGTH : HEADER_LENGTH + 12], untrusted_id[HEADER_LENGTH + 12 :]
    for algorithm in algorithms:
        try:
            plaintext = cipher.decrypt(nonce, sealed, _associated_data(algorithm, rp_id_hash))
        except InvalidTag:
            continue
        return KeyHandle(untrusted_id, algorithm, plaintext)
    return None


def _associated_data(algorithm: int, rp_id_hash: bytes) -> bytes:
    return bytes((VERSION,)) + algorithm.to_bytes(4, "big", signed=True) + rp_id_hash
