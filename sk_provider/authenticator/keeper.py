"""The keeper of keys: what makes and opens the keys of credentials, and alone has their private halves and the PIN."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import State


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
    """

    algorithm: int
    cred_protect: int
    discoverable: bool

    @property
    def cred_random_uv(self) -> bytes:
        """CredRandomWithUV of hmac-secret, 32 bytes (§12.5), which is asked for after user verification alone."""

    @property
    def cred_random(self) -> bytes:
        """CredRandomWithoutUV of hmac-secret, 32 bytes (§12.5)."""

    def public_key(self) -> dict[int, Any]:
        """Return the public key, a COSE map."""

    def sign(self, message: bytes) -> bytes:
        """Return a signature: for ES256 the DER of r and s, for EdDSA 64 bytes."""


class Keeper(Protocol):
    """What keeps keys, with the store in one of its states; it changes that state within a transaction.

    max_credential_id_length: in bytes, of any credential ID that it makes.
    """

    max_credential_id_length: int

    def clear(self) -> None:
        """Forget all but the store's id and the signature counter, and renew the secrets that all keys hang on."""

    def make(self, algorithm: int, rp_id_hash: bytes, properties: Properties) -> tuple[bytes, Key]:
        """Make a key of a COSE algorithm, and return a new credential ID and the key.

        rp_id_hash: SHA-256 of the RP id, 32 bytes.
        """

    def open(self, untrusted_id: bytes, rp_id_hash: bytes) -> Key | None:
        """Return the key of a credential ID; None if this keeper did not make it, for this RP id, since a reset."""

    def attest(self, key: Key, message: bytes) -> dict[str, Any]:
        """Return the statement of a packed attestation of a new key (WebAuthn §8.2), whose signature is of message."""

    def count(self) -> int:
        """Return the next value of the signature counter."""

    def set_pin(self, pin_hash: bytes) -> None:
        """Replace the PIN, which was tried before if there is one.

        pin_hash: the first half of the PIN's SHA-256, 16 bytes.
        """

    def pin_retries(self) -> int:
        """Return how many PINs may be tried. Raises PinBlocked if none may be, for another reason than the state's."""

    def is_pin(self, pin_hash: bytes) -> bool:
        """Return whether this is the PIN. Raises PinBlocked as pin_retries() does."""


class Keepers(Protocol):
    """Where keepers come from, for one power-up of an authenticator."""

    def __call__(self, state: State) -> Keeper:
        """Return the keeper for a store in a state."""

    def idle(self) -> None:
        """Let others have what they can have only while this does not: a lock, a person or a call is awaited next.

        The store holds whatever was written. Raises nothing.
        """

    def forget(self) -> None:
        """Forget what only RAM held."""
