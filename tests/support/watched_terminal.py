"""A terminal whose settings, and whose programs, are looked at while a person is asked there and afterwards."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

from support.serve import PATIENCE, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from typing_extensions import Self

# A shell that goes on when what it has started is ended, as that of a person does.
_SHELL = 'trap : INT TERM HUP; "$@" 2>said; echo "status $?"; while :; do read rest; done'
CTRL_C = "\x03"


class WatchedTerminal:
    """A command at a terminal, under a shell. before: the terminal's settings at first; screen: what stood on it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self.screen = ""
        self._waited_for = 0

    def __enter__(self) -> Self:
        self._ours, self._theirs = pty.openpty()
        self.before = self._settings()
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "sh", "-c", _SHELL, "sh", *self._command],
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, env=self._environment, cwd=self._folder,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._programs():
            os.kill(process, signal.SIGKILL)
        self._shell.kill()
        self._shell.wait(PATIENCE)
        os.close(self._ours)
        os.close(self._theirs)

    def wait_for(self, text: str) -> None:
        """Wait until a text stands on the screen, after that which was waited for before."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.screen[self._waited_for :]:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._ours], [], [], left)[0], self.screen
            self.screen += os.read(self._ours, 4096).decode(errors="replace")
        self._waited_for = self.screen.index(text, self._waited_for) + len(text)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def end_all(self, number: signal.Signals) -> None:
        """Send the programs at the terminal a signal."""
        os.killpg(self._shell.pid, number)

    def end(self) -> str:
        """Wait until the shell is alone again, with the terminal as it was; return the command's exit status."""
        self.wait_for("status ")
        wait_until(lambda: not self._programs(), "the end of all programs")
        wait_until(lambda: self._settings() == self.before, "the terminal's settings of before")
        return self.screen.rpartition("status ")[2]

    def said(self) -> str:
        """Return what the command wrote to standard error."""
        return (self._folder / "said").read_text()

    def _settings(self) -> list[Any]:
        return termios.tcgetattr(self._theirs)

    def _programs(self) -> list[int]:
        """Return the numbers of the session's processes but the shell's, and those that have ended.

        In a container or chroot whose first process waits for no orphans, these stay in the list.
        """
        found = []
        for entry in Path("/proc").iterdir():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z" and int(fields[3]) == self._shell.pid != int(entry.name):
                found.append(int(entry.name))
        return found
