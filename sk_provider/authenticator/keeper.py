"""The keeper of keys: what makes the keys of credentials and opens them, and alone has their private halves."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Properties:
    """What a credential's key is made with, and is bound to.

    cred_protect: 1, 2 or 3, the credProtect level (CTAP 2.1 §12.1).
    discoverable: whether the credential exists only as long as the store holds a record of it.
    """

    __slots__ = ("cred_protect", "discoverable")

    def __init__(self, cred_protect: int, *, discoverable: bool) -> None:
        self.cred_protect = cred_protect
        self.discoverable = discoverable


class Key(Protocol):
    """The key of a credential.

    algorithm: COSE's.
    cred_protect, discoverable: its Properties.
    cred_random_uv, cred_random: CredRandomWithUV and CredRandomWithoutUV of hmac-secret, 32 bytes each (§12.5).
    """

    algorithm: int
    cred_protect: int
    discoverable: bool
    cred_random_uv: bytes
    cred_random: bytes

    def public_key(self) -> dict[int, Any]:
        """Return the public key, a COSE map."""

    def sign(self, message: bytes) -> bytes:
        """Return a signature: for ES256 the DER of r and s, for EdDSA 64 bytes."""


class Keeper(Protocol):
    """What keeps keys.

    max_credential_id_length: in bytes, of any credential ID that it makes.
    """

    max_credential_id_length: int

    def make(self, algorithm: int, rp_id_hash: bytes, properties: Properties) -> tuple[bytes, Key]:
        """Make a key of a COSE algorithm, and return a new credential ID and the key.

        rp_id_hash: SHA-256 of the RP id, 32 bytes.
        """

    def open(self, untrusted_id: bytes, rp_id_hash: bytes) -> Key | None:
        """Return the key of a credential ID; None if this keeper did not make it, for this RP id, since a reset."""
