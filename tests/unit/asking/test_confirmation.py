"""Asking a person to confirm, where the asking comes to a bad end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.serve import wait_until

ASK_BY_ASKPASS = """
import signal, sys
from sk_provider.asking import confirmation
from sk_provider.operation import Operation
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
confirmation.confirm("Sign?", Operation(600))
"""

ASK_ON_TERMINAL = """
import fcntl, sys, termios
from sk_provider.asking import confirmation
from sk_provider.operation import Operation
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
print(confirmation.confirm(100000 * "m", Operation(1)))
"""


def test_an_askpass_ends_with_whoever_asked_by_it(tmp_path: Path) -> None:
    askpass, running = tmp_path / "askpass", tmp_path / "running"
    askpass.write_text(f"#!/bin/sh\necho $$ >'{running}.new'\nmv '{running}.new' '{running}'\nexec sleep 600\n")
    askpass.chmod(0o700)
    variables = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    asker = subprocess.Popen([sys.executable, "-c", ASK_BY_ASKPASS], env=variables)
    wait_until(running.exists, "the asking")
    number = int(running.read_text())
    try:
        asker.terminate()
        assert asker.wait(60) == 128 + signal.SIGTERM
        assert not Path(f"/proc/{number}").exists()
    finally:
        if Path(f"/proc/{number}").exists():
            os.kill(number, signal.SIGKILL)


def test_a_question_that_a_terminal_does_not_take_ends_with_the_persons_time() -> None:
    screen, terminal = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_ON_TERMINAL, str(terminal)],
            start_new_session=True, pass_fds=[terminal], capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(screen)
        os.close(terminal)
    assert done.stdout == "3\n"  # UNANSWERED
