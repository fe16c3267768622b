"""Authenticator data: the bytes that a token signs (WebAuthn §6.1)."""

from __future__ import annotations

from sk_provider.ctap import AUTHDATA_AT, AUTHDATA_ED
from sk_provider.ctap.cbor import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def authenticator_data(
    rp_id_hash: bytes, flags: int, counter: int, attested: bytes = b"", extensions: dict[str, Any] | None = None
) -> bytes:
    """Return authenticator data.

    rp_id_hash: 32 bytes.
    flags: UP and UV; AT and ED follow from what is given.
    counter: the signature counter.
    attested: AAGUID, credential ID with its length, and public key, or nothing.
    extensions: the extensions' outputs.
    """
    if attested:
        flags |= AUTHDATA_AT
    if extensions:
        flags |= AUTHDATA_ED
    data = rp_id_hash + bytes((flags,)) + (counter & 0xFFFFFFFF).to_bytes(4, "big") + attested
    return data + encode(extensions) if extensions else data
