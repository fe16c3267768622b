"""What the processes that a test has started do: how long they take, which helper they have, and whether it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")

# What programs take besides waiting: where they run alone, as how many others, and where each instruction is emulated
ALONE_S, PROGRAMS, EMULATED_S = 1.0, 8, 15.0
TRIES = 3
END_S = 15  # for what ends at once

_HELPER = "ssh-sk-helper"


def in_time(deadline_s: float, act: Callable[[], Result]) -> Result:
    """Return what act() returns; fail if it ends long after a deadline each time that it is tried.

    What waits too long does so always, and a machine that is busy for a moment does not keep it waiting thrice.
    """
    for _ in range(TRIES):
        started = time.monotonic()
        result = act()
        took = time.monotonic() - started
        if took < deadline_s + ALONE_S or took < deadline_s + _slack():
            return result
    raise AssertionError(f"it took {took:.1f} s where {deadline_s} were allowed, and too long before that as well")


def _slack() -> float:
    """Return what programs may take besides waiting, as busy as this machine is, or as slow where it is emulated."""
    started = time.monotonic()
    subprocess.run([Path(sys.executable).with_name("pysk"), "--version"], check=True, capture_output=True, timeout=60)
    return min(ALONE_S + PROGRAMS * (time.monotonic() - started), EMULATED_S)


def interrupt(process: subprocess.Popen[Any], number: signal.Signals = signal.SIGINT) -> None:
    """Interrupt one of OpenSSH's programs, the leader of a session, and fail unless it ends, and its helper too."""
    helper = helper_of(process.pid)
    # The terminal sends it to the whole group.
    os.killpg(process.pid, number)
    process.communicate(timeout=END_S)
    wait_until(lambda: _has_ended(helper), "the end of the helper")


def helper_of(pid: int) -> int:
    """Return the process ID of the ssh-sk-helper that a program runs, once it does."""
    found: list[int] = []

    def is_running() -> bool:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # Until it is executed, it is still the program that forks it.
        found[:] = [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == _HELPER]
        return bool(found)

    wait_until(is_running, "the start of the helper")
    return found[0]


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if descriptor.samefile(path):
                return True
        except OSError:
            # It was closed meanwhile, or cannot be looked at.
            continue
    return False


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for its parent to notice."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
