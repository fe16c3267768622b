"""One command on its way to whatever is plugged in, as the servers see it, and how it ends without an answer."""

from __future__ import annotations

from threading import Event

from sk_provider.ctap.apdu import SW_UNKNOWN
from sk_provider.ctap.framing import CBOR, STATUS_PROCESSING
from sk_provider.ctap.status import KEEPALIVE_CANCEL, OTHER


class Job:
    """A command that was handed over: its state, and in the end its response.

    Only the worker writes status and response; only the server calls cancel().
    """

    __slots__ = ("cancelled", "command", "data", "response", "status")

    def __init__(self, command: int, data: bytes) -> None:
        """Take a CTAPHID command (0x03 MSG or 0x10 CBOR) and its data."""
        self.command = command
        self.data = data
        self.cancelled = Event()
        self.status = STATUS_PROCESSING  # what a keep-alive tells
        self.response: bytes | None = None  # None until there is an answer

    def cancel(self) -> None:
        """Ask whoever works on it to stop waiting for a person; the response follows as ever."""
        self.cancelled.set()


def failure(command: int) -> bytes:
    """Return the response to a CTAPHID MSG or CBOR command that failed for no reason that the client could use."""
    return bytes([OTHER]) if command == CBOR else SW_UNKNOWN.to_bytes(2, "big")


def cancellation(command: int) -> bytes:
    """Return the response to a command that was cancelled before its beginning; U2F knows nothing of cancelling."""
    return bytes([KEEPALIVE_CANCEL]) if command == CBOR else failure(command)
