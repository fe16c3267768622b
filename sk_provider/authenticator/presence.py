"""A person's presence: what the authenticator asks for, in which words, and the answers that there are."""

from __future__ import annotations

from sk_provider.ctap import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .event import Event

    Presence = Callable[["PresenceRequest", Event | None], int]

GRANTED = 0
DENIED = 1
TIMED_OUT = 2
CANCELLED = 3

REFUSALS = {
    DENIED: status.OPERATION_DENIED,
    TIMED_OUT: status.USER_ACTION_TIMEOUT,
    CANCELLED: status.KEEPALIVE_CANCEL,
}
"""By answer, the status of a command that is refused."""


class PresenceRequest:
    """What a person is asked for.

    action: "enroll", "sign", "select", "reset", or "verify" for built-in user verification, which is presence too.
    rp_id: the RP id; for U2F the hexadecimal SHA-256 of one; empty for select and reset.
    user_name: the account's name, empty if none is known.
    """

    __slots__ = ("action", "rp_id", "user_name")

    def __init__(self, action: str, rp_id: str = "", user_name: str = "") -> None:
        self.action = action
        self.rp_id = rp_id
        self.user_name = user_name

    def question(self, called: str = "the software authenticator") -> str:
        """Return the question to ask, of what is called so; it may hold anything that a client has called an RP."""
        match self.action:
            case "enroll":
                return f"Make a key for {self.rp_id} on {called}?"
            case "sign":
                return f"Sign for {self.rp_id} with {called}?"
            case "reset":
                return f"Delete all keys of {called}?"
            case _:
                return f"Use {called}?"
