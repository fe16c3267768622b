"""Channels to tokens that answer what they are told to, or change what a real one answers."""

from __future__ import annotations

from sk_provider.ctap import cbor, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.transport_api import Event
    from support.soft_token import Device


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


class Liar:
    """Passes commands on to a software authenticator, and changes the members of its answers to CTAP2 commands."""

    def __init__(self, device: Device, lie: Callable[[bytes, dict[int, object]], None]) -> None:
        """lie: takes a request, with its command byte, and its answer, which it changes."""
        self.capabilities = framing.CAPABILITY_CBOR
        self._device = device
        self._lie = lie

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        response = self._device.call(cmd, data)
        if len(response) == 1:
            return response
        answer = cbor.decode(response[1:])
        self._lie(data, answer)
        return response[:1] + cbor.encode(answer)

    def close(self) -> None:
        """Nothing to let go."""
