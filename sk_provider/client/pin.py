"""PINs: what a PIN may be, and how the authenticator is given proof of one (CTAP 2.1 §6.5), by python-fido2."""

from __future__ import annotations

import unicodedata

from fido2.ctap import CtapError
from fido2.ctap2.pin import ClientPin

from sk_provider.errors import PinInvalid, PinNotSet, PinRequired, SecurityKeyError, Unsupported

from . import refusal
from .fido2_client import errors_translated, open_ctap2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fido2.ctap2 import Ctap2

    from sk_provider.api import SignRequest
    from sk_provider.operation import Operation

    from .token import Token

MIN_LENGTH = 4
"""Code points, CTAP 2.1 §6.5.1; an authenticator may ask for more."""
MAX_LENGTH = 63
"""Bytes of UTF-8, CTAP 2.1 §6.5.1."""

_MAX_UV_ATTEMPTS = 5
"""However many the authenticator prefers; each failure spends one of its uvRetries."""


def not_text_error() -> PinInvalid:
    """Return the error for a PIN of bytes that are no text."""
    return PinInvalid("the PIN is not UTF-8 text", "correct it, or the terminal's character set")


def normalize(pin: str, min_length: int = MIN_LENGTH) -> str:
    """Return the PIN in Normalization Form C, as authenticators compare it (CTAP 2.1 §6.5.1).

    Raises PinInvalid if no authenticator can have this PIN, so that no try is spent on it.
    """
    normalized = unicodedata.normalize("NFC", pin)
    try:
        encoded = normalized.encode()
    except UnicodeError:
        raise not_text_error() from None
    if len(normalized) < min_length:
        raise PinInvalid(f"the PIN is too short: it must have at least {min_length} characters", "try again")
    if len(encoded) > MAX_LENGTH:
        raise PinInvalid(f"the PIN is too long: it must have at most {MAX_LENGTH} bytes", "try again")
    return normalized


def open_client_pin(ctap2: Ctap2) -> ClientPin:
    """Return a client of authenticatorClientPIN with the best protocol that both sides know.

    Raises Unsupported if there is none.
    """
    try:
        return ClientPin(ctap2)
    except ValueError:
        raise Unsupported(
            "the authenticator uses a PIN protocol that libpysk does not know", "use another one"
        ) from None


def get_token(ctap2: Ctap2, pin: str, permissions: int, rp_id: str | None, token: Token) -> tuple[ClientPin, bytes]:
    """Exchange the PIN for a pinUvAuthToken bound to rp_id; permissions: ClientPin.PERMISSION bits.

    Raises PinInvalid, PinBlocked, PinNotSet or Unsupported, and SecurityKeyError for the rest.
    """
    has_pin = ctap2.info.options.get("clientPin")
    if has_pin is False:
        verifies_itself = ctap2.info.options.get("uv")
        remedy = (
            "leave the PIN empty: the authenticator verifies you itself"
            if verifies_itself
            else refusal.set_a_pin(token)
        )
        raise PinNotSet("the authenticator has no PIN", remedy)
    if has_pin is None:
        raise Unsupported("the authenticator does not support PINs", "leave the PIN empty")
    if ctap2.info.force_pin_change:
        raise refusal.pin_change_error(token)
    client_pin = open_client_pin(ctap2)
    try:
        with errors_translated(token, pass_status=True):
            # A PIN from before the minimum was raised must be changed (CTAP 2.1 §6.11.4): no shorter one can be right.
            normalized = normalize(pin, ctap2.info.min_pin_length)
            pin_uv_auth_token = client_pin.get_pin_token(normalized, ClientPin.PERMISSION(permissions), rp_id)
    except CtapError as error:
        if error.code == CtapError.ERR.PIN_POLICY_VIOLATION:
            # Of the PIN that it has (CTAP 2.1 §6.5.5.7.2), which it need not have said before.
            raise refusal.pin_change_error(token) from None
        raise error_of_refused_pin(client_pin, error, token) from None
    return client_pin, pin_uv_auth_token


def get_uv_token(
    ctap2: Ctap2, permissions: int, rp_id: str | None, token: Token, operation: Operation
) -> tuple[ClientPin, bytes]:
    """Have the authenticator verify the person itself, for a pinUvAuthToken bound to rp_id (CTAP 2.1 §6.5.5.7.3).

    The one gesture serves all the commands that the token is for, and counts as the touch that the last of them wants.

    Raises PinRequired if a PIN is the way out, PinBlocked or PresenceDenied if there is none, and SecurityKeyError.
    """
    client_pin = open_client_pin(ctap2)
    attempts_left = min(max(ctap2.info.preferred_platform_uv_attempts, 1), _MAX_UV_ATTEMPTS)
    while True:
        attempts_left -= 1
        try:
            with errors_translated(token, pass_status=True):
                pin_uv_auth_token = client_pin.get_uv_token(
                    ClientPin.PERMISSION(permissions),
                    rp_id,
                    operation,  # type: ignore[arg-type]  # is_set() is all that it needs
                )
        except CtapError as error:
            if error.code == CtapError.ERR.UV_INVALID and attempts_left:
                operation.tell("the authenticator did not recognise you; try again")
                continue
            is_over = error.code in (CtapError.ERR.UV_INVALID, CtapError.ERR.UV_BLOCKED)
            if is_over and ctap2.info.options.get("clientPin"):
                question = PinRequired("the authenticator did not recognise you", "enter its PIN instead")
                force_pin_change = ctap2.info.force_pin_change
                raise refusal.question_or_error(question, token, operation, force_pin_change=force_pin_change) from None
            raise refusal.error_of(int(error.code), token) from None
        return client_pin, pin_uv_auth_token


def error_of_refused_pin(client_pin: ClientPin, error: CtapError, token: Token) -> SecurityKeyError:
    """Return the error for a PIN that the authenticator refused: how many tries are left, if it says so."""
    if error.code != CtapError.ERR.PIN_INVALID:
        return refusal.error_of(int(error.code), token)
    with errors_translated(token):
        retries, needs_power_cycle = client_pin.get_pin_retries()
    blocked = refusal.blocked_error(retries, token, needs_power_cycle=bool(needs_power_cycle))
    if blocked is not None:
        return blocked
    wrong = PinInvalid(f"wrong PIN, {tries_left(retries)}", "try again")
    wrong.retries, wrong.address = retries, token.address
    return wrong


def tries_left(retries: int) -> str:
    """Return how many tries are left, in words."""
    return "1 try left" if retries == 1 else f"{retries} tries left"


def authorize_assertion(token: Token, pin: str, request: SignRequest, operation: Operation) -> tuple[int, bytes] | None:
    """Return the PIN protocol's number and the pinUvAuthParam for an assertion (CTAP 2.1 §6.2).

    None where the authenticator speaks U2F alone, which knows no PINs.

    Raises as get_token() does.
    """

    def by_ctap2() -> tuple[int, bytes]:
        ctap2 = open_ctap2(token, operation)
        permission = ClientPin.PERMISSION.GET_ASSERTION
        client_pin, pin_uv_auth_token = get_token(ctap2, pin, permission, request.application, token)
        protocol = client_pin.protocol
        return protocol.VERSION, protocol.authenticate(pin_uv_auth_token, request.message_digest)

    return token.by_its_protocol(by_ctap2, lambda: None)
