"""authenticatorGetAssertion and authenticatorGetNextAssertion (CTAP 2.1 §6.2 and §6.3)."""

from __future__ import annotations

from sk_provider.authenticator.authenticator_data import authenticator_data
from sk_provider.ctap import AUTHDATA_UP, AUTHDATA_UV, sha256, status
from sk_provider.ctap.commands import (
    CRED_PROTECT_OPTIONAL_WITH_LIST,
    CRED_PROTECT_REQUIRED,
    GET_NEXT_ASSERTION,
)
from sk_provider.ctap.commands import PERMISSION_GET_ASSERTION as PERMISSION
from sk_provider.ctap.status import StatusError

from .parameters import client_data_hash, descriptors, optional, options, required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.keeper import Key
    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.resident import ResidentCredential
    from sk_provider.authenticator.state import State

    from .assertion_extensions import AssertionExtensions


class _Request:
    """What of a request its next assertions need as well.

    listed: how many credentials the allowList names, 0 if there is none.
    flags: UP and UV, as they were established.
    """

    __slots__ = ("client_data_hash", "extensions", "flags", "listed", "rp_id_hash")

    def __init__(self, rp_id: str, data_hash: bytes, listed: int) -> None:
        self.rp_id_hash = sha256(rp_id.encode())
        self.client_data_hash = data_hash
        self.listed = listed
        self.flags = 0
        self.extensions: AssertionExtensions | None = None


class _Credential:
    """A credential that may be used; record: None if it is not discoverable."""

    __slots__ = ("credential_id", "key", "record")

    def __init__(self, credential_id: bytes, key: Key, record: ResidentCredential | None) -> None:
        self.credential_id = credential_id
        self.key = key
        self.record = record


def get_assertion(power_up: PowerUp, parameters: dict[Any, Any]) -> dict[int, Any]:
    """Sign with a credential of the allowList, or with the RP's discoverable ones, the newest first."""
    rp_id = required(parameters, 1, str)
    data_hash = client_data_hash(parameters, 2)
    allow_list = descriptors(parameters, 3, power_up.profile.max_credentials_in_list)
    untrusted_extensions = optional(parameters, 4, dict)
    chosen = options(parameters, 5)
    pin_uv_auth_param = optional(parameters, 6, bytes)
    protocol = optional(parameters, 7, int)
    request = _Request(rp_id, data_hash, len(allow_list or ()))
    state = power_up.store.read()

    if pin_uv_auth_param is not None:
        power_up.pin_uv_auth.check_parameters(state, pin_uv_auth_param, protocol)
    uv = chosen.get("uv", False) and pin_uv_auth_param is None
    up = chosen.get("up", True)
    if uv and not power_up.profile.uv:
        raise StatusError(status.INVALID_OPTION)
    if "rk" in chosen:
        raise StatusError(status.UNSUPPORTED_OPTION)
    wants_always_uv = up or power_up.profile.uv_to_probe
    if wants_always_uv and power_up.always_uv(state):
        uv = power_up.profile.uv and pin_uv_auth_param is None
        if not uv and pin_uv_auth_param is None:
            raise StatusError(status.PUAT_REQUIRED)
    if untrusted_extensions:
        from .assertion_extensions import AssertionExtensions

        request.extensions = AssertionExtensions(power_up, untrusted_extensions)

    if pin_uv_auth_param is not None:
        power_up.pin_uv_auth.verify(state, protocol, data_hash, pin_uv_auth_param, PERMISSION, rp_id)
        request.flags |= AUTHDATA_UV
    elif uv:
        from sk_provider.authenticator.built_in_uv import verify_user

        if state.pin:  # the PIN is a way out
            verify_user(power_up, rp_id, status.PUAT_REQUIRED, blocked=status.PUAT_REQUIRED)
        else:
            verify_user(power_up, rp_id, status.OPERATION_DENIED, blocked=status.PIN_BLOCKED)
        request.flags |= AUTHDATA_UV | AUTHDATA_UP

    found = _locate(power_up, state, request, allow_list)
    if not found:
        raise StatusError(status.NO_CREDENTIALS)
    if up:
        present = uv if pin_uv_auth_param is None else power_up.pin_uv_auth.user_present
        if not present:
            power_up.ask("sign", rp_id, _user_name(found))
        request.flags |= AUTHDATA_UP
        power_up.consume_presence()  # however presence was established (step 9)
    if request.extensions:
        request.extensions.check(power_up, up)

    with power_up.transaction() as changed:
        # While a person was awaited, another process may have changed all that was checked before.
        found = _locate(power_up, changed, request, allow_list)
        if not found:
            raise StatusError(status.NO_CREDENTIALS)
        if pin_uv_auth_param is not None and changed.pin != state.pin:
            raise StatusError(status.PIN_AUTH_INVALID)
        if wants_always_uv and power_up.always_uv(changed) and not request.flags & AUTHDATA_UV:
            raise StatusError(status.PUAT_REQUIRED)
        count = power_up.keeper(changed).count()
    answer = _assertion(power_up, count, request, found[0])
    if len(found) > 1:
        answer[5] = len(found)
        rest = [(request, credential.credential_id) for credential in found[1:]]
        power_up.await_continuation(GET_NEXT_ASSERTION, 0, rest, authenticated=pin_uv_auth_param is not None)
    return answer


def get_next_assertion(power_up: PowerUp, _parameters: dict[Any, Any]) -> dict[int, Any]:
    """Sign with the next of several discoverable credentials, without asking again."""
    request, credential_id = power_up.continue_with(GET_NEXT_ASSERTION)
    with power_up.transaction() as state:
        found = _locate(power_up, state, request, [credential_id])
        if not found:
            raise StatusError(status.NO_CREDENTIALS)
        count = power_up.keeper(state).count()
    return _assertion(power_up, count, request, found[0])


def _locate(power_up: PowerUp, state: State, request: _Request, allow_list: list[bytes] | None) -> list[_Credential]:
    """Return the credentials that may be used: the first of the allowList, or all discoverable ones."""
    keeper = power_up.keeper(state)
    if allow_list is not None:
        for credential_id in allow_list:
            key = keeper.open(credential_id, request.rp_id_hash)
            if key is None or (key.cred_protect == CRED_PROTECT_REQUIRED and not request.flags & AUTHDATA_UV):
                continue
            if not key.discoverable:
                return [_Credential(credential_id, key, None)]
            from sk_provider.authenticator.resident import find

            record = find(state, credential_id)
            if record is not None:
                return [_Credential(credential_id, key, record)]
        return []
    from sk_provider.authenticator.resident import newest_first

    return [
        _Credential(record.credential_id, key, record)
        for record in newest_first(state, request.rp_id_hash)
        if (key := keeper.open(record.credential_id, request.rp_id_hash))
        and (request.flags & AUTHDATA_UV or key.cred_protect < CRED_PROTECT_OPTIONAL_WITH_LIST)
    ]


def _assertion(power_up: PowerUp, counter: int, request: _Request, credential: _Credential) -> dict[int, Any]:
    key, record = credential.key, credential.record
    verified = bool(request.flags & AUTHDATA_UV)
    outputs = request.extensions.outputs(key, record, verified) if request.extensions else None
    data = authenticator_data(request.rp_id_hash, request.flags, counter, extensions=outputs)
    signature = key.sign(data + request.client_data_hash)
    answer: dict[int, Any] = {2: data, 3: signature}
    if not (power_up.profile.omits_credential and request.listed == 1):
        answer[1] = {"type": "public-key", "id": credential.credential_id}
    if record is not None:
        if record.user["id"]:
            # What identifies a person is told only after user verification (§6.2.2).
            answer[4] = record.user if verified else {"id": record.user["id"]}
        if request.extensions and request.extensions.wants_large_blob_key and record.large_blob_key is not None:
            answer[7] = record.large_blob_key
    return answer


def _user_name(found: list[_Credential]) -> str:
    """Return the account's name, if there is only one that it can be."""
    record = found[0].record
    return record.user.get("name", "") if record is not None and len(found) == 1 else ""
