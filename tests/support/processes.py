"""What the processes that a test has started do: how long they take, which helper they have, and whether it is gone."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from typing import Any

SLACK_S = 15.0  # what programs take besides waiting, on a busy machine or an emulated one
END_S = 30

_HELPER = "ssh-sk-helper"


@contextmanager
def within(deadline_s: float) -> Iterator[None]:
    """Fail if what the with statement does ends long after a deadline."""
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert took < deadline_s + SLACK_S, f"it took {took:.1f} s where {deadline_s} were allowed"


def interrupt(process: subprocess.Popen[Any], number: signal.Signals = signal.SIGINT) -> None:
    """Interrupt one of OpenSSH's programs, the leader of a session, and fail unless it ends, and its helper too."""
    helper = _helper_of(process.pid)
    # The terminal sends it to the whole group.
    os.killpg(process.pid, number)
    process.communicate(timeout=END_S)
    wait_until(lambda: _has_ended(helper), "the end of the helper")


def _helper_of(pid: int) -> int:
    """Return the process ID of the ssh-sk-helper that a program runs, once it does."""
    found: list[int] = []

    def is_running() -> bool:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # Until it is executed, it is still the program that forks it.
        found[:] = [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == _HELPER]
        return bool(found)

    wait_until(is_running, "the start of the helper")
    return found[0]


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for its parent to notice."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
