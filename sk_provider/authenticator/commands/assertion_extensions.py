"""The extensions of authenticatorGetAssertion (CTAP 2.1 §12)."""

from __future__ import annotations

import hmac

from sk_provider.ctap import status
from sk_provider.ctap.status import StatusError

from .parameters import cose_key, optional, required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.keeper import Key
    from sk_provider.authenticator.pin_uv_auth import PinUvAuthProtocol
    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.resident import ResidentCredential


class AssertionExtensions:
    """The extensions' inputs, of the right types; those that the profile does not have are ignored.

    wants_large_blob_key: whether the answer shall hold the credential's largeBlobKey.
    """

    __slots__ = ("_inputs", "_protocol", "_salts", "_secret", "wants_large_blob_key")

    _protocol: PinUvAuthProtocol
    _secret: bytes

    def __init__(self, power_up: PowerUp, untrusted_inputs: dict[Any, Any]) -> None:
        self._inputs = {name: value for name, value in untrusted_inputs.items() if name in power_up.profile.extensions}
        optional(self._inputs, "credBlob", bool)
        self.wants_large_blob_key = optional(self._inputs, "largeBlobKey", bool) or False
        self._salts = b""
        hmac_secret = optional(self._inputs, "hmac-secret", dict)
        if hmac_secret is not None:
            cose_key(hmac_secret, 1)
            required(hmac_secret, 2, bytes)
            required(hmac_secret, 3, bytes)
            optional(hmac_secret, 4, int)

    def check(self, power_up: PowerUp, up: bool) -> None:
        """Check the inputs' values, when it is their turn (§6.2.2, step 10).

        Raises StatusError: INVALID_OPTION, UNSUPPORTED_OPTION, or what is wrong with hmac-secret's salts.
        """
        if "largeBlobKey" in self._inputs and not self.wants_large_blob_key:
            raise StatusError(status.INVALID_OPTION)
        if "hmac-secret" in self._inputs:
            if not up:
                raise StatusError(status.UNSUPPORTED_OPTION)
            self._read_salts(power_up, self._inputs["hmac-secret"])

    def _read_salts(self, power_up: PowerUp, hmac_secret: dict[Any, Any]) -> None:
        """Read one or two salts, encrypted for us (§12.5)."""
        self._protocol = power_up.pin_uv_auth.protocol(hmac_secret.get(4, 1))
        self._secret = self._protocol.decapsulate(hmac_secret[1])
        if not self._protocol.verify(self._secret, hmac_secret[2], hmac_secret[3]):
            raise StatusError(status.PIN_AUTH_INVALID)
        salts = self._protocol.decrypt(self._secret, hmac_secret[2])
        if salts is None or len(salts) not in (32, 64):
            raise StatusError(status.INVALID_LENGTH)
        self._salts = salts

    def outputs(self, key: Key, record: ResidentCredential | None, verified: bool) -> dict[str, Any]:
        """Return the outputs for the authenticator data of a credential's assertion."""
        outputs: dict[str, Any] = {}
        if self._inputs.get("credBlob"):
            outputs["credBlob"] = (record.cred_blob if record is not None else None) or b""
        if self._salts:
            cred_random = key.cred_random_uv if verified else key.cred_random
            secrets = [
                hmac.digest(cred_random, self._salts[i : i + 32], "sha256") for i in range(0, len(self._salts), 32)
            ]
            outputs["hmac-secret"] = self._protocol.encrypt(self._secret, b"".join(secrets))
        return outputs
