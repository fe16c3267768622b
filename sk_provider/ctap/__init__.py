"""CTAP: the numbers of both sides, CBOR, framing and APDUs, and the requests that a signature makes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

# authenticatorData flags, WebAuthn §6.1
AUTHDATA_UP = 0x01
AUTHDATA_UV = 0x04
AUTHDATA_AT = 0x40
AUTHDATA_ED = 0x80

# COSE algorithms, RFC 9053
ES256 = -7
EDDSA = -8

MAX_ENTRIES = 1000
"""More than any authenticator has in a list of resident keys or of assertions."""


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
