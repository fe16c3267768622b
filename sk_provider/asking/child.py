"""A program that asks a person for us: it ends when nobody waits for it any more."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from _thread import start_new_thread
from contextlib import contextmanager

from .event import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

_PIECE = 1024
_PARTING = 0.5
"""Seconds in which it ends when it is told to."""


@contextmanager
def usual_signals() -> Iterator[None]:
    """Let those that the library keeps from its host, unless one is on its way, be as any program expects them."""
    held = {signal.SIGPIPE, signal.SIGXFSZ} - signal.sigpending()
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def reap(process: subprocess.Popen[bytes]) -> None:
    """Let a process end when it does, without leaving a zombie to a host that goes on. Raises nothing."""
    try:
        start_new_thread(process.wait, ())
    except RuntimeError:  # there can be no more threads
        process.poll()


class Child:
    """The program, from its start to the end of the ``with`` block, in which it is killed if it goes on.

    status: its exit status, None while it runs.
    """

    def __init__(self, arguments: list[str], variables: dict[str, str], *, has_input: bool = False) -> None:
        """variables: what its environment has besides ours; has_input: whether it is written to.

        Raises OSError if it cannot be started.
        """
        # The host's descriptors, the helper's reply socket among them, are not the child's business.
        with usual_signals():
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env={**os.environ, **variables},
                close_fds=True,
                bufsize=0,
            )
        self._output: int | None = self._process.stdout.fileno()  # type: ignore[union-attr]  # a pipe was asked for
        os.set_blocking(self._output, False)
        self.status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception: object, value: object, traceback: object) -> None:
        # Nobody waits for it any more: the time is over, or a signal has raised an exception.
        if self.status is None:
            # It may have a screen or a window to clear up.
            self._process.terminate()
            try:
                self._process.wait(_PARTING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def read(self) -> bytes:
        """Return what it prints within a tick, b"" for nothing; status is set once it has ended."""
        # One that has closed its output, and goes on, is waited for without it.
        watched = [] if self._output is None else [self._output]
        piece = self._read_on() if select.select(watched, [], [], TICK)[0] else b""
        try:
            pid, status = os.waitpid(self._process.pid, os.WNOHANG)
        except ChildProcessError:
            # A host that has children reaped by the system keeps the status from us; subprocess takes that for 0.
            pid, status = self._process.pid, 1 << 8
        if pid:
            self.status = self._process.returncode = os.waitstatus_to_exitcode(status)
            while rest := self._read_on():
                piece += rest
                if len(piece) > _PIECE * 4:
                    break
        return piece

    def write(self, line: bytes) -> None:
        """Write a line to it. Raises OSError if it reads no more."""
        self._process.stdin.write(line + b"\n")  # type: ignore[union-attr]  # only who has asked for it writes

    def _read_on(self) -> bytes:
        if self._output is None:
            return b""
        try:
            piece = os.read(self._output, _PIECE)
        except BlockingIOError:
            return b""
        if not piece:
            self._output = None
        return piece
