"""What ends the wait for an answer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Event(Protocol):
        """As in transport_api."""

        def is_set(self) -> bool:
            """Return whether waiting makes no sense any more."""


TICK = 0.1
"""Seconds between two looks at whether waiting still makes sense."""
