"""Files that settings name, which may be anything: what is in them."""

from __future__ import annotations

import os
import stat


def content_of(path: str, most: int) -> bytes:
    """Return so many bytes of a file at most, none of what is no regular file: a FIFO would have to be waited for.

    Raises OSError if it cannot be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)
