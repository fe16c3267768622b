"""What each CTAP status code means to a person."""

from __future__ import annotations

from .ctap import status
from .errors import (
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
    from .errors import SecurityKeyError

SET_A_PIN = "set one with: pysk pin set"


def to_error(code: int, *, is_without_pin: bool = False) -> SecurityKeyError:
    """Return what to raise for a status code other than SUCCESS, where the caller has no better words for it.

    is_without_pin: it cannot be about the PIN, as none was sent.
    """
    if code == status.PIN_BLOCKED and is_without_pin:
        # So authenticators without a PIN say it (CTAP 2.1 §6.1.2, §6.2.2).
        code = status.UV_BLOCKED
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
        case 0x31:
            return PinInvalid("wrong PIN", "try again")
        case 0x32:
            return PinBlocked(
                "the PIN is blocked for good", "only a reset helps, which deletes all its keys: pysk reset"
            )
        case 0x34:
            return PinBlocked(
                "the PIN is blocked after three wrong tries", "unplug the authenticator, plug it in and try again"
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
