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
    beside = _beside(path)
    _write(beside, content, 0o600)
    try:
        posix.chmod(beside, mode)
        posix.rename(beside, path)
    except BaseException:
        posix.unlink(beside)
        raise


def check(path: str) -> None:
    """Raise OSError if replace() would fail, as far as that can be told beforehand."""
    beside = _beside(path)
    _write(beside, b"\n", 0o600)
    posix.unlink(beside)


def put_all(files: list[tuple[str, bytes, int]], replaced: list[str]) -> None:
    """Make several files, of a path, a content and a mode (but for the umask) each, or none of those that are new.

    replaced: the paths of those that may take another file's place, which is done last.

    Raises OSError, whose filename is one of the paths, if that fails: FileExistsError if another one is there already.
    """
    beside: list[tuple[str, str]] = []
    made: list[str] = []
    path = ""
    try:
        for path, content, mode in files:
            temporary = _beside(path)
            _write(temporary, content, mode)
            beside.append((temporary, path))
        beside.sort(key=lambda pair: pair[1] in replaced)
        for temporary, path in beside:
            if path in replaced:
                posix.rename(temporary, path)
            else:
                made += _put_new(temporary, path)
    except BaseException as error:
        for each in made:
            posix.unlink(each)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, path) from None
        raise
    finally:
        for temporary, _ in beside:
            try:
                posix.unlink(temporary)
            except FileNotFoundError:
                pass


def _put_new(temporary: str, path: str) -> list[str]:
    """Give a file, maybe in addition to the one that it has, a name that no other file has; return that name.

    Raises OSError as put_all().
    """
    try:
        posix.link(temporary, path)  # which replaces nothing, as a renaming would
    except FileExistsError:
        raise
    except OSError:
        # Such as FAT has one name for each file. What a renaming replaces there is our own.
        posix.close(posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600))
        try:
            posix.rename(temporary, path)
        except BaseException:
            posix.unlink(path)
            raise
    return [path]


def _beside(path: str) -> str:
    """Return the path of a new file in the same folder, which programs that read a whole folder leave out.

    It has nothing of the name, which may be as long as there can be, and of the process, for one that was killed may
    have left its file behind, and in a container others get its number.
    """
    return f"{path.rpartition('/')[0]}/.{posix.urandom(8).hex()}"


def _write(path: str, content: bytes, mode: int) -> None:
    """Make a new file, whole or not at all."""
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, mode)
    try:
        try:
            while content:
                content = content[posix.write(descriptor, content) :]
            posix.fsync(descriptor)
        finally:
            posix.close(descriptor)
    except BaseException:
        posix.unlink(path)
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
