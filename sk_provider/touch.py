"""Waiting for a person to touch one authenticator of several."""

from __future__ import annotations

from . import refusal
from .ctap import ES256, cbor, framing, status
from .ctap.commands import NO_CLIENT_DATA
from .errors import AuthenticatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .transports import Channel, Event

# An empty pinUvAuthParam (8) asks for a touch alone (CTAP 2.1 §6.1.2, step 1). Every version knows that, as it does not
# authenticatorSelection; so nothing need be asked before.
_MAKE_CREDENTIAL = 0x01
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


def wait_for_touch(channel: Channel, event: Event) -> None:
    """Return once the authenticator has been touched.

    Raises SecurityKeyError if event ends the wait, or the authenticator refuses or fails.
    """
    if not channel.capabilities & framing.CAPABILITY_CBOR:
        from . import u2f

        u2f.wait_for_touch(channel, event)
        return
    request = bytes([_MAKE_CREDENTIAL]) + cbor.encode(_ASKING_FOR_A_TOUCH)
    response = channel.call(framing.CBOR, request, event)
    if not response:
        raise AuthenticatorError("the authenticator's answer is empty", "try again")
    if response[0] not in _TOUCHED:
        raise refusal.to_error(response[0])
