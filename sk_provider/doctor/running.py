"""Other programs are asked here: without a shell or a terminal, and for so long and of so much text only."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Account

_PATIENCE = 10
"""Seconds in which a program must answer."""

_MOST = 1 << 18
"""Bytes that are read of what it says."""


class NoAnswer(Exception):
    """A program cannot be run, or does not end, or says too much; the text goes on after its name."""


class Answer:
    """status: the exit status; output, errors: the text on standard output and standard error."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors

    def reason(self) -> str:
        """Return the last line on standard error, or what the status was."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else f"status {self.status}"


def which(name: str, account: Account) -> str | None:
    """Return the path of a program on the account's PATH, None if it is not there."""
    return shutil.which(name, path=account.environment.get("PATH", os.defpath))


def ask(account: Account, *command: str) -> Answer:
    """Run a program that tells something, in the account's environment, but where it cannot ask a person.

    Raises NoAnswer.
    """
    program = which(command[0], account)
    if program is None:
        raise NoAnswer("is not on PATH")
    environment = {**account.environment, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never", "GIT_TERMINAL_PROMPT": "0"}
    try:
        process = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise NoAnswer(f"cannot be run ({error.strerror})") from None
    with process:
        try:
            output, errors = _read(process)
            return Answer(process.wait(_PATIENCE), output, errors)
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"did not end within {_PATIENCE} s") from None
        finally:
            # Whatever it has started goes with it, and nobody holds the pipes any longer.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _read(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Return all that a program says until it closes its outputs. Raises NoAnswer."""
    deadline = time.monotonic() + _PATIENCE
    texts = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for pipe in texts:
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer(f"did not end within {_PATIENCE} s")
            for key, _ in selector.select(left):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fileobj)
                texts[key.fileobj] += piece  # type: ignore[index]
            if sum(map(len, texts.values())) > _MOST:
                raise NoAnswer(f"printed more than {_MOST} bytes")
    return texts[process.stdout].decode(errors="replace"), texts[process.stderr].decode(errors="replace")
