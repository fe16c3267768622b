"""authenticatorMakeCredential (CTAP 2.1 §6.1)."""

from __future__ import annotations

from sk_provider.authenticator.authenticator_data import authenticator_data
from sk_provider.authenticator.keeper import Properties
from sk_provider.authenticator.presence import CANCELLED
from sk_provider.authenticator.resident import ResidentCredential, newest_first, shorten
from sk_provider.ctap import AUTHDATA_UP, AUTHDATA_UV, sha256, status
from sk_provider.ctap.cbor import encode
from sk_provider.ctap.commands import CRED_PROTECT_REQUIRED
from sk_provider.ctap.commands import PERMISSION_MAKE_CREDENTIAL as PERMISSION
from sk_provider.ctap.status import StatusError

from .creation_extensions import CreationExtensions
from .parameters import client_data_hash, descriptors, optional, options, required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.state import State

# WebAuthn §5.4.3.
MAX_USER_ID_LENGTH = 64


def make_credential(power_up: PowerUp, parameters: dict[Any, Any]) -> dict[int, Any]:
    """Make a key for an RP, in its credential ID or as a discoverable credential, and attest it."""
    data_hash = client_data_hash(parameters, 1)
    rp = _entity(parameters, 2, str, ("name",))
    user = _entity(parameters, 3, bytes, ("name", "displayName"))
    if len(user["id"]) > MAX_USER_ID_LENGTH:
        raise StatusError(status.INVALID_LENGTH)
    untrusted_algorithms = required(parameters, 4, list)
    exclude_list = descriptors(parameters, 5, power_up.profile.max_credentials_in_list)
    untrusted_extensions = optional(parameters, 6, dict)
    chosen = options(parameters, 7)
    pin_uv_auth_param = optional(parameters, 8, bytes)
    protocol = optional(parameters, 9, int)
    state = power_up.store.read()

    if pin_uv_auth_param is not None:
        power_up.pin_uv_auth.check_parameters(state, pin_uv_auth_param, protocol)
    algorithm = _algorithm(power_up, untrusted_algorithms)
    uv = chosen.get("uv", False) and pin_uv_auth_param is None
    rk = chosen.get("rk", False)
    if (uv and not power_up.profile.uv) or not chosen.get("up", True):
        raise StatusError(status.INVALID_OPTION)
    if power_up.always_uv(state) and power_up.profile.uv and pin_uv_auth_param is None:
        uv = True
    _require_user_verification(power_up, state, rk=rk, given=uv or pin_uv_auth_param is not None)
    if optional(parameters, 10, int) is not None:
        raise StatusError(status.INVALID_PARAMETER)  # there is no enterprise attestation (§7.1)
    extensions = CreationExtensions(power_up, untrusted_extensions or {}, rk=rk)

    flags = AUTHDATA_UP
    present = False
    if pin_uv_auth_param is not None:
        power_up.pin_uv_auth.verify(state, protocol, data_hash, pin_uv_auth_param, PERMISSION, rp["id"])
        flags |= AUTHDATA_UV
        present = power_up.pin_uv_auth.user_present
    elif uv:
        from sk_provider.authenticator.built_in_uv import verify_user

        verify_user(power_up, rp["id"], status.OPERATION_DENIED, blocked=status.PIN_BLOCKED)
        flags |= AUTHDATA_UV
        present = True

    rp_id_hash = sha256(rp["id"].encode())
    _refuse_excluded(power_up, state, exclude_list or [], rp, verified=bool(flags & AUTHDATA_UV), present=present)
    if not present:
        power_up.ask("enroll", rp["id"], user.get("name", ""))
    power_up.consume_presence()  # however presence was established (step 14)
    extensions.check()

    with power_up.transaction() as changed:
        # While a person was awaited, another process may have changed all that was checked before.
        if pin_uv_auth_param is not None and changed.pin != state.pin:
            raise StatusError(status.PIN_AUTH_INVALID)
        _require_user_verification(power_up, changed, rk=rk, given=bool(flags & AUTHDATA_UV))
        properties = Properties(extensions.cred_protect, discoverable=rk)
        keeper = power_up.keeper(changed)
        credential_id, key = keeper.make(algorithm, rp_id_hash, properties)
        record = ResidentCredential(credential_id, rp, user, changed.credential_serial)
        outputs = extensions.outputs(changed, record)
        if rk:
            _put(power_up, changed, record)
        attested = (
            power_up.profile.aaguid + len(credential_id).to_bytes(2, "big") + credential_id + encode(key.public_key())
        )
        data = authenticator_data(rp_id_hash, flags, keeper.count(), attested, outputs)
        # Before the change is written: where this fails, the credential that would be replaced is to stay.
        statement = keeper.attest(key, data + data_hash)
    answer = {1: "packed", 2: data, 3: statement}
    if record.large_blob_key is not None:
        answer[5] = record.large_blob_key
    return answer


def _entity(parameters: dict[Any, Any], key: int, id_type: type[Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return a PublicKeyCredentialRpEntity or UserEntity (WebAuthn §5.4.2 and §5.4.3)."""
    untrusted_entity = required(parameters, key, dict)
    entity = {"id": required(untrusted_entity, "id", id_type)}
    for name in names:
        if (value := optional(untrusted_entity, name, str)) is not None:
            entity[name] = shorten(value)
    optional(untrusted_entity, "icon", str)  # no longer kept, yet still of a type (CTAP 2.0)
    return entity


def _algorithm(power_up: PowerUp, untrusted_algorithms: list[Any]) -> int:
    """Return the first algorithm that is ours; all must be well-formed (§6.1.2, step 3)."""
    chosen = None
    for untrusted_item in untrusted_algorithms:
        if type(untrusted_item) is not dict:
            raise StatusError(status.CBOR_UNEXPECTED_TYPE)
        kind = required(untrusted_item, "type", str)
        algorithm = optional(untrusted_item, "alg", int)
        if kind != "public-key":  # of another type, what it must have is unknown
            continue
        if algorithm is None:
            raise StatusError(status.MISSING_PARAMETER)
        if chosen is None and algorithm in power_up.profile.algorithms:
            chosen = algorithm
    if chosen is None:
        raise StatusError(status.UNSUPPORTED_ALGORITHM)
    return chosen


def _require_user_verification(power_up: PowerUp, state: State, *, rk: bool, given: bool) -> None:
    """Refuse what needs user verification and comes without (§6.1.2, steps 6 to 8)."""
    if given:
        return
    if power_up.always_uv(state):
        raise StatusError(status.PUAT_REQUIRED)
    if power_up.is_protected(state) and (rk or not power_up.profile.make_cred_uv_not_required):
        raise StatusError(status.PUAT_REQUIRED if state.pin else status.OPERATION_DENIED)


def _refuse_excluded(
    power_up: PowerUp, state: State, exclude_list: list[bytes], rp: dict[str, Any], *, verified: bool, present: bool
) -> None:
    """Refuse, after a touch, if a credential of the excludeList is ours (§6.1.2, step 12)."""
    rp_id_hash = sha256(rp["id"].encode())
    keeper = power_up.keeper(state)
    for credential_id in exclude_list:
        key = keeper.open(credential_id, rp_id_hash)
        if (
            key is None
            or (key.discoverable and credential_id not in state.credentials)
            or (key.cred_protect == CRED_PROTECT_REQUIRED and not verified)
        ):
            continue
        if not present and power_up.request("enroll", rp["id"]) == CANCELLED:
            raise StatusError(status.KEEPALIVE_CANCEL)
        raise StatusError(status.CREDENTIAL_EXCLUDED)


def _put(power_up: PowerUp, state: State, record: ResidentCredential) -> None:
    """Store a discoverable credential, in place of one for the same RP and user (§6.1.2, step 17)."""
    for other in newest_first(state, record.rp_id_hash):
        if other.user["id"] == record.user["id"]:
            del state.credentials[other.credential_id]
    if len(state.credentials) >= power_up.profile.max_resident:
        raise StatusError(status.KEY_STORE_FULL)
    state.credential_serial += 1
    record.put(state)
    power_up.forget_continuations()
