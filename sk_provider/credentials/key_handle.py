"""Key handles, which authenticators make as credential IDs, and which nobody else can read."""

from __future__ import annotations

from sk_provider.ctap import sha256


def digest(key_handle: bytes) -> str:
    """Return what names a key where a person or a record needs a name: the first 16 hex digits of its SHA-256."""
    return sha256(key_handle).hex()[:16]
