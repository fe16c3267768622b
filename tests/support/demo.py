"""What a demo does: commands that are printed before they are run."""
# ruff: noqa: T201  (it shows what it does)

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.openssh import Person

STEP_S = 60


class StepError(Exception):
    """A command of the demo failed; the message says how."""


class Shell:
    """Runs commands where a reader can follow them, in the environment and folder of a person."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self.environment = dict(person.environment)

    def run(self, *command: str, source: Path | None = None, has_terminal: bool = True) -> None:
        """Print and run a command, with stdin from a file; has_terminal: it may ask a person who looks on.

        :raises StepError: if it fails or takes too long.
        """
        print(f"$ {shlex.join(command)}" + (f" <{source.name}" if source else ""), flush=True)
        with (source or Path(os.devnull)).open("rb") as stdin:
            try:
                done = subprocess.run(
                    command, env=self.environment, cwd=self._person.folder, stdin=stdin,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=STEP_S,
                    start_new_session=not has_terminal,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise StepError(f"it took longer than {STEP_S} s") from None
        print("".join(f"    {line}\n" for line in done.stdout.splitlines()), flush=True)
        if done.returncode != 0:
            raise StepError(f"exit status {done.returncode}")
