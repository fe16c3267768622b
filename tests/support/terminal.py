"""How a person at a terminal is played: a command runs on a pseudo-terminal, and its questions are answered."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATIENCE_S = 60


class Done:
    """How a command ended: its exit status, what stood on the terminal, and what it wrote to stderr."""

    def __init__(self, status: int, screen: str, errors: str) -> None:
        self.status = status
        self.screen = screen
        self.errors = errors

    def __repr__(self) -> str:
        return f"exit status {self.status}\n-- terminal\n{self.screen}\n-- stderr\n{self.errors}"


def run(
    command: Sequence[str],
    answers: Sequence[tuple[str, str]] = (),
    *,
    environment: Mapping[str, str],
    folder: Path,
    patience_s: float = PATIENCE_S,
) -> Done:
    """Run a command whose stdin, stdout and controlling terminal are a new pseudo-terminal, stderr being apart.

    Each of ``answers`` is a text to wait for and the line to type then, in this order.

    :raises AssertionError: if the command ends before all was asked, or does not end.
    """
    ours, theirs = pty.openpty()
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ["setsid", "--ctty", *command],
                stdin=theirs, stdout=theirs, stderr=errors, env=environment, cwd=folder,
            )  # fmt: skip
        finally:
            os.close(theirs)
        try:
            screen, unasked = _converse(ours, answers, time.monotonic() + patience_s)
            if unasked is None:
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait(PATIENCE_S)
        finally:
            os.close(ours)
        errors.seek(0)
        done = Done(status, screen, errors.read().decode(errors="replace"))
    assert unasked is not None, f"{command} did not end\n{done}"
    assert not unasked, f"{command} never asked {unasked[0][0]!r}\n{done}"
    return done


def _converse(
    terminal: int, answers: Sequence[tuple[str, str]], deadline: float
) -> tuple[str, Sequence[tuple[str, str]] | None]:
    """Answer until the terminal is closed; return the screen and the answers left over, None if the deadline passed."""
    screen = b""
    answered = 0
    while (left := deadline - time.monotonic()) > 0 and select.select([terminal], [], [], left)[0]:
        try:
            screen += os.read(terminal, 4096)
        except OSError:
            # Linux reports EIO once nobody has the other side open.
            return _text(screen), answers
        while answers and (found := screen.find(answers[0][0].encode(), answered)) >= 0:
            answered = found + len(answers[0][0].encode())
            os.write(terminal, answers[0][1].encode() + b"\n")
            answers = answers[1:]
    return _text(screen), None


def _text(screen: bytes) -> str:
    return screen.decode(errors="replace").replace("\r\n", "\n")
