"""Waiting for a person to touch an authenticator that speaks CTAP2."""

from __future__ import annotations

import time

from sk_provider.ctap import ES256, cbor, commands, framing, status
from sk_provider.ctap.requests import NO_CLIENT_DATA
from sk_provider.errors import AuthenticatorError

from . import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.transport_api import Event

    from .refusal import AddressedChannel

# An empty pinUvAuthParam (8) asks for a touch alone (CTAP 2.1 §6.1.2, step 1). Every version knows that, as it does not
# authenticatorSelection; so nothing need be asked before.
_ASKING_FOR_A_TOUCH = {
    1: NO_CLIENT_DATA,
    2: {"id": "ssh:touch"},
    3: {"id": b"touch", "name": "touch"},
    4: [{"type": "public-key", "alg": ES256}],
    8: b"",
    9: 1,
}

# What it answers once it is touched; SUCCESS, with a key that nobody keeps, is of an authenticator that knows no PIN.
_TOUCHED = (status.SUCCESS, status.PIN_INVALID, status.PIN_AUTH_INVALID, status.PIN_NOT_SET)

_REACTION = 0.15
"""Seconds in which nobody touches what only begins to blink."""


def wait(token: AddressedChannel, event: Event) -> bool:
    """Ask for a touch by CTAP2, and return whether it was waited for, once the authenticator has answered.

    Raises SecurityKeyError if event ends the wait, or the authenticator refuses or fails.
    """
    asked_at: list[float] = []

    def note_question(keepalive_status: int) -> None:
        if keepalive_status == framing.STATUS_UPNEEDED and not asked_at:
            asked_at.append(time.monotonic())

    request = bytes([commands.MAKE_CREDENTIAL]) + cbor.encode(_ASKING_FOR_A_TOUCH)
    response = token.call(framing.CBOR, request, event, note_question)
    if not response:
        raise AuthenticatorError("the authenticator's answer is empty", "try again")
    if response[0] not in _TOUCHED:
        raise refusal.error_of(response[0], token)
    return bool(asked_at) and time.monotonic() - asked_at[0] >= _REACTION
