"""The names of servers by their host keys, as the user's known_hosts has them (sshd(8), its format)."""

from __future__ import annotations

import posix
from base64 import b64encode

from sk_provider import config
from sk_provider.errors import ConfigurationError

_MAX_SIZE = 1 << 20
"""Bytes of the file that are looked at."""


def name_of(host_key: bytes) -> str | None:
    """Return the first name of the server that has a key, None if the file has none that is not hashed.

    host_key: as in a .pub file, decoded.
    """
    wanted = b64encode(host_key).decode()
    try:
        text = _read(config.home_directory() + "/.ssh/known_hosts")
    except (OSError, ConfigurationError):
        return None
    for line in text.splitlines():
        words = line.split()
        # A mark, such as @revoked, or a comment stands in the place of names.
        if len(words) >= 3 and words[2] == wanted and words[0][0] not in "@#|":
            name = words[0].split(",")[0]
            return name if not set(name) & set("*?!") else None
    return None


def _read(path: str) -> str:
    # What is no regular file might keep whoever opens or reads it waiting.
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    try:
        if posix.fstat(descriptor).st_mode & 0o170000 != 0o100000:
            return ""
        return posix.read(descriptor, _MAX_SIZE).decode(errors="replace")
    finally:
        posix.close(descriptor)
