"""The PIN/UV auth protocols and the pinUvAuthTokens of a power-up (CTAP 2.1 §6.5.2 to §6.5.7)."""

from __future__ import annotations

import hashlib
import hmac
import os

from sk_provider.ctap import commands, status
from sk_provider.ctap.status import StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from .profiles import Profile
    from .state import State

# COSE's ECDH-ES + HKDF-256, which a key agreement key names although neither protocol is that (§6.5.6).
KEY_AGREEMENT_ALGORITHM = -25

# §6.5.2.1, in seconds.
INITIAL_USAGE_LIMIT = 30.0
USER_PRESENT_LIMIT = 30.0
MAX_USAGE_PERIOD = 600.0


class PinUvAuthProtocol:
    """One of the PIN/UV auth protocols (§6.5.6 and §6.5.7): its key agreement key and its pinUvAuthToken.

    version: 1 or 2.
    pin_uv_auth_token: 32 bytes.
    """

    __slots__ = ("_key", "pin_uv_auth_token", "version")

    _key: EllipticCurvePrivateKey

    def __init__(self, version: int) -> None:
        self.version = version
        self.regenerate()
        self.pin_uv_auth_token = os.urandom(32)

    def regenerate(self) -> None:
        """Make a new key agreement key."""
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())

    def public_key(self) -> dict[int, Any]:
        """Return the COSE key that a platform agrees on a secret with."""
        point = self._key.public_key().public_numbers()
        return {
            1: 2,
            3: KEY_AGREEMENT_ALGORITHM,
            -1: 1,
            -2: point.x.to_bytes(32, "big"),
            -3: point.y.to_bytes(32, "big"),
        }

    def decapsulate(self, untrusted_key: dict[Any, Any]) -> bytes:
        """Return the secret shared with a platform: 32 bytes in protocol 1; 64 in protocol 2, the HMAC and AES keys.

        untrusted_key: the platform's COSE key, as parameters.cose_key() returns it.

        Raises StatusError: INVALID_PARAMETER if the key is no point of P-256.
        """
        from cryptography.hazmat.primitives.asymmetric import ec

        x, y = untrusted_key.get(-2, b""), untrusted_key.get(-3, b"")
        if (untrusted_key.get(1), untrusted_key.get(3), untrusted_key.get(-1)) != (2, KEY_AGREEMENT_ALGORITHM, 1):
            raise StatusError(status.INVALID_PARAMETER)
        if len(x) != 32 or len(y) != 32:
            raise StatusError(status.INVALID_PARAMETER)
        numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        try:
            z = self._key.exchange(ec.ECDH(), numbers.public_key())
        except ValueError:
            raise StatusError(status.INVALID_PARAMETER) from None
        if self.version == 1:
            return hashlib.sha256(z).digest()
        return _hkdf(z, b"CTAP2 HMAC key") + _hkdf(z, b"CTAP2 AES key")

    def encrypt(self, secret: bytes, plaintext: bytes) -> bytes:
        """Encrypt what is a multiple of 16 bytes long; protocol 2 puts its IV (16 bytes) in front."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        iv = bytes(16) if self.version == 1 else os.urandom(16)
        encryptor = Cipher(algorithms.AES(secret[-32:]), modes.CBC(iv)).encryptor()
        ciphertext = encryptor.update(plaintext) + encryptor.finalize()
        return ciphertext if self.version == 1 else iv + ciphertext

    def decrypt(self, secret: bytes, untrusted_ciphertext: bytes) -> bytes | None:
        """Return the plaintext, None if the length is not that of a ciphertext."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        iv = bytes(16)
        if self.version == 2:
            iv, untrusted_ciphertext = untrusted_ciphertext[:16], untrusted_ciphertext[16:]
        if len(iv) != 16 or len(untrusted_ciphertext) % 16:
            return None
        decryptor = Cipher(algorithms.AES(secret[-32:]), modes.CBC(iv)).decryptor()
        return decryptor.update(untrusted_ciphertext) + decryptor.finalize()

    def verify(self, key: bytes, message: bytes, untrusted_signature: bytes) -> bool:
        """Return whether an HMAC, of 16 bytes in protocol 1 and 32 in protocol 2, is that of a message.

        key: a shared secret or a pinUvAuthToken.
        """
        signature = hmac.digest(key[:32], message, "sha256")
        return hmac.compare_digest(signature[:16] if self.version == 1 else signature, untrusted_signature)


class PinUvAuth:
    """The PIN/UV auth protocols of a power-up, and what the one pinUvAuthToken in use permits (§6.5.2.1)."""

    __slots__ = (
        "_ask",
        "_clock",
        "_first_used",
        "_in_use",
        "_is_protected",
        "_permissions",
        "_pin",
        "_profile",
        "_rp_id",
        "_started",
        "_user_present",
        "_user_verified",
        "_version",
        "protocols",
    )

    def __init__(
        self,
        profile: Profile,
        clock: Callable[[], float],
        ask: Callable[[str], None],
        is_protected: Callable[[State], bool],
    ) -> None:
        """Power up, with a new key and a new pinUvAuthToken for each protocol.

        clock: returns seconds that only grow.
        ask: waits for a person's presence, for an action, or raises StatusError.
        is_protected: returns whether there is some form of user verification.
        """
        self._profile = profile
        self._clock = clock
        self._ask = ask
        self._is_protected = is_protected
        self.protocols = {version: PinUvAuthProtocol(version) for version in profile.pin_protocols}
        self._version = 0
        self._started = 0.0
        self._pin = b""
        self.stop_using()

    def check_parameters(self, state: State, pin_uv_auth_param: bytes, version: int | None) -> None:
        """Do what makeCredential and getAssertion begin with if there is a pinUvAuthParam (§6.1.2, steps 1, 2).

        Raises StatusError for an empty one, which only asks for a touch: PIN_INVALID or PIN_NOT_SET; MISSING_PARAMETER
        or INVALID_PARAMETER if the protocol is missing or none of ours.
        """
        if not pin_uv_auth_param:
            self._ask("select")
            raise StatusError(status.PIN_INVALID if state.pin else status.PIN_NOT_SET)
        self.protocol(version)

    def protocol(self, version: int | None) -> PinUvAuthProtocol:
        """Return the protocol that a request names.

        Raises StatusError: MISSING_PARAMETER or INVALID_PARAMETER.
        """
        if version is None:
            raise StatusError(status.MISSING_PARAMETER)
        if version not in self.protocols:
            raise StatusError(status.INVALID_PARAMETER)
        return self.protocols[version]

    def stop_using(self) -> None:
        """End the use of the pinUvAuthToken in use: stopUsingPinUvAuthToken."""
        self._in_use = False
        self._permissions = 0
        self._rp_id: str | None = None
        self._user_present = False
        self._user_verified = False
        self._first_used = False

    def reset_pin_uv_auth_tokens(self) -> None:
        """Make new pinUvAuthTokens, none of them in use: resetPinUvAuthToken for all protocols."""
        self.stop_using()
        for protocol in self.protocols.values():
            protocol.pin_uv_auth_token = os.urandom(32)

    def issue(self, state: State, version: int, permissions: int, rp_id: str | None, *, present: bool = False) -> bytes:
        """Begin the use of a new pinUvAuthToken, and return it, 32 bytes: beginUsingPinUvAuthToken.

        That of CTAP 2.0 is the same until power-down (CTAP 2.0 §5.5.2).

        state: the state under whose PIN it holds; another PIN ends it.
        present: whether the user's presence was established as well.
        """
        if self._profile.pin_uv_auth_token:
            self.reset_pin_uv_auth_tokens()
        self._in_use = True
        self._version = version
        self._started = self._clock()
        self._permissions = permissions
        self._rp_id = rp_id
        self._user_present = present
        self._user_verified = True
        self._pin = state.pin
        return self.protocols[version].pin_uv_auth_token

    def verify(
        self,
        state: State,
        version: int | None,
        message: bytes,
        pin_uv_auth_param: bytes,
        permission: int,
        rp_id: str | None = None,
    ) -> None:
        """Check that a request is authenticated by a pinUvAuthToken which permits it.

        rp_id: for makeCredential and getAssertion, which need the user verified: the RP id that the request is about.
            A pinUvAuthToken that is bound to no RP id is bound to it from now on.

        Raises StatusError: PIN_AUTH_INVALID, or as protocol() does; for makeCredential and getAssertion PIN_NOT_SET if
        there is nothing that a pinUvAuthToken could have been given out for.
        """
        protocol = self.protocol(version)
        if rp_id is not None and not self._is_protected(state):
            raise StatusError(status.PIN_NOT_SET)
        self._expire()
        if not (
            self._in_use
            and self._version == version
            and self._pin == state.pin
            and protocol.verify(protocol.pin_uv_auth_token, message, pin_uv_auth_param)
            and self._permissions & permission
            and (rp_id is None or (self._user_verified and self._rp_id in (None, rp_id)))
        ):
            raise StatusError(status.PIN_AUTH_INVALID)
        self._first_used = True
        if rp_id is not None and self._profile.pin_uv_auth_token:
            self._rp_id = rp_id

    @property
    def rp_id(self) -> str | None:
        """The RP id that the pinUvAuthToken in use is bound to."""
        return self._rp_id

    @property
    def user_present(self) -> bool:
        """Whether the user's presence is established by the pinUvAuthToken: getUserPresentFlagValue."""
        self._expire()
        return self._user_present

    @property
    def end(self) -> float:
        """When the pinUvAuthToken in use ends at the latest, by the authenticator's clock."""
        return self._started + MAX_USAGE_PERIOD if self._profile.pin_uv_auth_token else float("inf")

    def clear_after_use(self) -> None:
        """Let the pinUvAuthToken serve no second ceremony.

        clearUserPresentFlag, clearUserVerifiedFlag and clearPinUvAuthTokenPermissionsExceptLbw.
        """
        if self._profile.pin_uv_auth_token:  # those of CTAP 2.0 serve until power-down
            self._user_present = False
            self._user_verified = False
            self._permissions &= commands.PERMISSION_LARGE_BLOB_WRITE

    def _expire(self) -> None:
        """Do what the pinUvAuthTokenUsageTimerObserver does (§6.5.2.1), at the moment when it matters."""
        if not self._in_use or not self._profile.pin_uv_auth_token:
            return
        age = self._clock() - self._started
        if age > USER_PRESENT_LIMIT:
            self._user_present = False
        if self._clock() > self.end or (age > INITIAL_USAGE_LIMIT and not self._first_used):
            self.stop_using()


def _hkdf(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA-256 with a salt of 32 zero bytes (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt=bytes(32), info=info).derive(secret)
