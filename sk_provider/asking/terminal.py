"""The terminal at which a person is asked, whose settings are afterwards as they were."""

from __future__ import annotations

import os
import signal
import termios
from contextlib import contextmanager

from . import child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

PATH = "/dev/tty"

# Shows what is typed again, unless a shell reads each key by now, if its input ends without a line: then the host has
# ended without a chance to do it, as by a signal that another thread than the asking one was given.
_GUARD = """
exec 2>/dev/null
trap '' HUP INT QUIT TERM TTOU
read -r _ || case $(stty -a </dev/tty) in *-icanon*) ;; *) stty echo -echonl </dev/tty ;; esac
"""

_DEADLY = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


def open_terminal() -> int | None:
    """Return a descriptor of the terminal, None if there is none."""
    try:
        return os.open(PATH, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return None


@contextmanager
def silent(terminal: int) -> Iterator[None]:
    """Let the terminal show nothing that is typed, in the ``with`` block.

    Raises OSError or termios.error if it cannot, as it is no terminal for whoever has lost it.
    """
    before = termios.tcgetattr(terminal)
    settings = before.copy()
    settings[3] = (settings[3] & ~termios.ECHO) | termios.ECHONL
    with _guarded():
        # Not once what was written is read, which a person who has stopped the screen puts off.
        termios.tcsetattr(terminal, termios.TCSANOW, settings)
        try:
            # Keys pressed before the question was seen are no answer to it.
            termios.tcflush(terminal, termios.TCIFLUSH)
            yield
        finally:
            # A shell that has its terminal back, as ssh has ended by ^C, may have settings of its own by now.
            if termios.tcgetattr(terminal)[3] & (termios.ECHO | termios.ICANON) == termios.ICANON:
                _set(terminal, before)


@contextmanager
def _guarded() -> Iterator[None]:
    """Have the terminal show what is typed again if the process ends in the ``with`` block, where that can be.

    A host that has one thread has none in which a signal could end it, see signals_held().
    """
    try:
        is_alone = len(os.listdir("/proc/self/task")) == 1
    except OSError:  # there is no /proc, or no descriptor for it
        is_alone = False
    if is_alone:
        yield
        return
    try:
        guard = child.start(["/bin/sh", "-c", _GUARD], {"PATH": "/usr/bin:/bin"}, has_input=True)
    except child.NotStarted:
        yield
        return
    try:
        yield
    finally:
        try:
            os.write(guard.stdin.fileno(), b"\n")  # type: ignore[union-attr]  # a pipe was asked for
        except OSError:  # it has ended
            pass
        guard.stdin.close()  # type: ignore[union-attr]  # as above
        child.reap(guard)


@contextmanager
def kept(terminal: int) -> Iterator[None]:
    """Let the terminal be after the ``with`` block as it was before, whatever another program does to it in there.

    Raises OSError or termios.error as silent() does.
    """
    before = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        try:
            if termios.tcgetattr(terminal) != before and os.tcgetpgrp(terminal) == os.getpgrp():
                _set(terminal, before)
        except (OSError, termios.error):  # it is gone
            pass


@contextmanager
def signals_held() -> Iterator[Callable[[], bool]]:
    """Keep the signals that would end the process from this thread, in the ``with`` block, so that it can clear up.

    They come afterwards, to whom the host has them come. Yields what tells whether one of them waits for that.
    """
    heeded = {number for number in _DEADLY if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heeded)
    try:
        yield lambda: bool((signal.sigpending() & heeded) - before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _set(terminal: int, settings: list[Any]) -> None:
    # Who is no longer in the foreground would be stopped.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        termios.tcsetattr(terminal, termios.TCSANOW, settings)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
