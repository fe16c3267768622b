"""bash, zsh and fish, in which a person begins a line and has it completed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support import debian, terminal

SHELLS = ("bash", "zsh", "fish")
_PROMPT = "ready> "
_TAB, _TO_START, _TO_END = "\t", "\x01", "\x05"
_PATIENCE_S = 60


class Shell:
    """One of SHELLS, with what `python -m sk_provider.cli.manual` wrote for it into a folder as /usr/share is one."""

    def __init__(self, name: str, share: Path, home: Path) -> None:
        self._name = name
        self._share = share
        self._home = home
        programs = Path(sys.executable).parent
        self.environment = {"PATH": f"{programs}:{os.defpath}", "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}

    def completed(self, line: str) -> str:
        """Return a line after the person has had it completed, without a space or slash behind it."""
        if self._name == "fish":
            return self._completed_by_fish(line)
        command = self._bash() if self._name == "bash" else self._zsh()
        # As an argument of echo it is printed as it is.
        typed = f"{line}{_TAB}{_TO_START}echo '<{_TO_END}>'"
        done = terminal.run(
            command, [(_PROMPT, typed), (_PROMPT, "exit")], environment=self.environment, folder=self._home
        )
        printed: list[str] = re.findall(r"<(pysk[^<>\n]*)>$", done.screen, re.MULTILINE)
        assert len(printed) == 1, done
        return printed[0].rstrip(" /")

    def _bash(self) -> list[str]:
        start = self._home / "start"
        start.write_text(f"PS1='{_PROMPT}'; . {self._share}/bash-completion/completions/pysk\n")
        # Its prompt goes to standard error.
        return ["sh", "-c", f"exec bash --noprofile --rcfile {start} -i 2>&1"]

    def _zsh(self) -> list[str]:
        root = debian.unpack("zsh", "zsh-common")
        (modules,) = root.glob("usr/lib/*/zsh/*")
        functions = " ".join(str(path) for path in sorted(root.glob("usr/share/zsh/functions/**/")))
        start = self._home / ".zshrc"
        start.write_text(
            f"module_path=({modules}); fpath=({self._share}/zsh/site-functions {functions}); PS1='{_PROMPT}'\n"
            "bindkey -e; autoload -U compinit; compinit -u -D\n"
        )
        self.environment["ZDOTDIR"] = str(self._home)
        return [str(root / "bin/zsh"), "-o", "no_global_rcs", "-i"]

    def _completed_by_fish(self, line: str) -> str:
        root = debian.unpack("fish", "fish-common", "libpcre2-32-0")
        # It takes what lies beside it for its own where both of these folders do.
        (root / "usr/etc/fish").mkdir(parents=True, exist_ok=True)
        environment = {
            **self.environment,
            "LD_LIBRARY_PATH": str(next(root.glob("usr/lib/*/libpcre2-32.so.0")).parent),
            "XDG_DATA_DIRS": str(self._share),
        }
        command = [str(root / "usr/bin/fish"), "--command", "complete --do-complete $argv[1]", line]
        done = subprocess.run(
            command, env=environment, cwd=self._home, check=True, capture_output=True, text=True, timeout=_PATIENCE_S
        )
        found = done.stdout.splitlines()
        before, space, _ = line.rpartition(" ")
        return (before + space + found[0].partition("\t")[0]).rstrip("/") if len(found) == 1 else line
