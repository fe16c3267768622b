"""One command on its way through the engine, as the transports of the token see it."""

from __future__ import annotations

from threading import Event

from sk_provider.ctap.framing import STATUS_PROCESSING


class Job:
    """A command that was handed to the engine: its state, and in the end its response.

    Only the worker writes `status` and `response`; only the transport calls `cancel`.
    """

    __slots__ = ("cancelled", "command", "data", "response", "status")

    def __init__(self, command: int, data: bytes) -> None:
        """Take a CTAPHID command (0x03 MSG or 0x10 CBOR) and its data."""
        self.command = command
        self.data = data
        self.cancelled = Event()  # what the engine takes as its event
        self.status = STATUS_PROCESSING  # what a keep-alive tells
        self.response: bytes | None = None  # None until the engine has answered

    def cancel(self) -> None:
        """Ask the engine to stop waiting for a person; the response follows as ever."""
        self.cancelled.set()
