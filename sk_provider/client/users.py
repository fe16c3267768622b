"""Which other programs have a device open, as far as /proc tells: of one's own processes, and to root of all."""

from __future__ import annotations

import os

from sk_provider.asking.hosts import name_of

_MAX_USERS = 8


class User:
    """A process. number: the kernel's; program: what it is called, "" if that is not told."""

    def __init__(self, number: int, program: str) -> None:
        self.number = number
        self.program = program


def users_of(path: str) -> list[User]:
    """Return the other processes that have the device file at a path open, _MAX_USERS at most. Raises nothing."""
    users: list[User] = []
    path = os.path.realpath(path)
    for number in sorted(int(name) for name in _listed("/proc") if name.isdecimal()):
        if number == os.getpid() or len(users) == _MAX_USERS:
            continue
        folder = f"/proc/{number}/fd"
        if any(_target(f"{folder}/{name}") == path for name in _listed(folder)):
            users.append(User(number, name_of(str(number))))
    return users


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        # It has ended, or is another user's; or there is no /proc.
        return []


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
