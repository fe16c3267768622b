"""The extensions of authenticatorGetAssertion (CTAP 2.1 section 12)."""

from __future__ import annotations

import hmac

from sk_provider.ctap import status
from sk_provider.ctap.status import StatusError

from .parameters import cose_key, optional, required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .engine import Authenticator
    from .key_handle import KeyHandle
    from .pin_uv_auth import PinUvAuthProtocol
    from .resident import ResidentCredential


class AssertionExtensions:
    """The extensions' inputs, checked; those that the profile does not have are ignored.

    :ivar wants_large_blob_key: whether the answer shall hold the credential's largeBlobKey.
    """

    __slots__ = ("_protocol", "_salts", "_secret", "_wants_cred_blob", "wants_large_blob_key")

    _protocol: PinUvAuthProtocol
    _secret: bytes

    def __init__(self, token: Authenticator, untrusted_inputs: dict[Any, Any], up: bool) -> None:
        inputs = {name: value for name, value in untrusted_inputs.items() if name in token.profile.extensions}
        self._wants_cred_blob = optional(inputs, "credBlob", bool) or False
        self.wants_large_blob_key = optional(inputs, "largeBlobKey", bool) or False
        if "largeBlobKey" in inputs and not self.wants_large_blob_key:
            raise StatusError(status.INVALID_OPTION)
        self._salts = b""
        hmac_secret = optional(inputs, "hmac-secret", dict)
        if hmac_secret is not None:
            if not up:
                raise StatusError(status.UNSUPPORTED_OPTION)
            self._read_salts(token, hmac_secret)

    def _read_salts(self, token: Authenticator, untrusted_input: dict[Any, Any]) -> None:
        """Read one or two salts, encrypted for us (section 12.5)."""
        key_agreement = cose_key(untrusted_input, 1)
        salt_enc = required(untrusted_input, 2, bytes)
        salt_auth = required(untrusted_input, 3, bytes)
        version = optional(untrusted_input, 4, int)
        self._protocol = token.pin_uv_auth.protocol(1 if version is None else version)
        self._secret = self._protocol.decapsulate(key_agreement)
        if not self._protocol.verify(self._secret, salt_enc, salt_auth):
            raise StatusError(status.PIN_AUTH_INVALID)
        salts = self._protocol.decrypt(self._secret, salt_enc)
        if salts is None or len(salts) not in (32, 64):
            raise StatusError(status.INVALID_LENGTH)
        self._salts = salts

    def outputs(self, handle: KeyHandle, record: ResidentCredential | None, verified: bool) -> dict[str, Any]:
        """Compute the outputs for the authenticator data of a credential's assertion."""
        outputs: dict[str, Any] = {}
        if self._wants_cred_blob:
            outputs["credBlob"] = (record.cred_blob if record is not None else None) or b""
        if self._salts:
            key = handle.cred_random_uv if verified else handle.cred_random
            secrets = [hmac.digest(key, self._salts[i : i + 32], "sha256") for i in range(0, len(self._salts), 32)]
            outputs["hmac-secret"] = self._protocol.encrypt(self._secret, b"".join(secrets))
        return outputs
