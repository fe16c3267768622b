"""Asks a person for presence: until there is an answer, or, as U2F has it, while the client polls."""

from __future__ import annotations

import time
from concurrent import futures

from sk_provider.authenticator.presence import TIMED_OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.authenticator.event import Event
    from sk_provider.authenticator.presence import Presence, PresenceRequest

MOMENT = 0.05  # seconds in which who needs not think has answered
POLL_PATIENCE = 2.0  # seconds between two polls, after which the client is taken to have given up


class Asker:
    """Asks one question at a time: in the caller's thread, or for a client that polls in one of its own."""

    def __init__(self, presence: Presence) -> None:
        """Make what asks by calling presence, see Authenticator."""
        self._presence = presence
        self._pool = futures.ThreadPoolExecutor(1)
        self._polled: _PolledQuestion | None = None

    def ask(self, request: PresenceRequest, event: Event | None) -> int:
        """Return the answer, once there is one; what a U2F client has asked is withdrawn before."""
        self.withdraw()
        if self._polled is not None:
            futures.wait([self._polled.answer])
        return self._presence(request, event)

    def poll(self, request: PresenceRequest) -> int:
        """Return the answer, or TIMED_OUT at once if there is none yet, and go on asking for whoever polls again.

        U2F has no keep-alives: its clients hear that a test of user presence is required, and repeat the request until
        it was passed (U2F Raw Message Formats §4.2 and §5.2).
        """
        question = self._polled
        if question is None or question.is_set() or not question.is_for(request):
            self.withdraw()
            question = self._polled = _PolledQuestion(request)
            question.answer = self._pool.submit(self._presence, request, question)
        question.polled_at = time.monotonic()
        if not futures.wait([question.answer], MOMENT).done:
            return TIMED_OUT
        self._polled = None  # an answer serves one request
        return question.answer.result()

    def withdraw(self) -> None:
        """End the question of a U2F client, if there is one. Called from any thread."""
        question = self._polled
        if question is not None:
            question.withdrawn = True

    def close(self) -> None:
        """Ask nothing more."""
        self.withdraw()
        self._pool.shutdown(wait=False)


class _PolledQuestion:
    """What a U2F client asks again and again; it is the event that ends the asking when the client does not."""

    answer: futures.Future[int]

    def __init__(self, request: PresenceRequest) -> None:
        self._request = request
        self.polled_at = time.monotonic()
        self.withdrawn = False

    def is_for(self, request: PresenceRequest) -> bool:
        return (self._request.action, self._request.rp_id) == (request.action, request.rp_id)

    def is_set(self) -> bool:
        return self.withdrawn or time.monotonic() > self.polled_at + POLL_PATIENCE
