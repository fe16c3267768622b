"""The members of a request, and the status codes of those that are missing or of the wrong type (CTAP 2.1 §8.2)."""

from __future__ import annotations

from sk_provider.ctap import status
from sk_provider.ctap.status import StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")


def optional(untrusted_map: dict[Any, Any], key: int | str, kind: type[T]) -> T | None:
    """Return a member, None if it is not there.

    Raises StatusError: CBOR_UNEXPECTED_TYPE.
    """
    if key not in untrusted_map:
        return None
    value = untrusted_map[key]
    if type(value) is not kind:  # exactly: true is no integer
        raise StatusError(status.CBOR_UNEXPECTED_TYPE)
    return value


def required(untrusted_map: dict[Any, Any], key: int | str, kind: type[T]) -> T:
    """Return a member that must be there.

    Raises StatusError: MISSING_PARAMETER or CBOR_UNEXPECTED_TYPE.
    """
    value = optional(untrusted_map, key, kind)
    if value is None:
        raise StatusError(status.MISSING_PARAMETER)
    return value


def client_data_hash(untrusted_map: dict[Any, Any], key: int) -> bytes:
    """Return the clientDataHash, 32 bytes.

    Raises StatusError as required() does, and INVALID_LENGTH.
    """
    value = required(untrusted_map, key, bytes)
    if len(value) != 32:
        raise StatusError(status.INVALID_LENGTH)
    return value


def descriptors(untrusted_map: dict[Any, Any], key: int, limit: int) -> list[bytes] | None:
    """Return the credential IDs of the public keys in a list of PublicKeyCredentialDescriptors (WebAuthn §5.8.3).

    Return None if the list is not there, and for an empty one, as if it were not there. Raises StatusError:
    MISSING_PARAMETER, CBOR_UNEXPECTED_TYPE, or LIMIT_EXCEEDED if there are more than the limit.
    """
    untrusted_list = optional(untrusted_map, key, list)
    if not untrusted_list:
        return None
    if len(untrusted_list) > limit:
        raise StatusError(status.LIMIT_EXCEEDED)
    ids = []
    for item in untrusted_list:
        credential_id = descriptor(item)
        if credential_id is not None:
            ids.append(credential_id)
    return ids


def descriptor(untrusted_item: object) -> bytes | None:
    """Return the credential ID of a PublicKeyCredentialDescriptor, None if it is not a public key's.

    Raises StatusError: MISSING_PARAMETER or CBOR_UNEXPECTED_TYPE.
    """
    if type(untrusted_item) is not dict:
        raise StatusError(status.CBOR_UNEXPECTED_TYPE)
    kind = required(untrusted_item, "type", str)
    credential_id = required(untrusted_item, "id", bytes)
    return credential_id if kind == "public-key" else None


def cose_key(untrusted_map: dict[Any, Any], key: int) -> dict[Any, Any]:
    """Return the COSE key of a platform (§6.5.6), of which nothing but the members' types is checked.

    Raises StatusError: MISSING_PARAMETER or CBOR_UNEXPECTED_TYPE.
    """
    untrusted_key = required(untrusted_map, key, dict)
    for member, kind in ((1, int), (3, int), (-1, int), (-2, bytes), (-3, bytes)):
        optional(untrusted_key, member, kind)
    return untrusted_key


def options(untrusted_map: dict[Any, Any], key: int) -> dict[str, bool]:
    """Return those of the options map that are understood.

    Raises StatusError: CBOR_UNEXPECTED_TYPE, if one that is understood is not a boolean.
    """
    untrusted_options = optional(untrusted_map, key, dict) or {}
    return {
        name: value for name in ("rk", "up", "uv") if (value := optional(untrusted_options, name, bool)) is not None
    }
