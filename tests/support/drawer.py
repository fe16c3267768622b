"""Transports with scripted authenticators in them, which take the places of our own."""

from __future__ import annotations

import sys
import time

from sk_provider.ctap import cbor, commands, framing, sha256, status
from support.answering import answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

    from sk_provider.config import Configuration
    from sk_provider.errors import SecurityKeyError
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Channel, Event

APPLICATION = "ssh:"
SIGNATURE = bytes.fromhex("3006020101020101")


class Player:
    """An authenticator that says of a key what it is told to, and waits for a touch.

    holds: the status that it answers to a silent question for a key, 0 if it holds it; touched_after: seconds, None
    for never; asks_for_touch: whether it says that it waits for one; options, tries: as it tells them; error: what
    every command raises.
    """

    def __init__(
        self,
        holds: int = status.NO_CREDENTIALS,
        touched_after: float | None = None,
        *,
        asks_for_touch: bool = True,
        options: Mapping[str, bool] | None = None,
        tries: int = 8,
        error: SecurityKeyError | None = None,
        capabilities: int = framing.CAPABILITY_CBOR,
    ) -> None:
        self.capabilities = capabilities
        self.asked: list[int] = []
        self.times_closed = 0
        self.gave_up = False
        self._holds = holds
        self._touched_after = touched_after
        self._asks_for_touch = asks_for_touch
        self._options = dict(options or {})
        self._tries = tries
        self._error = error

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        assert event is not None
        assert not self.times_closed
        self.asked.append(data[0])
        if self._error is not None:
            raise self._error
        if cmd == framing.MSG:
            return self._holds.to_bytes(2, "big")
        if data[0] == commands.MAKE_CREDENTIAL:
            return self._wait_for_touch(event, on_keepalive)
        if data[0] == commands.GET_ASSERTION:
            return self._assert(cbor.decode(data[1:]))
        if data[0] == commands.GET_INFO:
            return answer({1: ["FIDO_2_0"], 3: bytes(16), 4: self._options})
        if data[0] == commands.CLIENT_PIN:
            return answer({3: self._tries})
        return bytes([status.INVALID_COMMAND])

    def _assert(self, parameters: dict[int, object]) -> bytes:
        if self._holds:
            return bytes([self._holds])
        flags = 0 if parameters.get(5) == {"up": False} else 1
        return answer({2: sha256(APPLICATION.encode()) + bytes([flags]) + bytes(4), 3: SIGNATURE})

    def _wait_for_touch(self, event: Event, on_keepalive: Callable[[int], None] | None) -> bytes:
        if self._asks_for_touch and on_keepalive is not None:
            on_keepalive(framing.STATUS_UPNEEDED)
        deadline = None if self._touched_after is None else time.monotonic() + self._touched_after
        while deadline is None or time.monotonic() < deadline:
            if event.is_set():
                self.gave_up = True
                raise event.reason()
            time.sleep(0.01)
        return bytes([status.PIN_NOT_SET])

    def close(self) -> None:
        self.times_closed += 1


class Drawer:
    """A transport with channels in it by their locations; what is none is raised when it is opened or discovered.

    An error in found is raised for its location; where a location is not in it, those in the drawer that begin with it
    are found.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel | SecurityKeyError] | None = None,
        found: Mapping[str, list[str] | SecurityKeyError] | None = None,
    ) -> None:
        self.channels = dict(channels or {})
        self.found = dict(found or {})
        self.opened: list[tuple[str, bool]] = []

    def discover(self, location: str) -> list[str]:
        found = self.found.get(location, [each for each in self.channels if each.startswith(location)])
        if isinstance(found, Exception):
            raise found
        return found

    def open(self, location: str, _configuration: Configuration, _operation: Operation, *, may_create: bool) -> Channel:
        self.opened.append((location, may_create))
        channel = self.channels[location]
        if isinstance(channel, Exception):
            raise channel
        return channel

    def put_in_place_of(self, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this serve a scheme of ours."""
        monkeypatch.setitem(sys.modules, f"sk_provider.transports.{scheme}", self)
