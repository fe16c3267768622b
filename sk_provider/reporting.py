"""Where the sentences go that a person reads: standard error, a log file, the system's log."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import SecurityKeyError


_TICK = 0.01
"""Seconds after which a terminal that has room for less than a character is looked at again."""


def printable(text: str) -> str:
    """Return text with whatever could end the line or steer a terminal replaced by "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)


def write_stderr(line: bytes) -> int:
    """Write a line to standard error, and return whether it was taken."""
    try:
        return posix.write(2, line) == len(line)
    except OSError:
        return False


def write_in_time(descriptor: int, line: str, seconds: float) -> None:
    """Write a line where a person reads it, who may have stopped the screen, or a program that has stopped reading.

    Raises OSError if it cannot be written whole within so many seconds.
    """
    import select
    import time

    content = f"{line}\n".encode()
    # Of a pipe that is ready, so much is written at once.
    if len(content) > select.PIPE_BUF:
        raise TimeoutError
    deadline = time.monotonic() + seconds
    unblocked = _unblocked(descriptor)
    try:
        poll = select.poll()
        poll.register(unblocked, select.POLLOUT)
        while content:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            try:
                content = content[posix.write(unblocked, content) :]
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError from None
                time.sleep(_TICK)
    finally:
        posix.close(unblocked)


def _unblocked(descriptor: int) -> int:
    """Return another descriptor of the same file that, if it is a terminal, takes what it has room for and no more.

    One of its own, as not to block is for all that share one, such as the shell.
    """
    if posix.isatty(descriptor):
        flags = posix.O_WRONLY | posix.O_NOCTTY | posix.O_NONBLOCK | posix.O_CLOEXEC
        try:
            return posix.open(f"/proc/self/fd/{descriptor}", flags)
        except PermissionError:  # another user's terminal, as after su
            pass
    return posix.dup(descriptor)


def tell(sentence: str, write: Callable[[bytes], int] = write_stderr) -> bool:
    """Print one line on standard error, and return whether it was taken.

    A success may have one, where a person must do what the host has not asked for. write: see write_stderr().
    """
    return bool(write(f"libpysk: {printable(sentence)}\n".encode()))


class Reporter:
    """Reports what a program does not tell its user itself. log_file: a path, or None for the system's log."""

    def __init__(self, write_stderr: Callable[[bytes], int], write_syslog: Callable[[bytes], object]) -> None:
        """Report by these: each takes a line; the first returns whether it was taken."""
        self._write_stderr = write_stderr
        self._write_syslog = write_syslog
        self.log_file: str | None = None

    def tell(self, sentence: str) -> bool:
        """Print one line on standard error, and return whether it was taken."""
        return tell(sentence, self._write_stderr)

    def report(self, error: SecurityKeyError) -> None:
        """Tell a failure: one line on standard error, and in the log if there is a log file or nobody reads the line.

        A question of the host's is told to the logs alone. Nothing is raised: there is nobody left to tell.
        """
        sentence = str(error)
        is_lost = _stderr_is_lost()
        if not error.is_question and not self.tell(sentence):
            is_lost = True
        if self.log_file is not None or is_lost:
            self.log(sentence)

    def log(self, sentence: str) -> None:
        """Write one line to the log file, or to the system's log if there is none or it cannot be written."""
        line = printable(sentence)
        if self.log_file is None or not append_to_log(self.log_file, line):
            self._write_syslog(line.encode())


def _stderr_is_lost() -> bool:
    try:
        return posix.fstat(2).st_rdev == posix.stat("/dev/null").st_rdev
    except OSError:
        return True


def append_to_log(path: str, line: str) -> bool:
    """Append a printable line to a log file, with the time and the process, and return whether it could be written."""
    import time

    return append_line(path, f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} libpysk[{posix.getpid()}]: {line}\n".encode())


def append_line(path: str, entry: bytes) -> bool:
    """Write to the end of a file in one go, which is made if it is not there; return whether that was done.

    It is not done to a file that others can write, or that belongs to anybody but root and the effective user. Where
    there is room for a part alone, as on a full disk, that is taken back, or else the next line would go on from it.
    """
    flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
    try:
        descriptor = posix.open(path, flags, 0o600)
    except OSError:
        return False
    try:
        status = posix.fstat(descriptor)
        if status.st_mode & 0o170022 != 0o100000 or status.st_uid not in (0, posix.geteuid()):
            return False
        written = posix.write(descriptor, entry)
        if written < len(entry):
            end = posix.lseek(descriptor, 0, 1)
            if posix.fstat(descriptor).st_size == end:  # or another program has written behind it
                posix.ftruncate(descriptor, end - written)
        return written == len(entry)
    except OSError:
        return False
    finally:
        posix.close(descriptor)
