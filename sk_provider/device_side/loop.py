"""The one thread in which all servers wait for packets, for time to pass, and for answers."""

from __future__ import annotations

import os
import selectors
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Server(Protocol):
        """One way to reach what is plugged in. name: the address under which clients find it."""

        name: str

        def tick(self, now: float) -> None:
            """Send what is due."""

        def deadline(self) -> float | None:
            """Return when tick is to be called at the latest, by the monotonic clock."""

        def clear(self) -> None:
            """Forget all that was begun, because the power was cut."""

        def close(self) -> None:
            """Withdraw from the clients."""


class Loop:
    """Waits on file descriptors for the servers that registered them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._is_woken_by_signals = False
        self._wake_reader, self._wake_writer = os.pipe()
        for fd in (self._wake_reader, self._wake_writer):
            os.set_blocking(fd, False)
        self.watch(self._wake_reader, lambda: os.read(self._wake_reader, 4096))

    def watch(self, fd: int, readable: Callable[[], object]) -> None:
        """Call readable whenever fd has something to read."""
        self._selector.register(fd, selectors.EVENT_READ, readable)

    def unwatch(self, fd: int) -> None:
        """Stop watching fd, before it is closed."""
        self._selector.unregister(fd)

    def run(self, servers: list[Server]) -> None:
        """Serve until stop() is called. Raises ServeError if one of the servers cannot go on."""
        while not self._stopping:
            due = min((deadline for server in servers if (deadline := server.deadline()) is not None), default=None)
            timeout = None if due is None else max(0.0, due - time.monotonic())
            for key, _ in self._selector.select(timeout):
                if key.fileobj in self._selector.get_map():  # not closed by one that came before it
                    key.data()
            now = time.monotonic()
            for server in servers:
                server.tick(now)

    def wake(self) -> None:
        """Let the loop look again; from any thread or signal handler, and after close without effect."""
        try:
            os.write(self._wake_writer, b"\0")
        except OSError:
            pass  # the pipe is full, so the loop will wake; or it is closed

    def stop(self) -> None:
        """End run; from any thread or signal handler."""
        self._stopping = True
        self.wake()

    def is_stopping(self) -> bool:
        """Return whether stop has been called."""
        return self._stopping

    def stop_on_signals(self) -> None:
        """Stop on SIGINT, SIGTERM and SIGHUP; from the main thread.

        A handler in Python alone would be too late for a signal that comes just before the wait begins.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: self.stop())
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        self._is_woken_by_signals = True

    def close(self) -> None:
        """Give back the descriptors."""
        if self._is_woken_by_signals:
            signal.set_wakeup_fd(-1)
        self._selector.close()
        writer, self._wake_writer = self._wake_writer, -1
        os.close(self._wake_reader)
        os.close(writer)
