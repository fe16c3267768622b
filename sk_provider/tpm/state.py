"""What the store of keys in a TPM holds: what any store does, with the secrets as only the TPM can open them."""

from __future__ import annotations

import os

from sk_provider.authenticator.state import State

SALT_LENGTH = 16
NAME_LENGTH = 34
"""Of a name in the TPM: two bytes for SHA-256, and the hash."""


class TpmState(State):
    """What a store holds.

    primary_name: the name of the storage primary key below which the TPM wraps all that follows, and the keys.
    secret: the secret that seals key handles, sealed by the TPM for whoever has the store.
    pin: empty, or 16 bytes that are drawn anew with each PIN: the salt of pin_object's authorization.
    pin_object: verification_key's private half, sealed by the TPM for whoever knows the PIN, which is empty if none is
        set; the TPM protects it against guessing.
    verification_key: the X25519 public key to which what needs user verification is bound.
    counter_index: the index of the signature counter in the TPM's NV memory, 0 if there is none.
    counter_authorization: that counter's, 32 bytes; a reset changes neither.
    counter: the signature counter, or what it was when that in the TPM began to count from counter_start.
    """

    __slots__ = (
        "counter_authorization",
        "counter_index",
        "counter_start",
        "pin_object",
        "primary_name",
        "verification_key",
    )

    MEMBERS = {  # noqa: RUF012 - a table
        **State.MEMBERS,
        "counter_authorization": bytes,
        "counter_index": int,
        "counter_start": int,
        "pin_object": bytes,
        "primary_name": bytes,
        "verification_key": bytes,
    }

    counter_authorization: bytes
    counter_index: int
    counter_start: int
    pin_object: bytes
    primary_name: bytes
    verification_key: bytes

    @classmethod
    def blank(cls) -> TpmState:
        """Return a state whose secrets are yet to be made."""
        state = cls()
        state.store_id = os.urandom(16)
        state.counter = 0
        state.counter_authorization = b""
        state.counter_index = 0
        state.counter_start = 0
        state.attestation_key = state.attestation_certificate = b""
        state.clear_settings()
        return state

    def has_right_lengths(self) -> bool:
        """See State."""
        return (
            len(self.store_id) == SALT_LENGTH
            and len(self.pin) in (0, SALT_LENGTH)
            and len(self.primary_name) == NAME_LENGTH
            and len(self.verification_key) == 32
            and 0 <= self.counter_index < 1 << 32
            and min(self.counter, self.counter_start) >= 0
        )
