"""The part of CTAP that we speak ourselves: CBOR, framing, getAssertion, and the names that these share."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

# CTAPHID commands, CTAP 2.1 §11.2.9
CTAPHID_MSG = 0x03
CTAPHID_CBOR = 0x10

# authenticatorData flags, WebAuthn §6.1
AUTHDATA_UP = 0x01
AUTHDATA_UV = 0x04
AUTHDATA_AT = 0x40
AUTHDATA_ED = 0x80

# COSE algorithms, RFC 9053
ES256 = -7
EDDSA = -8


def sha256(message: bytes | Buffer) -> bytes:
    """Return the SHA-256 of message, 32 bytes, from the module that costs least to import."""
    try:
        from _sha256 import sha256 as implementation  # type: ignore[import-not-found]  # until Python 3.11
    except ImportError:
        try:
            from _sha2 import sha256 as implementation  # type: ignore[import-not-found]  # since Python 3.12
        except ImportError:
            from hashlib import sha256 as implementation
    digest: bytes = implementation(message).digest()
    return digest
