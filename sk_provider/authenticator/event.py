"""What ends a command before it has an answer."""

from __future__ import annotations

from typing import Protocol


class Event(Protocol):
    """What tells that a command shall end: threading.Event is one."""

    def is_set(self) -> bool:
        """Return whether it shall."""
