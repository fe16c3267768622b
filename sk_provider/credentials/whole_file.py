"""Files that are replaced whole or not at all, by one program at a time."""

from __future__ import annotations

import posix

_LOCK_PATIENCE = 5.0
"""Seconds in which others have changed their files; one that takes longer is stuck."""
_TICK = 0.01


def lock(folder: str) -> int:
    """Return a descriptor of a folder, with a lock that keeps others from changing files in it, until it is closed.

    It has none where the file system knows no such locks, or where another keeps it too long.
    """
    import fcntl
    import time

    descriptor = posix.open(folder, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    ends = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < ends:
                time.sleep(_TICK)
                continue
        except OSError:
            pass
        return descriptor


def replace(path: str, content: bytes, mode: int = 0o600) -> None:
    """Put a whole file in the place of the old one, or leave that and nothing else. Raises OSError if that fails."""
    folder, _, name = path.rpartition("/")
    # Programs that read a whole folder leave such names out.
    beside = f"{folder}/.{name}.{posix.getpid()}"
    descriptor = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        try:
            posix.fchmod(descriptor, mode)
            while content:
                content = content[posix.write(descriptor, content) :]
            posix.fsync(descriptor)
        finally:
            posix.close(descriptor)
        posix.rename(beside, path)
    except BaseException:
        posix.unlink(beside)
        raise


def make_folders(path: str) -> None:
    """Make a folder and those above it that are missing; "" is the root, which is there."""
    if not path:
        return
    try:
        posix.stat(path)
    except FileNotFoundError:
        make_folders(path.rpartition("/")[0])
        try:
            posix.mkdir(path, 0o700)
        except FileExistsError:
            # Another has made it meanwhile.
            return
