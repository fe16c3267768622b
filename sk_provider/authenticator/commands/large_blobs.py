"""authenticatorLargeBlobs (CTAP 2.1 §6.10)."""

from __future__ import annotations

from sk_provider.ctap import sha256, status
from sk_provider.ctap.commands import LARGE_BLOBS
from sk_provider.ctap.commands import PERMISSION_LARGE_BLOB_WRITE as PERMISSION
from sk_provider.ctap.status import StatusError

from .parameters import optional

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp

# Room for the rest of a message (§6.10.2).
MESSAGE_OVERHEAD = 64
MIN_ARRAY_LENGTH = 17
CHECKSUM_LENGTH = 16


def large_blobs(power_up: PowerUp, parameters: dict[Any, Any]) -> dict[int, Any] | None:
    """Answer with a part of the serialized large-blob array, or take the next fragment of a new one."""
    count = optional(parameters, 1, int)
    fragment = optional(parameters, 2, bytes)
    offset = optional(parameters, 3, int)
    length = optional(parameters, 4, int)
    pin_uv_auth_param = optional(parameters, 5, bytes)
    version = optional(parameters, 6, int)
    if offset is None or offset < 0 or (count is None) == (fragment is None):
        raise StatusError(status.INVALID_PARAMETER)
    if max(count or 0, len(fragment or b"")) > power_up.profile.max_message_size - MESSAGE_OVERHEAD:
        raise StatusError(status.INVALID_LENGTH)
    if fragment is not None:
        _write(power_up, fragment, offset, length, pin_uv_auth_param, version)
        return None
    array = power_up.store.read().large_blobs
    if count is None or count < 0 or offset > len(array):
        raise StatusError(status.INVALID_PARAMETER)
    if (length, pin_uv_auth_param, version) != (None, None, None):
        raise StatusError(status.INVALID_PARAMETER)
    return {1: array[offset : offset + count]}


def _write(
    power_up: PowerUp,
    fragment: bytes,
    offset: int,
    length: int | None,
    pin_uv_auth_param: bytes | None,
    version: int | None,
) -> None:
    """Append a fragment to the array that is being written, which takes effect once it is whole (§6.10.2)."""
    pending = b""
    if offset == 0:
        if length is None or length < MIN_ARRAY_LENGTH:
            raise StatusError(status.INVALID_PARAMETER)
        if length > power_up.profile.large_blobs:
            raise StatusError(status.LARGE_BLOB_STORAGE_FULL)
    else:
        if length is not None:
            raise StatusError(status.INVALID_PARAMETER)
        length, pending = power_up.pending(LARGE_BLOBS) or (0, b"")
        if offset != len(pending):
            raise StatusError(status.INVALID_SEQ)
    state = power_up.store.read()
    authenticated = power_up.is_protected(state) or power_up.always_uv(state)
    if authenticated:
        if pin_uv_auth_param is None:
            raise StatusError(status.PUAT_REQUIRED)
        message = b"\xff" * 32 + bytes((LARGE_BLOBS, 0)) + offset.to_bytes(4, "little") + sha256(fragment)
        power_up.pin_uv_auth.verify(state, version, message, pin_uv_auth_param, PERMISSION)
    array = pending + fragment
    if len(array) > length:
        raise StatusError(status.INVALID_PARAMETER)
    if len(array) < length:
        power_up.await_continuation(LARGE_BLOBS, 0, [(length, array)], authenticated=authenticated)
        return
    power_up.forget_continuations()
    if sha256(array[:-CHECKSUM_LENGTH])[:CHECKSUM_LENGTH] != array[-CHECKSUM_LENGTH:]:
        raise StatusError(status.INTEGRITY_FAILURE)
    with power_up.transaction() as changed:
        changed.large_blobs = array
