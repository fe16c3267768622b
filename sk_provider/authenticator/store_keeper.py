"""The keeper that has nothing but the store: its secret seals the keys, and its counter and PIN are in there too."""

from __future__ import annotations

import os

from .key_handle import SealingKeeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .keeper import Key
    from .state import State


class StoreKeeper(SealingKeeper):
    """See keeper.Keeper."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        super().__init__(state.store_id, state.secret)
        self._state = state

    def clear(self) -> None:
        """See keeper.Keeper."""
        self._state.clear()

    def attest(self, key: Key, message: bytes) -> dict[str, Any]:  # noqa: ARG002 - the store has a key for all
        """See keeper.Keeper: the statement is by the attestation key, and has its certificate."""
        from sk_provider.ctap import ES256

        from .attestation import attest

        state = self._state
        return {"alg": ES256, "sig": attest(state.attestation_key, message), "x5c": [state.attestation_certificate]}

    def count(self) -> int:
        """See keeper.Keeper."""
        self._state.counter += 1
        return self._state.counter

    def set_pin(self, pin_hash: bytes) -> None:
        """See keeper.Keeper."""
        salt = os.urandom(16)
        self._state.pin = salt + _verifier(salt, pin_hash)

    def pin_retries(self) -> int:
        """See keeper.Keeper: the state alone counts."""
        return self._state.pin_retries

    def is_pin(self, pin_hash: bytes) -> bool:
        """See keeper.Keeper."""
        import hmac

        pin = self._state.pin
        return bool(pin) and hmac.compare_digest(_verifier(pin[:16], pin_hash), pin[16:])


class StoreKeepers:
    """See keeper.Keepers; there is nothing to hold, nor to forget."""

    __slots__ = ()

    def __call__(self, state: State) -> StoreKeeper:
        """See keeper.Keepers."""
        return StoreKeeper(state)

    def idle(self) -> None:
        """See keeper.Keepers."""

    def forget(self) -> None:
        """See keeper.Keepers."""


def _verifier(salt: bytes, pin_hash: bytes) -> bytes:
    import hashlib

    # Whoever reads the store has the keys, yet not at once the PIN, which a person may use elsewhere too.
    return hashlib.scrypt(pin_hash, salt=salt, n=1 << 12, r=8, p=1, dklen=32)
