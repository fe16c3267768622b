"""Channels to tokens that answer what they are told to, or change what a real one answers."""

from __future__ import annotations

from sk_provider.ctap import cbor, framing, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sk_provider.transport_api import Channel, Event
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


class Scripted:
    """Answers CTAP2 commands from a table, by their first byte, and notes what it is asked, and that it is closed.

    Of a list of answers the first goes with the first command, the last with all that follow; whatever is in no table
    goes to the channel behind, if there is one, and is an unknown command otherwise.
    """

    def __init__(self, answers: Mapping[int, bytes | list[bytes]], behind: Channel | None = None) -> None:
        self.capabilities = behind.capabilities if behind else framing.CAPABILITY_CBOR
        self.answers = {
            command: answer if isinstance(answer, list) else [answer] for command, answer in answers.items()
        }
        self.asked: list[bytes] = []
        self.times_closed = 0
        self._behind = behind

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        self.asked.append(data)
        answers = self.answers.get(data[0])
        if answers:
            return answers.pop(0) if len(answers) > 1 else answers[0]
        return self._behind.call(cmd, data, event, on_keepalive) if self._behind else bytes([status.INVALID_COMMAND])

    def close(self) -> None:
        self.times_closed += 1

    def parameters(self, command: int) -> list[dict[int, object]]:
        """Return what came with each command of this number."""
        return [cbor.decode(data[1:]) if data[1:] else {} for data in self.asked if data[0] == command]


def answer(members: dict[int, object]) -> bytes:
    """Return a successful answer to a CTAP2 command."""
    return bytes([status.SUCCESS]) + cbor.encode(members)


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
