"""A channel to a token that answers whatever it is told to."""

from __future__ import annotations

from sk_provider.ctap import framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.transport_api import Event


class Token:
    """Answers every command with the same bytes."""

    def __init__(self, answer: bytes, capabilities: int = framing.CAPABILITY_CBOR) -> None:
        self.answer = answer
        self.capabilities = capabilities

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        return self.answer

    def close(self) -> None:
        """Nothing to let go."""
