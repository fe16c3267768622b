"""Somebody who asks pysk doctor, and has ssh settings of their own: what it finds, and what it says is to be done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from support.openssh import Person

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.provider_tree import Tree

PATIENCE_S = 120


class Finding:
    """One of the findings."""

    def __init__(self, subject: str, seen: str, remedy: str | None) -> None:
        self.subject = subject
        self.seen = seen
        self.remedy = remedy

    def __repr__(self) -> str:
        return f"{self.subject}: {self.seen}; {self.remedy}"


class Account(Person):
    """A person whose ssh has the settings of ~/.ssh/config in their folder, instead of the password database's home.

    ``settings`` are the lines of it.
    """

    def __init__(self, folder: Path, provider: Path, settings: Sequence[str] | None = None) -> None:
        super().__init__(folder, provider)
        ssh = shutil.which("ssh", path=self.environment["PATH"])
        self.settings = folder / ".ssh/config"
        self.settings.parent.mkdir(mode=0o700)
        self.configure_ssh(*(settings if settings is not None else [f"SecurityKeyProvider {provider}"]))
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.program("ssh", f'exec {ssh} -F {self.settings} "$@"')
        self.environment["PATH"] = f"{self.programs}:{self.environment['PATH']}"

    def configure_ssh(self, *lines: str) -> None:
        """Write their ssh_config."""
        self.settings.write_text("".join(f"{line}\n" for line in lines))
        self.settings.chmod(0o600)

    def program(self, name: str, script: str) -> Path:
        """Put a program before those on their PATH."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def use(self, tree: Tree) -> None:
        """Have them use a copy of the package."""
        self.pysk = self.folder / "pysk"
        self.pysk.write_text(
            f"#!{sys.executable} -ISB\n"
            f"import sys\nsys.path.insert(0, {str(tree.folder)!r})\nfrom sk_provider.cli import main\nmain()\n"
        )
        self.pysk.chmod(0o755)

    def doctor(
        self, *arguments: str, variables: Mapping[str, str | None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run pysk doctor as a script does; variables are added to the environment, those that are None taken out."""
        environment = {**self.environment, **(variables or {})}
        return subprocess.run(
            [self.pysk, "doctor", *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip

    def findings(self, *arguments: str, variables: Mapping[str, str | None] | None = None) -> list[Finding]:
        """Return all that it finds; fail unless the status tells whether there is something to do."""
        done = self.doctor("--json", *arguments, variables=variables)
        assert done.stderr == ""
        found = [Finding(**each) for each in json.loads(done.stdout)]
        assert done.returncode == int(any(each.remedy is not None for each in found)), found
        assert [each for each in found if "this check failed" in each.seen] == []
        return found

    def to_do(self, *arguments: str, variables: Mapping[str, str | None] | None = None) -> list[tuple[str, str, str]]:
        """Return subject, what was seen and the remedy of each finding that has one."""
        found = self.findings(*arguments, variables=variables)
        return [(each.subject, each.seen, each.remedy) for each in found if each.remedy is not None]
