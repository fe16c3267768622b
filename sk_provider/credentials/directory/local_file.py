"""Reading the files of directories that are files: whose they must be, and how long."""

from __future__ import annotations

import posix

from sk_provider.config import expand_home
from sk_provider.errors import DirectoryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SIZE = 64 << 20
MAX_LINE = 64 << 10
"""Bytes."""


def path_of(location: str) -> str:
    """Return the path that a URL names after its scheme: `/path`, `///path`, or one below `~/`, the home.

    Raises DirectoryError if it is no absolute path, and ConfigurationError if there is no home.
    """
    path = expand_home(location.removeprefix("//"))
    if not path.startswith("/") or "\0" in path:
        raise DirectoryError(f"{location} is not an absolute path", "begin it with / or ~/ in KeyDirectory")
    return path


def lines(path: str) -> Iterator[tuple[int, str]]:
    """Yield each line of a file with its number, without its end; what is not UTF-8 is surrogates.

    Only root or the effective user can have written the file: it says who may log in.

    Raises DirectoryError if it is not such a file, or has a line or a size that no list of keys has.
    """
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
    except FileNotFoundError:
        raise DirectoryError(f"{path} does not exist", "make it, or correct KeyDirectory") from None
    except OSError as error:
        raise DirectoryError(f"{path} cannot be read ({error.strerror})", "correct its permissions") from None
    status = posix.fstat(descriptor)
    if status.st_mode & 0o170000 != 0o100000:
        posix.close(descriptor)
        raise DirectoryError(f"{path} is not a regular file", "replace it by one")
    with open(descriptor, "rb") as file:
        if status.st_uid not in (0, posix.geteuid()) or status.st_mode & 0o022:
            raise DirectoryError(
                f"{path} can be written by others", "it must belong to root or you, and be writable by nobody else"
            )
        if status.st_size > MAX_SIZE:
            raise DirectoryError(f"{path} is larger than {MAX_SIZE >> 20} MB", "use another kind of key directory")
        number = 0
        try:
            while content := file.readline(MAX_LINE):
                number += 1
                if len(content) == MAX_LINE:
                    raise DirectoryError(f"{path} line {number} is too long for a record", "correct that line")
                yield number, content.decode("utf-8", "surrogateescape").rstrip("\r\n")
        except OSError as error:
            raise DirectoryError(f"{path} cannot be read ({error.strerror})", "check the file") from None
