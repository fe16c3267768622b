"""The library that ssh loads: which one a release of OpenSSH wants, where it is, and whether it can be loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys

FIRST_RELEASES = {10: (9, 1), 9: (8, 9), 7: (8, 4), 5: (8, 3), 4: (8, 2)}
"""The first release of OpenSSH that wants each major of its API, the newest first."""

NEWEST = 10

_PATIENCE = 10
"""Seconds in which a program must answer that does nothing but tell of itself."""

# As ssh loads it: all symbols at once, and visible to nobody else.
_LOAD = """
import ctypes, sys
print(ctypes.CDLL(sys.argv[1]).sk_api_version() >> 16)
try:
    with open("/proc/self/maps") as maps:
        print(next((line.split(None, 5)[5].strip() for line in maps if "/libpython3" in line), ""))
except OSError:
    print()
"""


class LoadFailed(Exception):
    """A library cannot be loaded: why, and what the person can do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy


class Loaded:
    """What a library tells. api: the major of the API that it implements; libpython: that file's path, or ""."""

    def __init__(self, api: int, libpython: str) -> None:
        self.api = api
        self.libpython = libpython


def release_of(program: str) -> tuple[int, int] | None:
    """Return the release of OpenSSH that an ssh is of, None if it cannot be run or is another program."""
    try:
        done = _run(program, "-V")
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"OpenSSH_(\d{1,3})\.(\d{1,3})", done.stderr)
    return (int(found[1]), int(found[2])) if found else None


def api_of(release: tuple[int, int] | None) -> int | None:
    """Return the major that a release of OpenSSH wants, the newest without one, None if it has no security keys."""
    if release is None:
        return NEWEST
    return next((api for api, first in FIRST_RELEASES.items() if release >= first), None)


def path_of(api: int) -> str:
    """Return where the library for a major is, or would be."""
    name = "libpysk.so" if api == NEWEST else f"libpysk-skapi{api}.so"
    # Where everybody is to name it, what is in the package may be a link to that.
    return os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), name))


def load(path: str) -> Loaded:
    """Load a library in another process, as ssh does. Raises LoadFailed if the dynamic linker refuses it."""
    try:
        done = _run(sys.executable, "-I", "-S", "-c", _LOAD, path)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoadFailed(f"it could not be tried: {error.__class__.__name__}", "try again") from None
    if done.returncode == 0:
        api, libpython = done.stdout.splitlines()[:2]
        return Loaded(int(api), libpython)
    reason = (done.stderr.splitlines() or [f"status {done.returncode}"])[-1].removeprefix("OSError: ")
    remedy = "reinstall libpysk"
    if missing := re.match(r"(libpython\d\.\d+)\S*: cannot open", reason):
        remedy = f"install Python's shared library (Debian: apt-get install {missing[1]})"
    raise LoadFailed(reason, remedy)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program that tells of itself. Raises OSError, and TimeoutExpired if it takes longer than _PATIENCE."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_PATIENCE,
        check=False,
    )
