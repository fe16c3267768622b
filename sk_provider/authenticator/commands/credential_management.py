"""authenticatorCredentialManagement (CTAP 2.1 §6.8), and its prototype 0x41 (§6.13)."""

from __future__ import annotations

from sk_provider.authenticator.resident import ResidentCredential, find, newest_first, shorten
from sk_provider.ctap import sha256, status
from sk_provider.ctap.cbor import encode
from sk_provider.ctap.commands import (
    CREDENTIAL_MANAGEMENT,
    CREDENTIAL_MANAGEMENT_PREVIEW,
    DELETE_CREDENTIAL,
    ENUMERATE_CREDENTIALS_BEGIN,
    ENUMERATE_CREDENTIALS_NEXT,
    ENUMERATE_RPS_BEGIN,
    ENUMERATE_RPS_NEXT,
    GET_CREDS_METADATA,
    UPDATE_USER_INFORMATION,
)
from sk_provider.ctap.commands import PERMISSION_CREDENTIAL_MANAGEMENT as PERMISSION
from sk_provider.ctap.status import StatusError

from .parameters import descriptor, optional, required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.state import State

# The subCommandParams without which a subcommand says MISSING_PARAMETER; the other subcommands take none.
MANDATORY: dict[int, dict[int, type[Any]]] = {
    ENUMERATE_CREDENTIALS_BEGIN: {1: bytes},
    DELETE_CREDENTIAL: {2: dict},
    UPDATE_USER_INFORMATION: {2: dict, 3: dict},
}


def credential_management(power_up: PowerUp, parameters: dict[Any, Any]) -> dict[int, Any] | None:
    """List, delete or rename discoverable credentials."""
    return _manage(power_up, parameters, CREDENTIAL_MANAGEMENT)


def credential_management_preview(power_up: PowerUp, parameters: dict[Any, Any]) -> dict[int, Any] | None:
    """List or delete discoverable credentials, as FIDO_2_1_PRE tokens do."""
    return _manage(power_up, parameters, CREDENTIAL_MANAGEMENT_PREVIEW)


def _manage(power_up: PowerUp, parameters: dict[Any, Any], command: int) -> dict[int, Any] | None:
    subcommand = required(parameters, 1, int)
    if subcommand in (ENUMERATE_RPS_NEXT, ENUMERATE_CREDENTIALS_NEXT):
        answer: dict[int, Any] = power_up.continue_with(command, subcommand)
        return answer
    if subcommand not in (
        GET_CREDS_METADATA,
        ENUMERATE_RPS_BEGIN,
        ENUMERATE_CREDENTIALS_BEGIN,
        DELETE_CREDENTIAL,
        UPDATE_USER_INFORMATION,
    ) or (subcommand == UPDATE_USER_INFORMATION and command == CREDENTIAL_MANAGEMENT_PREVIEW):
        raise StatusError(status.INVALID_SUBCOMMAND)
    state = power_up.store.read()
    arguments = optional(parameters, 2, dict) or {}
    _authenticate(power_up, state, parameters, subcommand, arguments)
    if subcommand == GET_CREDS_METADATA:
        existing = len(state.credentials)
        return {1: existing, 2: max(power_up.profile.max_resident - existing, 0)}
    if subcommand == ENUMERATE_RPS_BEGIN:
        return _enumerate_rps(power_up, state, command)
    if subcommand == ENUMERATE_CREDENTIALS_BEGIN:
        return _enumerate_credentials(power_up, state, command, required(arguments, 1, bytes))
    power_up.forget_continuations()  # which would list what is no longer so
    if subcommand == DELETE_CREDENTIAL:
        _delete(power_up, arguments)
    else:
        _update_user(power_up, arguments)
    return None


def _authenticate(
    power_up: PowerUp, state: State, parameters: dict[Any, Any], subcommand: int, arguments: dict[Any, Any]
) -> None:
    """Check the pinUvAuthParam over the subcommand and its parameters, which canonical CBOR writes as they came."""
    version = optional(parameters, 3, int)
    pin_uv_auth_param = optional(parameters, 4, bytes)
    if pin_uv_auth_param is None:
        raise StatusError(status.PUAT_REQUIRED)
    message = bytes((subcommand,))
    if subcommand in MANDATORY:
        for key, kind in MANDATORY[subcommand].items():
            required(arguments, key, kind)
        message += encode(arguments)
    power_up.pin_uv_auth.verify(state, version, message, pin_uv_auth_param, PERMISSION)
    if subcommand not in MANDATORY and power_up.pin_uv_auth.rp_id is not None:
        raise StatusError(status.PIN_AUTH_INVALID)


def _require_rp_id(power_up: PowerUp, credential: ResidentCredential) -> None:
    """Refuse a credential of another RP than the one that the pinUvAuthToken is bound to."""
    if power_up.pin_uv_auth.rp_id not in (None, credential.rp["id"]):
        raise StatusError(status.PIN_AUTH_INVALID)


def _enumerate_rps(power_up: PowerUp, state: State, command: int) -> dict[int, Any]:
    """Answer with the first RP, and remember the others (§6.8.3)."""
    by_id = {credential.rp["id"]: credential for credential in reversed(newest_first(state))}
    answers = [{3: credential.rp, 4: credential.rp_id_hash} for credential in by_id.values()]
    if not answers:
        raise StatusError(status.NO_CREDENTIALS)
    first: dict[int, Any] = answers.pop(0)
    power_up.await_continuation(command, ENUMERATE_RPS_NEXT, answers, authenticated=True)
    return {**first, 5: len(answers) + 1}


def _enumerate_credentials(power_up: PowerUp, state: State, command: int, rp_id_hash: bytes) -> dict[int, Any]:
    """Answer with the first credential of an RP, and remember the others (§6.8.4)."""
    bound_to = power_up.pin_uv_auth.rp_id
    if bound_to is not None and sha256(bound_to.encode()) != rp_id_hash:
        raise StatusError(status.PIN_AUTH_INVALID)
    answers = []
    keeper = power_up.keeper(state)
    for credential in newest_first(state, rp_id_hash):
        key = keeper.open(credential.credential_id, rp_id_hash)
        if key is None:
            continue
        answer: dict[int, Any] = {
            6: credential.user,
            7: {"type": "public-key", "id": credential.credential_id},
            8: key.public_key(),
            0x0A: key.cred_protect,
        }
        if credential.large_blob_key is not None:
            answer[0x0B] = credential.large_blob_key
        answers.append(answer)
    if not answers:
        raise StatusError(status.NO_CREDENTIALS)
    first = answers.pop(0)
    power_up.await_continuation(command, ENUMERATE_CREDENTIALS_NEXT, answers, authenticated=True)
    return {**first, 9: len(answers) + 1}


def _delete(power_up: PowerUp, arguments: dict[Any, Any]) -> None:
    """Delete a credential (§6.8.5)."""
    credential_id = descriptor(required(arguments, 2, dict)) or b""
    with power_up.transaction() as state:
        _require_rp_id(power_up, _existing(state, credential_id))
        del state.credentials[credential_id]


def _update_user(power_up: PowerUp, arguments: dict[Any, Any]) -> None:
    """Replace the user's names; those that are missing or empty are removed (§6.8.6)."""
    credential_id = descriptor(required(arguments, 2, dict)) or b""
    untrusted_user = required(arguments, 3, dict)
    user: dict[str, Any] = {"id": required(untrusted_user, "id", bytes)}
    for name in ("name", "displayName"):
        if value := optional(untrusted_user, name, str):
            user[name] = shorten(value)
    with power_up.transaction() as state:
        credential = _existing(state, credential_id)
        _require_rp_id(power_up, credential)
        if credential.user["id"] != user["id"]:
            raise StatusError(status.INVALID_PARAMETER)
        credential.user = user
        credential.put(state)


def _existing(state: State, credential_id: bytes) -> ResidentCredential:
    credential = find(state, credential_id)
    if credential is None:
        raise StatusError(status.NO_CREDENTIALS)
    return credential
