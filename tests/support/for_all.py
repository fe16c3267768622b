"""The command pysk where every user can run it, as `make install` leaves it: the tests' own may be out of reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from support.provider_tree import installed_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# What it needs to answer sshd, and python-ldap.
_PACKAGES = ("sk_provider", "click", "ldap", "ldapurl.py", "ldif.py", "_ldap*", "pyasn1", "pyasn1_modules")
NOBODY = "nobody"


class Installation:
    """``pysk``: the program; ``folder``: takes files that everybody may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "pysk_config"
        environment = folder / "environment"
        # Not the tests' own, where that is one of them.
        python = os.path.join(sys.base_exec_prefix, "bin", f"python3.{sys.version_info[1]}")
        subprocess.run([python, "-I", "-m", "venv", "--without-pip", environment], check=True, timeout=60)
        (target,) = environment.glob("lib/python3*/site-packages")
        for path in (path for name in _PACKAGES for path in installed_library().parents[1].glob(name)):
            if path.is_dir():
                shutil.copytree(path, target / path.name)
            else:
                shutil.copy(path, target)
        self.pysk = environment / "bin" / "pysk"
        self.pysk.write_text(f"#!{environment}/bin/python\nfrom sk_provider.cli import main\nmain()\n")
        self.pysk.chmod(0o755)

    def write(self, name: str, content: str) -> Path:
        """Write a file that everybody may read."""
        path = self.folder / name
        path.write_text(content)
        path.chmod(0o644)
        return path

    def configure(self, *lines: str) -> None:
        """Write a pysk_config for all."""
        self.write(self.config.name, "".join(f"{line}\n" for line in lines))

    @property
    def user(self) -> str:
        """Who may run it for sshd: nobody, where the tests are run by root."""
        import pwd

        return NOBODY if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    @property
    def sshd_options(self) -> list[str]:
        """The lines for sshd_config by which it asks the directories of this pysk_config."""
        # env is root's, which sshd insists on, wherever the tests are.
        command = f"/usr/bin/env PYSK_CONFIG={self.config} {self.pysk} directory authorized-keys %u"
        return [f"AuthorizedKeysCommand {command}", f"AuthorizedKeysCommandUser {self.user}"]

    def authorized_keys(self, user: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it as sshd does, with nothing of an environment but these variables."""
        return subprocess.run(
            [self.pysk, "directory", "authorized-keys", user],
            user=self.user if os.geteuid() == 0 else None,
            group=65534 if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
            cwd="/", env={"PYSK_CONFIG": str(self.config), "PATH": os.defpath, **variables},
            capture_output=True, text=True, check=False, timeout=90, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def installed_for_all() -> Iterator[Installation]:
    """Yield an installation that is there while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="pysk-for-all-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        umask = os.umask(0o022)
        try:
            installation = Installation(folder)
        finally:
            os.umask(umask)
        yield installation
