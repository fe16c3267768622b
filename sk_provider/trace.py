"""The lines of a trace: what went over the wire and what was decided, each with its time. Loaded only for one."""

from __future__ import annotations

import _thread
import time

from . import __version__, reporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Configuration

_MAX_LENGTH = 4000
"""Characters of a line, whatever an authenticator sends."""


def log_trace(configuration: Configuration, tell: Callable[[str], object]) -> Trace:
    """Return the trace that goes to the log file of a configuration.

    tell: gives the person a sentence, where the log file cannot be written.
    """
    path = configuration.log_file or ""
    shown = f"the log file {path}" if configuration.trusts_environment else "the log file"

    def write(line: str) -> bool:
        return reporting.append_to_log(path, reporting.printable(line))

    def failed() -> None:
        tell(
            f"{shown} cannot be written, so that there is no trace; correct LogFile in pysk_config, or remove LogLevel"
        )

    return _begun(Trace(write, failed))


def stderr_trace(program: str) -> Trace:
    """Return the trace of a program that goes to standard error."""

    def write(line: str) -> bool:
        return bool(reporting.write_stderr(f"{program}: {reporting.printable(line)}\n".encode()))

    return _begun(Trace(write))


def _begun(trace: Trace) -> Trace:
    trace(f"sk-provider {__version__}")
    return trace


class Trace:
    """Takes sentences from any thread, and writes a line of each: milliseconds since the start, address, sentence."""

    def __init__(self, write: Callable[[str], bool], failed: Callable[[], object] = lambda: None) -> None:
        """Start the clock.

        write: takes a line, in which there may be anything, and returns whether it could be written; failed: is called
        once where it could not, after which nothing more is written.
        """
        self._write = write
        self._failed = failed
        self._is_written = True
        self._lock = _thread.allocate_lock()
        self._addresses: dict[int, str] = {}
        self._started = time.monotonic()

    def __call__(self, sentence: str) -> None:
        """Write a sentence, about the authenticator of the about() that the thread is in. Raises nothing."""
        address = self._addresses.get(_thread.get_ident())
        about = f"{address} " if address else ""
        line = f"{(time.monotonic() - self._started) * 1000:.1f} ms: {about}{sentence}"
        if len(line) > _MAX_LENGTH:
            line = f"{line[:_MAX_LENGTH]}..."
        with self._lock:
            if not self._is_written or self._write(line):
                return
            self._is_written = False
        self._failed()

    def about(self, address: str) -> _About:
        """Return a context manager in which the thread's sentences are about the authenticator at an address."""
        return _About(self._addresses, address)


class _About:
    def __init__(self, addresses: dict[int, str], address: str) -> None:
        self._addresses = addresses
        self._address = address

    def __enter__(self) -> None:
        self._before = self._addresses.get(_thread.get_ident())
        self._addresses[_thread.get_ident()] = self._address

    def __exit__(self, *_error: object) -> None:
        if self._before is None:
            del self._addresses[_thread.get_ident()]
        else:
            self._addresses[_thread.get_ident()] = self._before
