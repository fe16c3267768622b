"""The extensions of authenticatorMakeCredential (CTAP 2.1 §12)."""

from __future__ import annotations

import os

from sk_provider.ctap import status
from sk_provider.ctap.status import StatusError

from .parameters import optional

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.resident import ResidentCredential
    from sk_provider.authenticator.state import State

MAX_CRED_BLOB_LENGTH = 32

TYPES = {"credBlob": bytes, "credProtect": int, "hmac-secret": bool, "largeBlobKey": bool, "minPinLength": bool}


class CreationExtensions:
    """The extensions' inputs, of the right types; those that the profile does not have are ignored.

    cred_protect: 1, 2 or 3, once check was called.
    """

    __slots__ = ("_inputs", "_rk", "cred_protect")

    cred_protect: int

    def __init__(self, power_up: PowerUp, untrusted_inputs: dict[Any, Any], *, rk: bool) -> None:
        self._inputs = {name: value for name, value in untrusted_inputs.items() if name in power_up.profile.extensions}
        self._rk = rk
        for name, kind in TYPES.items():
            optional(self._inputs, name, kind)

    def check(self) -> None:
        """Check the inputs' values, when it is their turn (§6.1.2, step 15).

        Raises StatusError: INVALID_OPTION.
        """
        self.cred_protect = self._inputs.get("credProtect", 1)
        if self.cred_protect not in (1, 2, 3):
            raise StatusError(status.INVALID_OPTION)
        # §12.3: a largeBlobKey is for discoverable credentials alone.
        if "largeBlobKey" in self._inputs and not (self._inputs["largeBlobKey"] and self._rk):
            raise StatusError(status.INVALID_OPTION)

    def outputs(self, state: State, record: ResidentCredential) -> dict[str, Any]:
        """Return the outputs for the authenticator data, and put into the record what it shall keep."""
        outputs: dict[str, Any] = {}
        if "credProtect" in self._inputs:
            outputs["credProtect"] = self.cred_protect
        if self._inputs.get("hmac-secret"):
            outputs["hmac-secret"] = True
        if "credBlob" in self._inputs:
            blob = self._inputs["credBlob"]
            outputs["credBlob"] = self._rk and len(blob) <= MAX_CRED_BLOB_LENGTH
            record.cred_blob = blob if outputs["credBlob"] else None
        if self._inputs.get("minPinLength") and record.rp["id"] in state.min_pin_length_rp_ids:
            outputs["minPinLength"] = state.min_pin_length
        if "largeBlobKey" in self._inputs:
            record.large_blob_key = os.urandom(32)
        return outputs
