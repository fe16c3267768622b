"""What a process has: to tell what something leaves behind in it."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import sys
import time
from collections import Counter

_TICK = 0.02
_SIGNALS = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGPIPE", "SIGTERM", "SIGCHLD", "SIGTSTP", "SIGWINCH")
"""Whose disposition is the host's. Others are used by what limits the time of tests."""


class Leftovers:
    """What the process had when this was made: file descriptors, threads, children, signal handlers and a folder."""

    def __init__(self) -> None:
        self._opened = _opened()
        self._threads = set(sys._current_frames())  # noqa: SLF001 - those of _thread are in no other list
        self._children = _children()
        self._manners = _manners()

    def found(self, seconds: float) -> list[str]:
        """Return what there is more of by now, or is otherwise, in words; for so many seconds it may go away."""
        deadline = time.monotonic() + seconds
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(_TICK)
        return left

    def _left(self) -> list[str]:
        left = []
        if opened := _opened() - self._opened:
            names = _names()
            left.append(
                "file descriptors that were not closed: "
                + ", ".join(f"{each}{names.get(each, '')}" for each in opened.elements())
            )
        if begun := set(sys._current_frames()) - self._threads:  # noqa: SLF001
            left.append(f"threads that have not ended: {len(begun)}")
        if started := _children() - self._children:
            left.append(f"processes that were not ended, or not waited for: {sorted(started)}")
        if socket.getdefaulttimeout() is not None:  # also as a module was imported, before this was made
            left.append("a default timeout (socket.setdefaulttimeout()), which is that of the host's sockets too")
        left += [f"another {name} than before" for name, value in _manners().items() if value != self._manners[name]]
        return left


def _descriptors() -> set[int]:
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            os.fstat(int(name))
        except OSError:  # that of the listing
            continue
        found.add(int(name))
    return found


def _opened() -> Counter[str]:
    """Return how often each file is open.

    What captures the output of tests opens new temporary files for each part of a test, which have no names, or on some
    file systems had one, so that neither these nor their descriptors' numbers are told apart.
    """
    opened: Counter[str] = Counter()
    for descriptor in _descriptors():
        try:
            target = os.readlink(f"/dev/fd/{descriptor}")
        except OSError:  # where these are no links
            target = str(descriptor)
        opened[re.sub(r"/[^/]+ \(deleted\)$", "/# (deleted)", target)] += 1
    return opened


def _names() -> dict[str, str]:
    """Return what tells whose a socket is, by how the system names it: the addresses of both its ends."""
    names = {}
    for descriptor in _descriptors():
        try:
            target = os.readlink(f"/dev/fd/{descriptor}")
            if target.startswith("socket:"):
                with socket.socket(fileno=os.dup(descriptor)) as opened:
                    names[target] = f" at {opened.getsockname()!r}"
                    names[target] += f", connected to {opened.getpeername()!r}"
        except OSError:  # it is gone by now, or connected to nothing
            pass
    return names


def inheritable() -> set[int]:
    """Return the file descriptors that programs inherit, besides the standard streams."""
    return {each for each in _descriptors() if each > 2 and os.get_inheritable(each)}


def _children() -> set[int]:
    """Return our children, also those that ended and were not waited for; none where there is no /proc."""
    children = set()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = file.read().rpartition(b")")[2].split()[1]
        except OSError:
            continue
        if name.isdecimal() and int(parent) == os.getpid():
            children.add(int(name))
    return children


def _manners() -> dict[str, object]:
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "umask": umask,
        "working directory": os.getcwd(),
        "limit of recursion": sys.getrecursionlimit(),
        "sys.setswitchinterval()": sys.getswitchinterval(),
        "limit of open files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        **{f"disposition of {name}": signal.getsignal(getattr(signal, name)) for name in _SIGNALS},
    }
