"""Discoverable credentials: what the store remembers of one beside its key, which the keeper has."""

from __future__ import annotations

from sk_provider.ctap import sha256
from sk_provider.ctap.cbor import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import State

# Bytes of UTF-8, the least that WebAuthn allows.
MAX_NAME_LENGTH = 64


class ResidentCredential:
    """A discoverable credential.

    credential_id: the credential ID.
    rp: the PublicKeyCredentialRpEntity, with id and perhaps name.
    user: the PublicKeyCredentialUserEntity, with id and perhaps name and displayName.
    serial: grows from one credential to the next, and tells their order.
    cred_blob: the credBlob, None if there is none (CTAP 2.1 §12.2).
    large_blob_key: 32 bytes, None if there is none (CTAP 2.1 §12.3).
    """

    __slots__ = ("cred_blob", "credential_id", "large_blob_key", "rp", "serial", "user")

    def __init__(
        self,
        credential_id: bytes,
        rp: dict[str, str],
        user: dict[str, Any],
        serial: int,
        cred_blob: bytes | None = None,
        large_blob_key: bytes | None = None,
    ) -> None:
        self.credential_id = credential_id
        self.rp = rp
        self.user = user
        self.serial = serial
        self.cred_blob = cred_blob
        self.large_blob_key = large_blob_key

    @property
    def rp_id_hash(self) -> bytes:
        """SHA-256 of the RP id, 32 bytes."""
        return sha256(self.rp["id"].encode())

    def put(self, state: State) -> None:
        """Write the credential into the state."""
        state.credentials[self.credential_id] = encode(
            {
                "rp": self.rp,
                "user": self.user,
                "serial": self.serial,
                "credBlob": self.cred_blob,
                "largeBlobKey": self.large_blob_key,
            }
        )


def shorten(name: str) -> str:
    """Cut a name to what is kept of it, so that every answer fits into a message (WebAuthn §6.4.1)."""
    return name.encode()[:MAX_NAME_LENGTH].decode(errors="ignore")


def find(state: State, credential_id: bytes) -> ResidentCredential | None:
    """Return the record of a credential ID, None if the store holds none."""
    record = state.credentials.get(credential_id)
    if record is None:
        return None
    members = decode(record, canonical=True)
    return ResidentCredential(
        credential_id,
        members["rp"],
        members["user"],
        members["serial"],
        members["credBlob"],
        members["largeBlobKey"],
    )


def newest_first(state: State, rp_id_hash: bytes | None = None) -> list[ResidentCredential]:
    """Return the records of all credentials, or of an RP's, the most recently created first."""
    found = [credential for credential_id in state.credentials if (credential := find(state, credential_id))]
    found.sort(key=lambda credential: -credential.serial)
    return [credential for credential in found if rp_id_hash in (None, credential.rp_id_hash)]
