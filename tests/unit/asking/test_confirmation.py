"""Asking a person to confirm, where the asking comes to a bad end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.serve import wait_until

from sk_provider.asking import confirmation
from sk_provider.operation import Operation

ASK_BY_ASKPASS = """
import signal, sys
from sk_provider.asking import confirmation
from sk_provider.operation import Operation
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
confirmation.confirm("Sign?", Operation(600))
"""

# As if the signal came at the worst of moments.
ENDED_AS_IT_STARTS = f"""
import os, signal, subprocess
class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
{ASK_BY_ASKPASS.strip().replace("confirmation.confirm", "subprocess.Popen = Popen; confirmation.confirm")}
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
    # By then whoever has started it knows of it.
    askpass.write_text(
        f"#!/bin/sh\nsleep 1\necho $$ >'{running}.new'\nmv '{running}.new' '{running}'\nexec sleep 600\n"
    )
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


def test_an_askpass_that_has_just_been_started_ends_too(tmp_path: Path) -> None:
    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\nexec sleep 120\n")
    askpass.chmod(0o700)
    variables = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    # What it inherits is closed once it has ended.
    asker = subprocess.Popen([sys.executable, "-c", ENDED_AS_IT_STARTS], env=variables, stderr=subprocess.PIPE)
    assert asker.communicate(timeout=60)[1] == b""
    assert asker.returncode == 128 + signal.SIGTERM


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


class Brief(Operation):
    """One whose time is over soon."""

    def restart(self) -> None:
        self._deadline = time.monotonic() + 0.3


def answer_on_terminal(before: bytes, answer: bytes, event: Operation) -> int:
    """Return what comes of keys pressed before the question was seen and after; b"\\4" is Ctrl-D."""
    screen, terminal = os.openpty()
    os.set_blocking(terminal, False)
    try:
        os.write(screen, before)
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(confirmation._confirm_on_terminal, terminal, ["Sign?"], event)
            shown = b""
            while not shown.endswith(b"libpysk: Sign? Press Enter to confirm, or type no: "):
                shown += os.read(screen, 1000)
            os.write(screen, answer)
            return asking.result(60)
    finally:
        os.close(screen)
        os.close(terminal)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\n", confirmation.CONFIRMED),
        (b"y\n", confirmation.CONFIRMED),
        (b"Yes\n", confirmation.CONFIRMED),
        (b" yes \n", confirmation.CONFIRMED),
        (b"no\n", confirmation.REFUSED),
        (b"yes!\n", confirmation.REFUSED),
        (b"yy\n", confirmation.REFUSED),
        # No Enter
        (b"\4", confirmation.REFUSED),
        (b"y\4", confirmation.REFUSED),
        (b"yes\4", confirmation.REFUSED),
    ],
)
def test_enter_confirms_and_nothing_else_does(answer: bytes, expected: int) -> None:
    assert answer_on_terminal(b"", answer, Operation(60)) == expected


@pytest.mark.parametrize("before", [b"\n", b"y\n", b"y"])
def test_keys_pressed_before_the_question_was_seen_are_no_answer(before: bytes) -> None:
    assert answer_on_terminal(before, b"", Brief(60)) == confirmation.UNANSWERED
    assert answer_on_terminal(before, b"\n", Operation(60)) == confirmation.CONFIRMED


def test_an_answer_after_the_end_is_none() -> None:
    operation = Operation(60)
    operation.call_off()
    screen, terminal = os.openpty()
    os.write(screen, b"y\n")
    assert confirmation._confirm_on_terminal(terminal, ["Sign?"], operation) == confirmation.UNANSWERED
    os.close(screen)
    os.close(terminal)
