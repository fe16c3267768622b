"""What directories answered last, each answer in a file of ours, so that one that cannot be asked locks nobody out.

A file says whose answer it is and when it was given. Whatever is wrong with it means that nothing is known.
"""

from __future__ import annotations

import json
import os
import time

from sk_provider.credentials import whole_file
from sk_provider.ctap import sha256

_HEADER = b"# libpysk: what a key directory answered, version 1"
_MAX_SIZE = 2 << 20
"""Bytes, more than an answer that is kept has."""

MAX_FILES = 256
"""How many answers are kept, the newest ones."""


class Answer:
    """content: what was answered; tag: the server's name for it (ETag, RFC 9110 §8.8.3), "" if it has none; asked_at:
    when the server last said that it holds, in seconds since 1970.
    """

    __slots__ = ("asked_at", "content", "tag")

    def __init__(self, content: bytes, tag: str, asked_at: float) -> None:
        self.content = content
        self.tag = tag
        self.asked_at = asked_at


def recall(folder: str | None, url: str, user: str, max_age: float) -> Answer | None:
    """Return what a URL answered for a user, None if it is not known, or is older than so many seconds."""
    if folder is None:
        return None
    try:
        untrusted = _read(_path(folder, url, user))
        header, description, content = untrusted.split(b"\n", 2)
        said = json.loads(description)
        if header != _HEADER or said["url"] != url or said["user"] != user or said["sha256"] != sha256(content).hex():
            return None
        answer = Answer(content, str(said["tag"]), float(said["asked_at"]))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    # A clock that was put back makes none of them younger.
    return answer if 0 <= time.time() - answer.asked_at < max_age else None


def remember(folder: str | None, url: str, user: str, answer: Answer) -> None:
    """Keep an answer in the place of the one before; what cannot be kept is not known, and an older one neither."""
    if folder is None:
        return
    said = {
        "url": url,
        "user": user,
        "tag": answer.tag,
        "asked_at": answer.asked_at,
        "sha256": sha256(answer.content).hex(),
    }
    try:
        whole_file.make_folders(folder)
        _make_room(folder)
        whole_file.replace(_path(folder, url, user), b"\n".join((_HEADER, json.dumps(said).encode(), answer.content)))
    except OSError:
        forget(folder, url, user)


def forget(folder: str | None, url: str, user: str) -> None:
    """Keep no answer of a URL for a user."""
    if folder is None:
        return
    try:
        os.unlink(_path(folder, url, user))
    except OSError:
        return


def _path(folder: str, url: str, user: str) -> str:
    return f"{folder}/{sha256(json.dumps([url, user]).encode()).hex()}.answer"


def _read(path: str) -> bytes:
    """Return what a file has. Raises OSError if it cannot be read, and ValueError if others can write it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_mode & 0o170022 != 0o100000 or status.st_uid != os.geteuid():
            raise ValueError
        return file.read(_MAX_SIZE)


def _make_room(folder: str) -> None:
    """Delete the oldest answers, and what is left of processes that were killed while they wrote one."""
    with os.scandir(folder) as entries:
        found = [
            (entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries if ".answer" in entry.name
        ]
    for _, path in sorted(found)[: max(0, len(found) - MAX_FILES + 1)]:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue  # Another has deleted it meanwhile.
