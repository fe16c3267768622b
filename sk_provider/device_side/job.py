"""What is plugged in, as the servers see it, and one command on its way to it."""

from __future__ import annotations

from threading import Event
from typing import Protocol

from sk_provider.ctap.apdu import SW_UNKNOWN
from sk_provider.ctap.framing import CBOR, STATUS_PROCESSING
from sk_provider.ctap.status import KEEPALIVE_CANCEL, OTHER


class PluggedIn(Protocol):
    """Whatever starts a job for a command. The servers call it from their one thread.

    capabilities: what it answers, in the bits of CTAPHID_INIT (CTAP 2.1 §11.2.9.1.3).
    """

    capabilities: int

    def announced(self) -> int:
        """Return what INIT and SELECT shall say of the capabilities at this moment."""

    def limit_requests(self, size: int) -> None:
        """Take, and announce, CTAP2 requests of no more bytes than size: a server cannot receive longer ones."""

    def start(self, caller: object, command: int, data: bytes) -> Job:
        """Hand a command over (0x03 MSG or 0x10 CBOR), after those that came before.

        caller: whose it is; what one has begun, such as a list, no other goes on with.
        """

    def wink(self) -> None:
        """Show the person which one this is (§11.2.9.2.1)."""


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
