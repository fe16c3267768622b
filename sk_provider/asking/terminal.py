"""The terminal at which a person is asked, whose settings are afterwards as they were."""

from __future__ import annotations

import os
import signal
import termios
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

PATH = "/dev/tty"

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
