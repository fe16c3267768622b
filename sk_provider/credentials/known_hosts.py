"""The names of servers by their host keys, as the user's known_hosts has them (sshd(8), its format)."""

from __future__ import annotations

from base64 import b64encode

from sk_provider import config

_MAX_SIZE = 1 << 20
"""Bytes of the file that are looked at."""


def name_of(host_key: bytes) -> str | None:
    """Return the first name of the server that has a key, None if the file has none that is not hashed.

    host_key: as in a .pub file, decoded.
    """
    wanted = b64encode(host_key).decode()
    try:
        with open(config.home_directory() + "/.ssh/known_hosts", encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_SIZE)
    except OSError:
        return None
    for line in text.splitlines():
        words = line.split()
        # A mark, such as @revoked, or a comment stands in the place of names.
        if len(words) >= 3 and words[2] == wanted and words[0][0] not in "@#|":
            name = words[0].split(",")[0]
            return name if not set(name) & set("*?!") else None
    return None
