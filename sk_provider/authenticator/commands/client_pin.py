"""authenticatorClientPIN (CTAP 2.1 §6.5)."""

from __future__ import annotations

import hashlib

from sk_provider.authenticator.state import MAX_PIN_LENGTH, PIN_RETRIES, UV_RETRIES
from sk_provider.ctap import status
from sk_provider.ctap.commands import (
    CHANGE_PIN,
    GET_KEY_AGREEMENT,
    GET_PIN_RETRIES,
    GET_PIN_TOKEN,
    GET_TOKEN_USING_PIN,
    GET_TOKEN_USING_UV,
    GET_UV_RETRIES,
    PERMISSION_BIO_ENROLLMENT,
    PERMISSION_CONFIG,
    PERMISSION_CREDENTIAL_MANAGEMENT,
    PERMISSION_GET_ASSERTION,
    PERMISSION_LARGE_BLOB_WRITE,
    PERMISSION_MAKE_CREDENTIAL,
    SET_PIN,
)
from sk_provider.ctap.status import StatusError
from sk_provider.errors import SecurityKeyError

from .parameters import cose_key, optional, required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.pin_uv_auth import PinUvAuthProtocol
    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.state import State

# The types of a request's members, whichever of them its subcommand takes, and those that each subcommand needs.
TYPES = {1: int, 2: int, 3: dict, 4: bytes, 5: bytes, 6: bytes, 9: int, 10: str}
MANDATORY = {
    GET_PIN_RETRIES: (),
    GET_KEY_AGREEMENT: (1,),
    SET_PIN: (1, 3, 4, 5),
    CHANGE_PIN: (1, 3, 4, 5, 6),
    GET_PIN_TOKEN: (1, 3, 6),
    GET_TOKEN_USING_UV: (1, 3, 9),
    GET_UV_RETRIES: (),
    GET_TOKEN_USING_PIN: (1, 3, 6, 9),
}

# §6.5.5: so many wrong PINs in a row, and only a power cycle lets one try again.
MAX_WRONG_IN_A_ROW = 3
PADDED_PIN_LENGTH = 64


def client_pin(power_up: PowerUp, parameters: dict[Any, Any]) -> dict[int, Any] | None:
    """Set, change or try the PIN, or give out a pinUvAuthToken."""
    for key, kind in TYPES.items():
        optional(parameters, key, kind)
    subcommand = required(parameters, 2, int)
    profile = power_up.profile
    if (
        subcommand not in MANDATORY
        or (subcommand in (GET_TOKEN_USING_UV, GET_UV_RETRIES) and not profile.uv)
        or (subcommand in (GET_TOKEN_USING_UV, GET_TOKEN_USING_PIN) and not profile.pin_uv_auth_token)
    ):
        raise StatusError(status.INVALID_SUBCOMMAND)
    for key in MANDATORY[subcommand]:
        required(parameters, key, TYPES[key])
    state = power_up.store.read()
    if subcommand == GET_PIN_RETRIES:
        retries = power_up.keeper(state).pin_retries() if state.pin and state.pin_retries else state.pin_retries
        return {3: retries, 4: _needs_power_cycle(power_up, state)}
    if subcommand == GET_UV_RETRIES:
        return {5: state.uv_retries}
    protocol = power_up.pin_uv_auth.protocol(parameters[1])
    if subcommand == GET_KEY_AGREEMENT:
        return {1: protocol.public_key()}
    key_agreement = cose_key(parameters, 3)
    if subcommand == SET_PIN:
        _set_pin(power_up, protocol, key_agreement, parameters)
        return None
    if subcommand == CHANGE_PIN:
        _change_pin(power_up, protocol, key_agreement, parameters)
        return None
    if subcommand == GET_PIN_TOKEN:
        return _get_pin_token(power_up, protocol, key_agreement, parameters)
    if subcommand == GET_TOKEN_USING_PIN:
        return _get_pin_uv_auth_token_using_pin(power_up, protocol, key_agreement, parameters)
    return _get_pin_uv_auth_token_using_uv(power_up, protocol, key_agreement, parameters)


def _set_pin(
    power_up: PowerUp, protocol: PinUvAuthProtocol, key_agreement: dict[Any, Any], parameters: dict[Any, Any]
) -> None:
    """Set the first PIN (§6.5.5.5)."""
    pin_uv_auth_param, new_pin_enc = parameters[4], parameters[5]
    if power_up.store.read().pin:
        raise StatusError(status.PIN_AUTH_INVALID)
    secret = protocol.decapsulate(key_agreement)
    if not protocol.verify(secret, new_pin_enc, pin_uv_auth_param):
        raise StatusError(status.PIN_AUTH_INVALID)
    with power_up.transaction() as state:
        if state.pin:
            raise StatusError(status.PIN_AUTH_INVALID)
        _store_pin(power_up, state, _new_pin(state, protocol.decrypt(secret, new_pin_enc)))


def _change_pin(
    power_up: PowerUp, protocol: PinUvAuthProtocol, key_agreement: dict[Any, Any], parameters: dict[Any, Any]
) -> None:
    """Replace the PIN, given the old one (§6.5.5.6)."""
    pin_uv_auth_param, new_pin_enc, pin_hash_enc = parameters[4], parameters[5], parameters[6]
    state = power_up.store.read()
    if not state.pin:
        raise StatusError(status.PIN_NOT_SET)
    if state.pin_retries == 0:
        raise StatusError(status.PIN_BLOCKED)
    secret = protocol.decapsulate(key_agreement)
    if not protocol.verify(secret, new_pin_enc + pin_hash_enc, pin_uv_auth_param):
        raise StatusError(status.PIN_AUTH_INVALID)
    pin = _try_pin(power_up, protocol, secret, pin_hash_enc).pin
    with power_up.transaction() as state:
        if state.pin != pin:
            raise StatusError(status.PIN_INVALID)
        new_pin = _new_pin(state, protocol.decrypt(secret, new_pin_enc))
        if state.force_pin_change and _hash(new_pin) == protocol.decrypt(secret, pin_hash_enc):
            raise StatusError(status.PIN_POLICY_VIOLATION)
        _store_pin(power_up, state, new_pin)
        power_up.end_pin_uv_auth_tokens()


def _get_pin_token(
    power_up: PowerUp, protocol: PinUvAuthProtocol, key_agreement: dict[Any, Any], parameters: dict[Any, Any]
) -> dict[int, Any]:
    """Give out a pinUvAuthToken as CTAP 2.0 does (§6.5.5.7.1)."""
    if 9 in parameters or 10 in parameters:
        raise StatusError(status.INVALID_PARAMETER)
    # PIN_POLICY_VIOLATION would tell nothing to a CTAP 2.0 platform.
    state, secret = _verify_pin(power_up, protocol, key_agreement, parameters[6], must_change=status.PIN_INVALID)
    pin_uv_auth_token = power_up.pin_uv_auth.issue(state, protocol.version, power_up.profile.legacy_permissions, None)
    return {2: protocol.encrypt(secret, pin_uv_auth_token)}


def _get_pin_uv_auth_token_using_pin(
    power_up: PowerUp, protocol: PinUvAuthProtocol, key_agreement: dict[Any, Any], parameters: dict[Any, Any]
) -> dict[int, Any]:
    """Give out a pinUvAuthToken with the permissions that are asked for (§6.5.5.7.2)."""
    permissions, rp_id = _permissions(power_up, parameters)
    must_change = status.PIN_POLICY_VIOLATION
    state, secret = _verify_pin(power_up, protocol, key_agreement, parameters[6], must_change=must_change)
    pin_uv_auth_token = power_up.pin_uv_auth.issue(state, protocol.version, permissions, rp_id)
    return {2: protocol.encrypt(secret, pin_uv_auth_token)}


def _verify_pin(
    power_up: PowerUp,
    protocol: PinUvAuthProtocol,
    key_agreement: dict[Any, Any],
    pin_hash_enc: bytes,
    *,
    must_change: int,
) -> tuple[State, bytes]:
    """Check the PIN before a pinUvAuthToken is given out.

    must_change: the status if the right PIN has to be changed first.

    Return the state that the PIN matched, and the secret shared with the platform.
    """
    state = power_up.store.read()
    if not state.pin:
        raise StatusError(status.PIN_NOT_SET)
    if state.pin_retries == 0:
        raise StatusError(status.PIN_BLOCKED)
    secret = protocol.decapsulate(key_agreement)
    state = _try_pin(power_up, protocol, secret, pin_hash_enc)
    if state.force_pin_change:
        raise StatusError(must_change)
    return state, secret


def _get_pin_uv_auth_token_using_uv(
    power_up: PowerUp, protocol: PinUvAuthProtocol, key_agreement: dict[Any, Any], parameters: dict[Any, Any]
) -> dict[int, Any]:
    """Give out a pinUvAuthToken for built-in user verification (§6.5.5.7.3)."""
    from sk_provider.authenticator.built_in_uv import verify_user

    permissions, rp_id = _permissions(power_up, parameters)
    secret = protocol.decapsulate(key_agreement)
    verify_user(power_up, rp_id or "", status.UV_INVALID, blocked=status.UV_BLOCKED, attempts=1)
    pin_uv_auth_token = power_up.pin_uv_auth.issue(
        power_up.store.read(), protocol.version, permissions, rp_id, present=True
    )
    return {2: protocol.encrypt(secret, pin_uv_auth_token)}


def _permissions(power_up: PowerUp, parameters: dict[Any, Any]) -> tuple[int, str | None]:
    permissions, rp_id = parameters[9], parameters.get(10)
    if permissions <= 0:
        raise StatusError(status.INVALID_PARAMETER)
    profile = power_up.profile
    if (
        permissions & PERMISSION_BIO_ENROLLMENT
        or (permissions & PERMISSION_CREDENTIAL_MANAGEMENT and not profile.credential_management)
        or (permissions & PERMISSION_LARGE_BLOB_WRITE and not profile.large_blobs)
        or (permissions & PERMISSION_CONFIG and not profile.authenticator_config)
    ):
        raise StatusError(status.UNAUTHORIZED_PERMISSION)
    if permissions & (PERMISSION_MAKE_CREDENTIAL | PERMISSION_GET_ASSERTION) and rp_id is None:
        raise StatusError(status.MISSING_PARAMETER)
    return permissions, rp_id


def _needs_power_cycle(power_up: PowerUp, state: State) -> bool:
    return state.pin_wrong_in_a_row >= MAX_WRONG_IN_A_ROW and state.power_cycle == power_up.power_cycle


def _try_pin(power_up: PowerUp, protocol: PinUvAuthProtocol, secret: bytes, pin_hash_enc: bytes) -> State:
    """Compare the PIN that a platform has sent, at the cost of a retry that is written before.

    It is given back if the keeper fails to compare.

    pin_hash_enc: the first half of the PIN's SHA-256, encrypted.

    Return the state that the PIN matched. Raises StatusError: PIN_INVALID, PIN_AUTH_BLOCKED or PIN_BLOCKED.
    """
    pin_hash = protocol.decrypt(secret, pin_hash_enc)
    transaction = power_up.transaction()
    # Under one lock: no more may be tried at once than the keeper allows.
    with transaction as state:
        if not state.pin:
            raise StatusError(status.PIN_NOT_SET)
        if state.pin_retries == 0:
            raise StatusError(status.PIN_BLOCKED)
        if _needs_power_cycle(power_up, state):
            raise StatusError(status.PIN_AUTH_BLOCKED)
        keeper = power_up.keeper(state)
        keeper.pin_retries()
        if state.power_cycle != power_up.power_cycle:
            state.pin_wrong_in_a_row = 0
            state.power_cycle = power_up.power_cycle
        state.pin_retries -= 1
        state.pin_wrong_in_a_row += 1
        transaction.write()
        try:
            is_right = pin_hash is not None and keeper.is_pin(pin_hash)
        except SecurityKeyError:
            # Nobody has learnt anything: what keeps keys elsewhere has not tried the PIN, or counts wrong ones itself.
            state.pin_retries += 1
            state.pin_wrong_in_a_row -= 1
            transaction.write()
            raise
        if is_right:
            state.pin_retries = PIN_RETRIES
            state.uv_retries = UV_RETRIES
            state.pin_wrong_in_a_row = 0
            return state
    protocol.regenerate()
    if state.pin_retries == 0:
        raise StatusError(status.PIN_BLOCKED)
    if _needs_power_cycle(power_up, state):
        raise StatusError(status.PIN_AUTH_BLOCKED)
    raise StatusError(status.PIN_INVALID)


def _new_pin(state: State, padded_pin: bytes | None) -> bytes:
    """Check a new PIN (§6.5.5.5): 64 bytes, padded with zeros, of at most 63 in UTF-8 and enough code points."""
    if padded_pin is None:
        raise StatusError(status.PIN_AUTH_INVALID)
    if len(padded_pin) != PADDED_PIN_LENGTH:
        raise StatusError(status.INVALID_PARAMETER)
    pin = padded_pin.rstrip(b"\0")
    try:
        length = len(pin.decode())
    except UnicodeDecodeError:
        raise StatusError(status.PIN_POLICY_VIOLATION) from None
    if length < state.min_pin_length or len(pin) > MAX_PIN_LENGTH:
        raise StatusError(status.PIN_POLICY_VIOLATION)
    return pin


def _store_pin(power_up: PowerUp, state: State, pin: bytes) -> None:
    power_up.keeper(state).set_pin(_hash(pin))
    state.pin_length = len(pin.decode())
    state.pin_retries = PIN_RETRIES
    state.pin_wrong_in_a_row = 0
    state.force_pin_change = False


def _hash(pin: bytes) -> bytes:
    return hashlib.sha256(pin).digest()[:16]
