"""A token that is plugged into this machine by the test's own process, which sees what happens to it."""

from __future__ import annotations

import threading
from typing import Any, Generic, TypeVar

from sk_provider.authenticator.presence import GRANTED
from sk_provider.authenticator.profiles import profile
from sk_provider.authenticator.store import Store
from sk_provider.cli.serve import _presence
from sk_provider.ctap.framing import REPORT_SIZE
from sk_provider.device_side.errors import ServeError
from sk_provider.device_side.loop import Loop
from sk_provider.device_side.uhid import UhidServer
from sk_provider.virtual_key.serving import Serving
from support.faulty import FaultyHidServer, FaultyKey, planted
from support.messages import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from sk_provider.authenticator.event import Event
    from sk_provider.authenticator.presence import Presence, PresenceRequest
    from sk_provider.device_side.job import PluggedIn
    from sk_provider.device_side.loop import Server

AnyServer = TypeVar("AnyServer", bound="Server")

NEVER, SOON = "after:600000", "after:500"  # when somebody comes to touch it


class NotingServer(UhidServer):
    """Notes the names of the messages that clients send, in order."""

    def __init__(self, plugged_in: PluggedIn, loop: Loop) -> None:
        self.messages: list[str] = []
        super().__init__(plugged_in, loop)

    def receive(self, untrusted_report: bytes, peer: str) -> None:
        if len(untrusted_report) == REPORT_SIZE and (name := name_of(untrusted_report)):
            self.messages.append(name)
        super().receive(untrusted_report, peer)


class _Serving(Serving, Generic[AnyServer]):
    """Serves by what it is given, whatever the address."""

    server: AnyServer

    def __init__(self, key: FaultyKey, loop: Loop, server: type[AnyServer]) -> None:
        super().__init__(key, loop)
        self._make_server: Any = planted(FaultyHidServer, server, key)

    def _open(self, scheme: str, where: str, port: int) -> Server:
        self.server = self._make_server(self._key, self._loop)
        return self.server


class Plugged(Generic[AnyServer]):
    """A token with its keys in a store, until the end of the with statement, or until it dies of its fault.

    presence: who touches it, see `pysk serve`, or what tells that, as for an Authenticator; gestures: how often
    somebody has touched it, or was verified by it; is_blinking: whether it waits for somebody.
    """

    def __init__(
        self,
        server: type[AnyServer],
        store: Path,
        profile_name: str,
        presence: str | Presence = "auto",
        fault: str = "",
    ) -> None:
        self.presence = presence
        self.gestures = 0
        self.is_blinking = False
        self._loop = Loop()
        what = profile(profile_name)
        key = FaultyKey(fault, Store.open(str(store)), self._touch, what, lambda _: None, self._loop.wake)
        self._serving = _Serving(key, self._loop, server)
        self._thread = threading.Thread(target=self._run)

    @property
    def server(self) -> AnyServer:
        """What serves it, once it is plugged in."""
        return self._serving.server

    def __enter__(self) -> Self:
        self._serving.open(("uhid:",))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.stop()
        self._thread.join()
        self._loop.close()

    def _touch(self, request: PresenceRequest, event: Event | None) -> int:
        self.is_blinking = True
        presence = _presence(self.presence) if isinstance(self.presence, str) else self.presence
        answer = presence(request, event)
        self.is_blinking = False
        self.gestures += answer == GRANTED
        return answer

    def _run(self) -> None:
        with self._serving:
            try:
                self._serving.run()
            except ServeError:
                pass
