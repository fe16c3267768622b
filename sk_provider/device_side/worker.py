"""The thread in which the commands of all servers run: one after the other, whatever each of them meets."""

from __future__ import annotations

import os
import queue
import threading
import traceback

from sk_provider.ctap.framing import MSG
from sk_provider.errors import SecurityKeyError

from .job import cancellation, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .job import Job

    Complain = Callable[[str], None]
    OnKeepalive = Callable[[int], None]
    Call = Callable[[int, bytes, threading.Event, "OnKeepalive | None"], bytes]

_END_PATIENCE = 5.0
"""Seconds in which the last command must end, once it is cancelled."""


class Worker:
    """Answers jobs in the order in which they come."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Begin. wake: tells the servers, from this thread, that a job has changed."""
        self._wake = wake
        self._actions: queue.SimpleQueue[tuple[Callable[[], None], Complain] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def start(self, job: Job, call: Call, complain: Complain) -> None:
        """Have call answer a job, after all that came before.

        call: takes the command, its data, an event that ends the waiting for a person, and, unless it is U2F's, what is
        told the status of each keep-alive; it returns the response. complain: told why call failed, if it does.
        """

        def answer() -> None:
            try:
                job.response = self._answer(job, call)
            except Exception:
                job.response = failure(job.command)
                raise

        self.do(answer, complain)

    def do(self, action: Callable[[], None], complain: Complain) -> None:
        """Have something done in between, in its turn; complain: told why it failed, if it does."""
        self._actions.put((action, complain))

    def close(self) -> None:
        """End once all is done. Whoever started a job cancels it before."""
        self._actions.put(None)
        self._thread.join(_END_PATIENCE)

    def _work(self) -> None:
        while (item := self._actions.get()) is not None:
            action, complain = item
            try:
                action()
            except Exception as error:  # noqa: BLE001 - the next one is answered whatever this one has met
                _complain_of(error, complain)
            self._wake()

    def _answer(self, job: Job, call: Call) -> bytes:
        if job.cancelled.is_set():  # while it waited for another to end
            return cancellation(job.command)

        def on_keepalive(status: int) -> None:
            job.status = status
            self._wake()

        # A U2F client that waits hears it from the status word (§4.2 of its messages), and may know no keep-alives.
        return call(job.command, job.data, job.cancelled, None if job.command == MSG else on_keepalive)


def _complain_of(error: Exception, complain: Complain) -> None:
    """Tell the sentence of an error of ours; of others kind and place alone, as a message may hold what was sent."""
    what = str(error)
    if not isinstance(error, SecurityKeyError):
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {os.path.basename(place.filename)}:{place.lineno}"
    try:
        complain(what)
    except OSError:  # nobody is there to be told
        pass
