"""The programs that ask a person for us, or tell one: how they are started, and how they end."""

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
    from collections.abc import Iterator, Mapping
    from types import FrameType

_PIECE = 1024
_PARTING = 0.5
"""Seconds in which it ends when it is told to."""
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class NotStarted(Exception):
    """A program cannot be started. The text says why."""


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


def start(
    arguments: list[str],
    environment: Mapping[str, str],
    *,
    has_input: bool = False,
    has_output: bool = False,
    is_silent: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program, with pipes for its input and its output, or nothing in their place.

    is_silent: whether nobody sees what it has to say, or presses keys for it: it has no standard error then, and a
    session of its own, which a terminal's Ctrl-C does not reach.

    Raises NotStarted.
    """
    try:
        # The host's descriptors, the helper's reply socket among them, are not the child's business.
        with usual_signals():
            return subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE if has_output else subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if is_silent else None,
                env=environment,
                cwd="/" if is_silent else None,
                start_new_session=is_silent,
                close_fds=True,
                bufsize=0,
            )
    except OSError as error:
        raise NotStarted(error.strerror) from None


@contextmanager
def running(arguments: list[str], variables: dict[str, str], *, has_input: bool = False) -> Iterator[Child]:
    """Let a program run in the ``with`` block, after which it is ended if it goes on.

    variables: what its environment has besides ours; has_input: whether it is written to.

    Raises NotStarted.
    """
    child = None
    try:
        # An exception before it is known would leave it running.
        with _handlers_put_off():
            process = start(arguments, {**os.environ, **variables}, has_input=has_input, has_output=True)
            child = Child(process)
        yield child
    finally:
        if child is not None:
            child.end()


@contextmanager
def _handlers_put_off() -> Iterator[None]:
    """Have what our own program does when a signal would end it, which is to raise an exception, wait for the end.

    A host that is no Python program has no such handlers, although Python names one for SIGINT that was never put in
    place; and these run in the main thread alone.
    """
    handlers = {
        number: handler
        for number in _ENDING
        if callable(handler := signal.getsignal(number)) and handler is not signal.default_int_handler
    }
    come: list[tuple[int, FrameType | None]] = []
    try:
        for each in handlers:
            signal.signal(each, lambda *what: come.append(what))
    except ValueError:  # it is another thread
        handlers = {}
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for number, frame in come:
            handlers[signal.Signals(number)](number, frame)


class Child:
    """A program that runs. status: its exit status, None while it does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """process: one whose output is a pipe."""
        self._process = process
        self._output: int | None = process.stdout.fileno()  # type: ignore[union-attr]  # a pipe was asked for
        os.set_blocking(self._output, False)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        self.status: int | None = None

    def end(self) -> None:
        """Let it run no more: nobody waits for it, as the time is over, or a signal has raised an exception."""
        if self.status is None:
            try:
                # It may have a screen or a window to clear up.
                self._process.terminate()
                try:
                    self._process.wait(_PARTING)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            except PermissionError:  # it has other rights by now
                reap(self._process)
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
        """Write a line to it. Raises OSError if it reads no more, or has left what came before."""
        content = line + b"\n"
        # It waits for each answer, so that there is room for a line but in the pipe of one that reads nothing.
        if os.write(self._process.stdin.fileno(), content) < len(content):  # type: ignore[union-attr]  # only who has asked for it writes
            raise BlockingIOError

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
