"""The keeper whose keys are in a TPM: it never has their private halves, only what the TPM wraps for the store.

Who may use a key is decided by the TPM, by the key's authorization, 32 bytes that are derived anew for each key:

- of a key that needs no user verification, from a seed in its key handle. That is sealed under the store's secret,
  which the TPM unseals for whoever has the store. So such a key signs without a PIN, on this machine, for who can read
  the store; as with the store of the software authenticator, "user verified" is then this process's word alone.
- of a key that needs it for every use (credProtect 3, verify-required), from a secret that X25519 yields for its key
  handle's point, which needs the private half of the store's verification key. The TPM releases that by the PIN alone,
  counts wrong ones, and refuses all PINs after some: a copied store gives no more guesses, elsewhere none. A key can be
  made without the PIN, for that takes the public half. CredRandomWithUV is derived likewise, for every key.

The PIN is the authorization of the one object that has the verification key's private half, and no key handle hangs on
it: another PIN is another object with the same content. An older copy of the store still opens by the PIN of its time.
"""

from __future__ import annotations

import os

from sk_provider.ctap import ES256, sha256, status
from sk_provider.ctap.status import StatusError
from sk_provider.errors import AuthenticatorError, SecurityKeyError, StoreUnusable

from . import key_handle
from .state import SALT_LENGTH, TpmState
from .tss import OtherTpm, WrongAuthorization

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.keeper import Key, Properties
    from sk_provider.authenticator.state import State

    from .tss import Tpm

MAX_COUNTER = (1 << 32) - 1
LEAP = 1 << 20


class TpmKeepers:
    """See keeper.Keepers. What was released is remembered until forget()."""

    def __init__(self, tpm: Tpm, path: str, renewal: str) -> None:
        """path: the store's; renewal: what a person does to begin anew, where the TPM has forgotten the store."""
        self.tpm = tpm
        self._path = path
        self._renewal = renewal
        # By what was unsealed: the secrets of stores, and by the public half, the private ones of verification keys.
        self._secrets: dict[bytes, bytes] = {}
        self._released: dict[bytes, bytes] = {}
        # The indices of counters that were made, of which the store may not know.
        self._made: list[int] = []

    def __call__(self, state: State) -> TpmKeeper:
        """See keeper.Keepers."""
        if not isinstance(state, TpmState):
            raise TypeError
        return TpmKeeper(self, state)

    def new_state(self) -> TpmState:
        """Make the state of a store that nobody has used yet. Raises SecurityKeyError if the TPM cannot be used."""
        state = TpmState.blank()
        TpmKeeper(self, state).clear()
        return state

    def check(self, state: State) -> None:
        """Raise StoreUnusable if the store is not of this TPM, and SecurityKeyError if the TPM cannot be used."""
        self(state).secret()

    def idle(self) -> None:
        """See keeper.Keepers. What was made for a store that could not be written is deleted from the TPM."""
        self._delete_unknown()
        self.tpm.idle()

    def _delete_unknown(self) -> None:
        made, self._made = self._made, []
        if not made:
            return
        from sk_provider.authenticator.store import Store

        try:
            store = Store.find(self._path, TpmState)
            state = store.read() if store is not None else None
            for index in made:
                if not isinstance(state, TpmState) or state.counter_index != index:
                    self.tpm.undefine_counter(index)
        except (SecurityKeyError, RuntimeError):
            return  # which is told by whatever is asked next

    def forget(self) -> None:
        """See keeper.Keepers."""
        self._secrets.clear()
        self._released.clear()
        self.tpm.close()

    def secret(self, state: TpmState) -> bytes:
        """Return the store's secret, 32 bytes. Raises StoreUnusable if the TPM is not the one that sealed it."""
        if state.secret not in self._secrets:
            try:
                self._secrets[state.secret] = self.tpm.unseal(state.primary_name, state.secret, b"")
            except OtherTpm:
                raise self.other_tpm() from None
            except WrongAuthorization:
                raise self.damaged() from None
        return self._secrets[state.secret]

    def release(self, state: TpmState, pin_hash: bytes) -> bool:
        """Have the TPM release the verification key, and return whether it does: b"" is it where no PIN is set."""
        try:
            private = self.tpm.unseal(state.primary_name, state.pin_object, _pin_authorization(state.pin, pin_hash))
        except WrongAuthorization:
            return False
        except OtherTpm:
            raise self.other_tpm() from None
        self._released[state.verification_key] = private
        return True

    def released(self, state: TpmState) -> bytes | None:
        """Return the verification key's private half, None if it was not released."""
        return self._released.get(state.verification_key)

    def note_counter(self, index: int) -> None:
        """Note that a counter was made, of which the store knows once it is written."""
        self._made.append(index)

    def remember(self, state: TpmState, secret: bytes) -> None:
        """Remember the secret of a store that is made anew."""
        self._secrets[state.secret] = secret

    def other_tpm(self) -> StoreUnusable:
        """Return the error where the TPM cannot open what the store holds."""
        return StoreUnusable(
            f"the TPM is not the one that {self._path} belongs to, or was cleared since",
            f"use its keys on the machine that they were enrolled on; if the TPM was cleared they are lost: "
            f"{self._renewal}",
        )

    def damaged(self) -> StoreUnusable:
        """Return the error where the store holds what the TPM has not made."""
        return StoreUnusable(f"the store {self._path} is damaged", "restore it from a backup")


class TpmKeeper:
    """See keeper.Keeper."""

    __slots__ = ("_keepers", "_state")

    max_credential_id_length = key_handle.MAX_LENGTH

    def __init__(self, keepers: TpmKeepers, state: TpmState) -> None:
        self._keepers = keepers
        self._state = state

    def secret(self) -> bytes:
        """Return the store's secret, 32 bytes."""
        return self._keepers.secret(self._state)

    def make(self, algorithm: int, rp_id_hash: bytes, properties: Properties) -> tuple[bytes, TpmKey]:
        """See keeper.Keeper; the algorithm is ES256."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

        if algorithm != ES256:
            raise StatusError(status.UNSUPPORTED_ALGORITHM)
        secret = self.secret()
        ephemeral = X25519PrivateKey.generate()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self._state.verification_key))
        seed = os.urandom(key_handle.SEED_LENGTH)
        authorization = _authorization(properties.cred_protect, seed, shared)
        try:
            wrapped = self._keepers.tpm.create_key(self._state.primary_name, authorization)
        except OtherTpm:
            raise self._keepers.other_tpm() from None
        content = key_handle.Content(
            properties.cred_protect,
            seed,
            ephemeral.public_key().public_bytes_raw(),
            wrapped,
            discoverable=properties.discoverable,
        )
        credential_id = key_handle.seal(content, self._state.store_id, secret, algorithm, rp_id_hash)
        return credential_id, TpmKey(self._keepers, self._state, content, shared)

    def open(self, untrusted_id: bytes, rp_id_hash: bytes) -> TpmKey | None:
        """See keeper.Keeper."""
        if not key_handle.bears(untrusted_id, self._state.store_id):
            return None
        content = key_handle.unseal(untrusted_id, self.secret(), ES256, rp_id_hash)
        return TpmKey(self._keepers, self._state, content) if content is not None else None

    def attest(self, key: Key, message: bytes) -> dict[str, Any]:
        """See keeper.Keeper: the key itself attests."""
        return {"alg": ES256, "sig": key.sign(message)}

    def count(self) -> int:
        """See keeper.Keeper: in the TPM's NV memory where it can be had, else in the state.

        One that somebody has deleted there is made anew, and goes on far above what the old one can have counted to.
        """
        state, value = self._state, None
        if state.counter_index:
            index, authorization = state.counter_index, state.counter_authorization
            try:
                value = self._keepers.tpm.increment(state.primary_name, index, authorization)
            except OtherTpm:
                raise self._keepers.other_tpm() from None
            if value is None:
                state.counter = min(state.counter + LEAP, MAX_COUNTER)
                try:
                    value = self._define_counter()
                except OtherTpm:
                    raise self._keepers.other_tpm() from None
        if value is None:
            state.counter += 1
            return min(state.counter, MAX_COUNTER)
        return min(state.counter + value - state.counter_start, MAX_COUNTER)

    def _define_counter(self) -> int | None:
        """Make a counter in the TPM, and return its value, None where there is no room or its owner has a password.

        Raises OtherTpm.
        """
        state = self._state
        state.counter_authorization = _without_zeros(os.urandom(32))
        made = self._keepers.tpm.define_counter(state.primary_name, state.counter_authorization)
        if made is not None:
            self._keepers.note_counter(made[0])
        state.counter_index, value = made or (0, None)
        state.counter_start = value or 0
        return value

    def pin_retries(self) -> int:
        """See keeper.Keeper: no wrong PIN may lock the TPM, which other programs use as well."""
        return min(self._state.pin_retries, self._keepers.tpm.tries_left())

    def is_pin(self, pin_hash: bytes) -> bool:
        """See keeper.Keeper."""
        return bool(self._state.pin) and self._keepers.release(self._state, pin_hash)

    def set_pin(self, pin_hash: bytes) -> None:
        """See keeper.Keeper."""
        state, keepers = self._state, self._keepers
        private = keepers.released(state)
        if private is None:
            if state.pin or not keepers.release(state, b""):
                raise StatusError(status.PIN_AUTH_INVALID)
            private = keepers.released(state) or b""
        salt = os.urandom(SALT_LENGTH)
        authorization = _pin_authorization(salt, pin_hash)
        try:
            state.pin_object = keepers.tpm.seal(state.primary_name, private, authorization, is_guarded=True)
        except OtherTpm:
            raise keepers.other_tpm() from None
        state.pin = salt

    def clear(self) -> None:
        """See keeper.Keeper. The counter's index stays."""
        try:
            self._clear()
        except OtherTpm:
            raise AuthenticatorError("the TPM was cleared meanwhile", "try again") from None

    def _clear(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        state, tpm = self._state, self._keepers.tpm
        private = X25519PrivateKey.generate()
        primary_name = tpm.primary_name()
        secret = os.urandom(32)
        sealed = tpm.seal(primary_name, secret, b"", is_guarded=False)
        pin_object = tpm.seal(primary_name, private.private_bytes_raw(), b"", is_guarded=True)
        state.clear_settings()
        state.primary_name, state.secret, state.pin_object = primary_name, sealed, pin_object
        self._keepers.remember(state, secret)
        state.verification_key = private.public_key().public_bytes_raw()
        if not state.counter_index:
            self._define_counter()


class TpmKey:
    """A keeper.Key in the TPM, which is loaded to sign alone."""

    __slots__ = ("_content", "_keepers", "_shared", "_state", "algorithm", "cred_protect", "discoverable")

    def __init__(
        self, keepers: TpmKeepers, state: TpmState, content: key_handle.Content, shared: bytes | None = None
    ) -> None:
        """shared: what X25519 yields, None if it is yet to be asked for."""
        self.algorithm = ES256
        self.cred_protect = content.cred_protect
        self.discoverable = content.discoverable
        self._keepers = keepers
        self._state = state
        self._content = content
        self._shared = shared

    @property
    def cred_random_uv(self) -> bytes:
        """See keeper.Key. Raises StatusError if the PIN has not released it."""
        return _derive(self._content.seed, self._verified(), b"CredRandomWithUV")

    @property
    def cred_random(self) -> bytes:
        """See keeper.Key."""
        return _derive(self._content.seed, b"", b"CredRandomWithoutUV")

    def public_key(self) -> dict[int, Any]:
        """See keeper.Key."""
        x, y = self._keepers.tpm.point(self._content.wrapped)
        return {1: 2, 3: ES256, -1: 1, -2: x, -3: y}

    def sign(self, message: bytes) -> bytes:
        """See keeper.Key. Raises StatusError if it takes the PIN, which has not released it."""
        shared = self._verified() if self.cred_protect == 3 else b""
        authorization = _authorization(self.cred_protect, self._content.seed, shared)
        try:
            return self._keepers.tpm.sign(
                self._state.primary_name, self._content.wrapped, authorization, sha256(message)
            )
        except OtherTpm:
            raise self._keepers.other_tpm() from None
        except WrongAuthorization:
            raise self._keepers.damaged() from None

    def _verified(self) -> bytes:
        """Return the secret that only user verification releases."""
        if self._shared is None:
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

            private = self._keepers.released(self._state)
            if private is None:
                raise StatusError(status.PIN_AUTH_INVALID)
            point = X25519PublicKey.from_public_bytes(self._content.point)
            self._shared = X25519PrivateKey.from_private_bytes(private).exchange(point)
        return self._shared


def _authorization(cred_protect: int, seed: bytes, shared: bytes) -> bytes:
    return _without_zeros(_derive(seed, shared if cred_protect == 3 else b"", b"authorization"))


def _pin_authorization(salt: bytes, pin_hash: bytes) -> bytes:
    """Return the authorization that a PIN is for the TPM, empty where no PIN is set."""
    return _without_zeros(sha256(salt + pin_hash)) if salt else b""


def _without_zeros(authorization: bytes) -> bytes:
    """Return an authorization that does not end in zeros, which the TPM would cut off."""
    return authorization[:-1] + bytes((authorization[-1] | 1,))


def _derive(seed: bytes, shared: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA-256 (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt=None, info=b"pysk " + purpose).derive(seed + shared)
