"""What may not end, such as where a file system or a server does not answer: it is given up in time."""

from __future__ import annotations

import _thread
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sk_provider.transport_api import Event

    Result = TypeVar("Result")

_TICK = 0.1


def in_time(function: Callable[[], Result], seconds: float, event: Event | None = None) -> Result:
    """Return what a function returns, or raise what it raises, in a thread that is left behind if it takes longer.

    event: ends the wait before that.

    Raises TimeoutError where it has taken too long, and the event's reason() if it is set.
    """
    results: list[Result] = []
    errors: list[BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            errors.append(error)
        done.release()

    _thread.start_new_thread(run, ())
    ends = time.monotonic() + seconds
    while not done.acquire(timeout=_TICK):
        if event is not None and event.is_set():
            raise event.reason()
        if time.monotonic() >= ends:
            raise TimeoutError
    if errors:
        # What is raised here and kept here as well would refer to itself, and stay.
        raise errors.pop()
    return results[0]
