"""authenticatorConfig (CTAP 2.1 §6.11)."""

from __future__ import annotations

from sk_provider.authenticator.state import MAX_PIN_LENGTH
from sk_provider.ctap import status
from sk_provider.ctap.cbor import encode
from sk_provider.ctap.commands import CONFIG, SET_MIN_PIN_LENGTH, TOGGLE_ALWAYS_UV
from sk_provider.ctap.commands import PERMISSION_CONFIG as PERMISSION
from sk_provider.ctap.status import StatusError

from .parameters import optional, required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp
    from sk_provider.authenticator.state import State

MAX_RP_IDS = 16


def authenticator_config(power_up: PowerUp, parameters: dict[Any, Any]) -> None:
    """Toggle whether user verification is always required, or set the minimum PIN length."""
    subcommand = required(parameters, 1, int)
    arguments = optional(parameters, 2, dict)
    version = optional(parameters, 3, int)
    pin_uv_auth_param = optional(parameters, 4, bytes)
    if subcommand not in (TOGGLE_ALWAYS_UV, SET_MIN_PIN_LENGTH):  # there is no enterprise attestation to enable
        raise StatusError(status.INVALID_PARAMETER)
    if subcommand == SET_MIN_PIN_LENGTH and arguments is None:
        raise StatusError(status.MISSING_PARAMETER)
    state = power_up.store.read()
    if power_up.is_protected(state) or (power_up.always_uv(state) and subcommand != TOGGLE_ALWAYS_UV):
        if pin_uv_auth_param is None:
            raise StatusError(status.PUAT_REQUIRED)
        message = b"\xff" * 32 + bytes((CONFIG, subcommand)) + (b"" if arguments is None else encode(arguments))
        power_up.pin_uv_auth.verify(state, version, message, pin_uv_auth_param, PERMISSION)
    if subcommand == TOGGLE_ALWAYS_UV:
        with power_up.transaction() as changed:
            changed.always_uv = not power_up.always_uv(changed)
    else:
        _set_min_pin_length(power_up, arguments or {})


def _set_min_pin_length(power_up: PowerUp, arguments: dict[Any, Any]) -> None:
    """Raise the minimum PIN length, and tell which RPs may learn it (§6.11.4)."""
    length = optional(arguments, 1, int)
    rp_ids = optional(arguments, 2, list)
    force_pin_change = optional(arguments, 3, bool) or False
    for rp_id in rp_ids or ():
        if type(rp_id) is not str:
            raise StatusError(status.CBOR_UNEXPECTED_TYPE)
    with power_up.transaction() as state:
        _apply(state, state.min_pin_length if length is None else length, rp_ids, force_pin_change)
        if state.force_pin_change:
            power_up.end_pin_uv_auth_tokens()


def _apply(state: State, length: int, rp_ids: list[str] | None, force_pin_change: bool) -> None:
    if not state.min_pin_length <= length <= MAX_PIN_LENGTH:
        raise StatusError(status.PIN_POLICY_VIOLATION)
    if force_pin_change and not state.pin:
        raise StatusError(status.PIN_NOT_SET)
    if rp_ids is not None:
        if len(rp_ids) > MAX_RP_IDS:
            raise StatusError(status.KEY_STORE_FULL)
        state.min_pin_length_rp_ids = rp_ids
    state.min_pin_length = length
    if force_pin_change or (state.pin and state.pin_length < length):
        state.force_pin_change = True
