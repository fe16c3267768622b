"""The software authenticator as a key that is plugged in: one engine on one store, and its power."""

from __future__ import annotations

import functools
import os
import time

from sk_provider.authenticator.engine import Authenticator
from sk_provider.ctap.framing import MSG
from sk_provider.device_side.job import Job
from sk_provider.device_side.worker import Worker
from sk_provider.errors import StoreUnusable

from .asking import Asker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.authenticator.event import Event
    from sk_provider.authenticator.power_up import OnKeepalive
    from sk_provider.authenticator.presence import Presence, PresenceRequest
    from sk_provider.authenticator.profiles import Profile
    from sk_provider.authenticator.store import Store

RESET_WINDOW = 10.0  # seconds after power-up, CTAP 2.1 §6.6


class VirtualKey:
    """Runs one command at a time, whichever server it came by. See device_side.job.PluggedIn."""

    def __init__(
        self,
        store: Store,
        presence: Presence,
        profile: Profile,
        say: Callable[[str], None],
        wake: Callable[[], None],
    ) -> None:
        """Plug it in.

        store: where it keeps what must survive; presence: asks a person, see Authenticator; profile: what it behaves
        as; say: tells the person who serves it something, from any thread; wake: see Worker.
        """
        self._say = say
        self._store = store
        self._asker = Asker(presence)
        self._command = 0  # the one that runs
        self._profile = profile
        self.power_up()
        self.capabilities = self._authenticator.capabilities
        self._worker = Worker(wake)

    def power_up(self) -> None:
        """Begin another power cycle: what RAM held is gone, PIN tries are allowed again, and a reset for 10 s."""
        self._asker.withdraw()
        deadline = time.monotonic() + RESET_WINDOW
        self._authenticator = Authenticator(
            self._store,
            self._ask,
            self._profile,
            power_cycle=os.urandom(16),
            reset_allowed=lambda: time.monotonic() < deadline,
        )

    def limit_requests(self, size: int) -> None:
        """See PluggedIn; getInfo announces it."""
        self._profile.max_message_size = min(self._profile.max_message_size, size)

    def start(self, caller: object, command: int, data: bytes) -> Job:
        """See PluggedIn."""
        job = Job(command, data)
        self._worker.start(job, functools.partial(self.answer, self._authenticator, caller), self._say)
        return job

    def answer(
        self,
        authenticator: Authenticator,
        caller: object,
        command: int,
        data: bytes,
        cancelled: Event,
        on_keepalive: OnKeepalive | None,
    ) -> bytes:
        """Have the authenticator answer, which is that of the power-up in which the command came; in the worker."""
        self._command = command
        return authenticator.call(command, data, cancelled, on_keepalive, caller)

    def announced(self) -> int:
        """See PluggedIn. A store that cannot be read is told, and announces what it might."""
        try:
            return self._authenticator.announced()
        except StoreUnusable as error:
            self._say(str(error))
            return self.capabilities

    def wink(self) -> None:
        """See PluggedIn."""
        self._say("the token winks")

    def close(self) -> None:
        """Unplug. Who started a command cancels it before."""
        self._worker.close()
        self._asker.close()

    def _ask(self, request: PresenceRequest, event: Event | None) -> int:
        return self._asker.poll(request) if self._command == MSG else self._asker.ask(request, event)
