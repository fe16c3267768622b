"""A system of Debian with make and nothing else that it could do without: a chroot, which root alone can make.

It is made once below .build, and copied for each who uses it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.debian import CACHE, ENTER, made_once, mirror
from support.provider_tree import copy_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEMS = CACHE.with_name("minimal")
# Its user, who has a home, and neither sudo nor a password.
USER = "person"
MAKE_S = 600
# What a test says that uses one.
where_it_can_be_made = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="only root that is not confined to a container can make a system in a folder",
)
# Whom this machine trusts, and the name under which the system does so too.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CERTIFICATES_INSIDE = "/etc/outside.crt"


class Done:
    """How a command has ended: its exit status, and all that it printed."""

    def __init__(self, status: int, output: str) -> None:
        self.status = status
        self.output = output


class Minimal:
    """A system in a folder, which is entered anew for each command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        # How this machine reaches the net.
        self._environment |= {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
        if CERTIFICATES.exists():
            shutil.copyfile(CERTIFICATES, root / CERTIFICATES_INSIDE.lstrip("/"))
            self._environment["PIP_CERT"] = CERTIFICATES_INSIDE

    def home(self, user: str) -> Path:
        """Return a user's home, as this machine sees it."""
        return self.root / ("root" if user == "root" else f"home/{user}")

    def clone(self) -> Path:
        """Make a clone of the repository in the user's home, and theirs, and return where this machine sees it."""
        clone = self.home(USER) / "clone"
        copy_source(clone)
        owner = self.home(USER).stat()
        for path in (clone, *clone.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        return clone

    def run(self, *command: str, user: str = "root", patience_s: int = MAKE_S) -> Done:
        """Run a command there, in a user's home and without a terminal."""
        home = f"/{self.home(user).relative_to(self.root)}"
        as_user = [
            "setpriv",
            f"--reuid={user}",
            f"--regid={user}",
            "--init-groups",
            "env",
            f"HOME={home}",
            f"USER={user}",
        ]
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, str(self.root)]
        done = subprocess.run(
            [*enter, *as_user, "sh", "-c", 'cd && exec "$@"', "sh", *command], env=self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=patience_s,
        )  # fmt: skip
        return Done(done.returncode, done.stdout)


@contextmanager
def minimal(release: str) -> Iterator[Minimal]:
    """Yield a fresh system of a release of Debian, while the context lasts.

    Raises CalledProcessError if it cannot be made; its output is printed.
    """

    def fill(folder: Path) -> None:
        root = folder / "root"
        debootstrap = ["debootstrap", "--variant=minbase", "--include=make", release, str(root), mirror()]
        # In a mount namespace of its own, so that no mount outlives it whatever happens to it.
        subprocess.run(["unshare", "--mount", *debootstrap], stdin=subprocess.DEVNULL, check=True, timeout=MAKE_S)
        subprocess.run(["chroot", root, "useradd", "--create-home", USER], check=True, timeout=MAKE_S)

    pristine = made_once(SYSTEMS / release, fill)
    with tempfile.TemporaryDirectory(dir=SYSTEMS, prefix=f"{release}-") as folder:
        subprocess.run(["cp", "--archive", pristine / "root", folder], check=True, timeout=MAKE_S)
        yield Minimal(Path(folder) / "root")
