"""What each CTAP status code means to a person, and which command of pysk helps."""

from __future__ import annotations

from sk_provider import transports
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
    from typing import Protocol

    from sk_provider.ctap.requests import Info
    from sk_provider.errors import SecurityKeyError
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Channel

    class AddressedChannel(Channel, Protocol):
        """A channel with what names its authenticator, as a user writes it."""

        address: str


_POWER_CYCLES = {
    "nfc": "take it off the reader and put it back",
    "soft": "restart the machine",
    "tpm": "restart the machine",
    "udp": "restart the program that serves it",
    "unix": "unplug it and plug it in again on the machine that shares it, or restart pysk serve",
}
"""How an authenticator is powered up again, by its address's scheme, where it is not plugged in here."""


def power_cycle(token: AddressedChannel) -> str:
    """Return what a person does to have the authenticator start anew."""
    return _POWER_CYCLES.get(_scheme(token), "unplug it and plug it in again")


def command(words: str, token: AddressedChannel) -> str:
    """Return the command line of pysk, as a shell takes it, that does what the words say to the authenticator."""
    import shlex

    return f"pysk {words} {shlex.quote(token.address)}"


def set_a_pin(token: AddressedChannel) -> str:
    """Return the remedy for an authenticator that has no PIN yet."""
    return f"set one with: {command('pin set', token)}"


def unverifiable_error() -> Unsupported:
    """Return the error where a key wants its user verified by an authenticator that has no way to do that."""
    return Unsupported(
        "this key requires user verification, which the authenticator does not have",
        "connect the authenticator that it was enrolled on",
    )


def lost_pin_error(happened: str, token: AddressedChannel) -> PinNotSet:
    """Return the error where an existing key cannot be used without a PIN, and the authenticator has none.

    It has most likely been reset since, and with the PIN it has lost the key.
    """
    return PinNotSet(
        happened,
        "connect the authenticator that the key was enrolled on; if this one was reset since, enroll a new key; "
        f"if it never had a PIN, {set_a_pin(token)}",
    )


def pin_change_error(token: AddressedChannel) -> PinBlocked:
    """Return the error where the PIN is good for nothing but its change (forcePINChange, CTAP 2.1 §6.4)."""
    return PinBlocked(
        "the authenticator requires its PIN to be changed first",
        f"change it with: {command('pin change', token)}",
    )


def blocked_error(retries: int, token: AddressedChannel, *, needs_power_cycle: bool) -> SecurityKeyError | None:
    """Return the error if no PIN is accepted, by what the authenticator says of its tries, or None if one is."""
    if not retries:
        return error_of(status.PIN_BLOCKED, token)
    return error_of(status.PIN_AUTH_BLOCKED, token) if needs_power_cycle else None


def question_or_error(
    question: PinRequired, token: AddressedChannel, operation: Operation, *, force_pin_change: bool
) -> SecurityKeyError:
    """Return the question, or PinBlocked if there is no right answer to it: that takes one command.

    force_pin_change: as in getInfo. Raises SecurityKeyError if the authenticator does not answer.
    """
    if force_pin_change:
        return pin_change_error(token)
    try:
        retries, needs_power_cycle = requests.get_pin_retries(token, operation)
    except StatusError:
        # Then the PIN itself will tell.
        return question
    question.retries, question.address = retries, token.address
    return blocked_error(retries, token, needs_power_cycle=needs_power_cycle) or question


def verification_question_or_error(info: Info, token: AddressedChannel, operation: Operation) -> SecurityKeyError:
    """Return the question for a key that wants its user verified, on an authenticator that does so by a PIN alone.

    info: the authenticator's. The rest as in question_or_error().
    """
    question = PinRequired("this key requires a PIN for every use", "enter it when you are asked")
    return question_or_error(question, token, operation, force_pin_change=info.force_pin_change)


def error_without_pin(
    code: int, question: PinRequired, no_pin: PinNotSet, token: AddressedChannel, operation: Operation
) -> SecurityKeyError:
    """Return the error for the status code of a command that no PIN was sent with.

    question: what it is if a PIN helps; no_pin: what it is if one would help, and there is none.

    Raises SecurityKeyError if the authenticator does not answer.
    """
    # The last of them is not about a PIN either, but how some say that their own verification is blocked (CTAP 2.1
    # §6.1.2, §6.2.2).
    if code not in (status.PUAT_REQUIRED, status.UV_BLOCKED, status.PIN_BLOCKED):
        return error_of(code, token)
    try:
        info = requests.get_info(token, operation)
    except StatusError:
        return error_of(code, token)
    if info.options.get("clientPin") is True:
        return question_or_error(question, token, operation, force_pin_change=info.force_pin_change)
    return no_pin if code == status.PUAT_REQUIRED else error_of(status.UV_BLOCKED, token)


def touch_error() -> PresenceDenied:
    """Return the error where a signature without a touch is wanted, which the authenticator does not make."""
    return PresenceDenied(
        "the key file asks for a signature without a touch, but the authenticator requires a touch",
        "enroll a new key without -O no-touch-required",
    )


def hidden_key_error(happened: str) -> CredentialNotFound:
    """Return the error where a key is not there, or is not shown for want of a PIN (credProtect, CTAP 2.1 §12.1).

    happened: who does not hold it, or hides it.
    """
    return CredentialNotFound(
        f"{happened} until it is given the PIN (verify-required)",
        "connect the authenticator that the key was enrolled on, or have ssh ask for the PIN (OpenSSH 10.5 and later): "
        "ssh-keygen -p -O verify-required",
    )


def failure_error(what: str, token: AddressedChannel) -> AuthenticatorError:
    """Return the error where the authenticator, or what shares it, tells no more than that it failed.

    what: what it has answered.
    """
    if _scheme(token) == "unix":
        return AuthenticatorError(
            f"the shared authenticator failed ({what})",
            "on the machine that shares it, check that it is plugged in, and what pysk share prints",
        )
    return AuthenticatorError(f"the authenticator failed ({what})", f"{power_cycle(token)}, and try again")


def error_of(code: int, token: AddressedChannel) -> SecurityKeyError:
    """Return the error for a status code other than SUCCESS, where the caller has no better words for it."""
    is_card = _scheme(token) == "nfc"
    match code:
        case status.UNSUPPORTED_ALGORITHM:
            return Unsupported(
                "the authenticator does not support this type of key", "use the other one: ecdsa-sk or ed25519-sk"
            )
        case status.OPERATION_DENIED:
            return PresenceDenied(
                "the request was not confirmed on the authenticator", f"try again and {_touch(token)}"
            )
        case status.KEY_STORE_FULL:
            return AuthenticatorError(
                "the authenticator has no room for another resident key",
                f"enroll without -O resident, or delete one; to list them: {command('keys list --all', token)}",
            )
        case status.UNSUPPORTED_OPTION | status.INVALID_OPTION:
            return Unsupported(
                f"the authenticator does not support an option of the request (error 0x{code:02x})",
                "use another authenticator",
            )
        case status.KEEPALIVE_CANCEL:
            return Interrupted("the operation was cancelled", "try again")
        case status.NO_CREDENTIALS | status.INVALID_CREDENTIAL:
            return CredentialNotFound(
                "the authenticator does not hold this key", "connect the one that it was enrolled on"
            )
        case status.USER_ACTION_TIMEOUT | status.ACTION_TIMEOUT:
            happened = (
                "the card has been on the reader for too long"
                if is_card
                else "nobody touched the authenticator in time"
            )
            return TimedOut(happened, f"try again and {_touch(token)}")
        case status.NOT_ALLOWED:
            if _scheme(token) == "unix":
                return AuthenticatorError(
                    "the authenticator does not allow that",
                    "if pysk share serves it, see what that prints: it refuses what ssh does not need",
                )
            return AuthenticatorError(
                "the authenticator does not allow that now", "try again when no other program uses it"
            )
        case status.PIN_INVALID:
            return PinInvalid("wrong PIN", "try again")
        case status.PIN_BLOCKED:
            return PinBlocked(
                "the PIN is blocked for good",
                f"only a reset unblocks it, which deletes all keys: {command('reset', token)}",
            )
        case status.PIN_AUTH_BLOCKED:
            return PinBlocked("the PIN is blocked after three wrong tries", f"{power_cycle(token)}, and try again")
        case status.PIN_NOT_SET:
            return PinNotSet("the authenticator has no PIN", set_a_pin(token))
        case status.PUAT_REQUIRED:
            return PinRequired("the authenticator requires its PIN", "enter it when you are asked")
        case status.PIN_POLICY_VIOLATION:
            return AuthenticatorError("the authenticator does not accept this PIN (PIN policy)", "choose a longer one")
        case status.REQUEST_TOO_LARGE:
            return AuthenticatorError(
                "the request is too large for the authenticator",
                "use a shorter application name, or check the key file",
            )
        case status.UP_REQUIRED:
            return PresenceDenied("the authenticator requires a touch", f"try again and {_touch(token)}")
        case status.UV_BLOCKED:
            return PinBlocked(
                "the authenticator's built-in user verification is blocked", f"use its PIN, or {set_a_pin(token)}"
            )
        case status.UV_INVALID:
            return PresenceDenied("the authenticator did not recognise you", "try again")
        case status.OTHER:
            return failure_error("error 0x7f", token)
        case _:
            return AuthenticatorError(f"the authenticator answered with error 0x{code:02x}", "try again")


def _scheme(token: AddressedChannel) -> str:
    return transports.split(token.address)[0]


def _touch(token: AddressedChannel) -> str:
    return "present the card again" if _scheme(token) == "nfc" else "touch it"
