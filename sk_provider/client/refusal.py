"""What each CTAP status code means to a person."""

from __future__ import annotations

from sk_provider.ctap import requests, status
from sk_provider.ctap.status import StatusError
from sk_provider.errors import (
    AuthenticatorError,
    CredentialNotFound,
    Interrupted,
    PinBlocked,
    PinInvalid,
    PinNotSet,
    PinRequired,
    PresenceDenied,
    TimedOut,
    Unsupported,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.ctap.requests import Info
    from sk_provider.errors import SecurityKeyError
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Channel

SET_A_PIN = "set one with: pysk pin set"


def cannot_verify() -> Unsupported:
    """Return what to raise where a key wants its user verified by an authenticator that has no way to do that."""
    return Unsupported(
        "this key wants its user verified, which the authenticator cannot do", "use the one it was enrolled on"
    )


def must_be_changed() -> PinBlocked:
    """Return what to raise where the PIN is good for nothing but its change (forcePINChange, CTAP 2.1 §6.4)."""
    return PinBlocked("the authenticator wants its PIN changed before it is used", "change it with: pysk pin change")


def if_blocked(retries: int, *, needs_power_cycle: bool) -> SecurityKeyError | None:
    """Return what to raise if no PIN is accepted, by what the authenticator says of its tries."""
    if not retries:
        return to_error(status.PIN_BLOCKED)
    return to_error(status.PIN_AUTH_BLOCKED) if needs_power_cycle else None


def to_ask_for_pin(
    question: PinRequired, channel: Channel, operation: Operation, *, force_pin_change: bool
) -> SecurityKeyError:
    """Return the question, or PinBlocked if there is no right answer to it: that takes one command.

    force_pin_change: as in getInfo. Raises SecurityKeyError if the authenticator does not answer.
    """
    if force_pin_change:
        return must_be_changed()
    try:
        retries, needs_power_cycle = requests.get_pin_retries(channel, operation)
    except StatusError:
        # Then the PIN itself will tell.
        return question
    return if_blocked(retries, needs_power_cycle=needs_power_cycle) or question


def to_verify_by_pin(info: Info, channel: Channel, operation: Operation) -> SecurityKeyError:
    """Return what to raise where a key wants its user verified, and the authenticator does that by nothing but a PIN.

    info: the authenticator's. Raises SecurityKeyError if it does not answer.
    """
    question = PinRequired("this key wants a PIN for every use", "enter it when you are asked")
    return to_ask_for_pin(question, channel, operation, force_pin_change=info.force_pin_change)


def without_pin(code: int, question: PinRequired, channel: Channel, operation: Operation) -> SecurityKeyError:
    """Return what to raise for the status code of a command that no PIN was sent with.

    question: what to raise if a PIN helps. Raises SecurityKeyError if the authenticator does not answer.
    """
    # The last of them is not about a PIN either, but how some say that their own verification is blocked (CTAP 2.1
    # §6.1.2, §6.2.2).
    if code not in (status.PUAT_REQUIRED, status.UV_BLOCKED, status.PIN_BLOCKED):
        return to_error(code)
    try:
        info = requests.get_info(channel, operation)
    except StatusError:
        return to_error(code)
    if info.options.get("clientPin") is True:
        return to_ask_for_pin(question, channel, operation, force_pin_change=info.force_pin_change)
    if code == status.PUAT_REQUIRED:
        return PinNotSet("the authenticator wants its PIN for every use (alwaysUv), and has none", SET_A_PIN)
    return to_error(status.UV_BLOCKED)


def to_error(code: int) -> SecurityKeyError:
    """Return what to raise for a status code other than SUCCESS, where the caller has no better words for it."""
    match code:
        case 0x26:
            return Unsupported("the authenticator has no keys of this type", "try the other: ecdsa-sk or ed25519-sk")
        case 0x27:
            return PresenceDenied("the authenticator refused: nobody confirmed", "try again and touch it")
        case 0x28:
            return AuthenticatorError(
                "the authenticator has no room for another resident key", "delete one, or enroll without -O resident"
            )
        case 0x2B | 0x2C:
            return Unsupported("the authenticator does not know what was asked of it", "leave out the -O option")
        case 0x2D:
            return Interrupted("the operation was called off", "try again")
        case 0x2E:
            return CredentialNotFound("the authenticator does not hold this key", "use the one that it was enrolled on")
        case 0x2F | 0x3A:
            return TimedOut("nobody touched the authenticator in time", "try again and touch it")
        case 0x30:
            return AuthenticatorError(
                "the authenticator does not allow that",
                "try again, or read what pysk share says if another machine shares it",
            )
        case 0x31:
            return PinInvalid("wrong PIN", "try again")
        case 0x32:
            return PinBlocked(
                "the PIN is blocked for good", "only a reset helps, which deletes all its keys: pysk reset"
            )
        case 0x34:
            return PinBlocked(
                "the PIN is blocked after three wrong tries",
                "unplug the authenticator and plug it in, or restart the machine if it is soft:",
            )
        case 0x35:
            return PinNotSet("the authenticator has no PIN", SET_A_PIN)
        case 0x36:
            return PinRequired("the authenticator wants its PIN", "enter it when you are asked")
        case 0x37:
            return AuthenticatorError("the authenticator refuses this PIN by its policy", "choose a longer one")
        case 0x39:
            return AuthenticatorError(
                "the request is too large for the authenticator", "use a shorter application, or check the key file"
            )
        case 0x3B:
            return PresenceDenied("the authenticator signs only when it is touched", "use a key that wants a touch")
        case 0x3C:
            return PinBlocked("the authenticator's own user verification is blocked", f"use its PIN, or {SET_A_PIN}")
        case 0x3F:
            return PresenceDenied("the authenticator did not recognise you", "try again")
        case _:
            return AuthenticatorError(f"the authenticator answered with error 0x{code:02x}", "try again")
