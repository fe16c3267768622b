"""`make install` and `make uninstall`, by root in another user's clone, where the tests are run by root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.openssh import Person, assert_signs, enrolled
from support.provider_tree import copy_source, installed_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = f"PYTHON={os.path.realpath(sys.executable)}"
# What a build would take, or stumble over, if it happened in the clone.
PLANTED = ("build/lib/sk_provider/planted.py", "build/lib.linux-x86_64-cpython-311/sk_provider/planted.py")
STALE = "sk_provider.egg-info/SOURCES.txt"


class Clone:
    """A clone, in a folder that everybody can reach, and whose owner is nobody in particular."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.folder = folder
        self.path = folder / "clone"
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        copy_source(self.path)
        for name in (*PLANTED, STALE):
            planted = self.path / name
            planted.parent.mkdir(parents=True)
            planted.write_text("raise SystemExit\n")
        self._home = folder / "home"
        self._home.mkdir()
        for path in (self._home, self.path, *self.path.rglob("*")):
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def make(self, *arguments: str, umask: int = 0o022, by_owner: bool = False) -> str:
        """Return what make prints on standard output, run by who runs the tests or by the owner of the clone."""
        user, group = (self._owner.pw_uid, self._owner.pw_gid) if by_owner else (None, None)
        done = subprocess.run(
            ("make", "--no-print-directory", "-C", str(self.path), PYTHON, *arguments),
            env={**os.environ, "HOME": str(self._home)}, user=user, group=group, umask=umask,
            stdout=subprocess.PIPE, text=True, check=True, timeout=280,
        )  # fmt: skip
        return done.stdout.rstrip("\n")

    def state(self) -> dict[str, tuple[int, ...]]:
        """Return what tells of each file and folder whether it is new or was changed."""
        found: dict[str, tuple[int, ...]] = {}
        for path in (self.path, *self.path.rglob("*")):
            status = path.lstat()
            found[str(path)] = (status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns)
        return found


@pytest.fixture
def clone() -> Iterator[Clone]:
    with tempfile.TemporaryDirectory(prefix="pysk-install-") as folder:
        yield Clone(Path(folder))


def modes(folder: Path) -> set[tuple[str, str]]:
    """Return the kinds and the modes of what is in a folder, and of the folder, but for links."""
    statuses = [path.lstat() for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    return {
        ("folder" if stat.S_ISDIR(each.st_mode) else "file", f"{stat.S_IMODE(each.st_mode):o}") for each in statuses
    }


def test_an_installation_is_of_the_source_alone_and_leaves_the_clone_to_its_owner(clone: Clone, tmp_path: Path) -> None:
    before, prefix = clone.state(), clone.folder / "prefix"
    # The second one finds what the first has made, and what an administrator has done to it.
    for umask in (0o000, 0o077):
        if prefix.exists():
            prefix.chmod(0o2770)
            (prefix / "pyvenv.cfg").chmod(0o666)
        library = Path(clone.make("install", f"PREFIX={prefix}", umask=umask))
        assert modes(prefix) == {("folder", "755"), ("file", "644"), ("file", "755")}
        assert clone.state() == before
        assert list(prefix.rglob("planted*")) == []
        ours = {path.name for path in installed_library().parent.iterdir()}
        assert {path.name for path in library.parent.iterdir()} == ours
        assert {path.stat().st_uid for path in prefix.rglob("*")} == {os.geteuid()}

    person = Person(tmp_path, library)
    assert_signs(person, enrolled(person))

    made = Path(clone.make(by_owner=True))
    assert made.is_relative_to(clone.path / ".venv")
    assert made.exists()
    shutil.rmtree(clone.path / ".venv")
    os.utime(clone.path, ns=(0, before[str(clone.path)][-1]))
    assert clone.state() == before

    clone.make("uninstall", f"PREFIX={prefix}")
    assert not prefix.exists()


def test_a_package_that_is_not_the_locked_one_is_not_installed(clone: Clone) -> None:
    lock, prefix = clone.path / "cbuild/requirements.lock", clone.folder / "prefix"
    before, click, hashes = lock.read_text().partition("click==")
    lock.write_text(before + click + re.sub("sha256:[0-9a-f]{8}", "sha256:00000000", hashes))
    with pytest.raises(subprocess.CalledProcessError):
        clone.make("install", f"PREFIX={prefix}")
    assert list(prefix.rglob("click")) == []
    clone.make("uninstall", f"PREFIX={prefix}")
    assert not prefix.exists()


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_folder_of_somebody_else_is_left_alone(target: str, clone: Clone) -> None:
    theirs = clone.folder / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "program").touch(mode=0o4700)
    with pytest.raises(subprocess.CalledProcessError):
        clone.make(target, f"PREFIX={theirs}")
    assert modes(theirs) == {("folder", "700"), ("file", "4700")}


def test_an_environment_of_somebody_else_is_not_removed(clone: Clone) -> None:
    theirs = clone.folder / "theirs"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", theirs), check=True, timeout=60)
    with pytest.raises(subprocess.CalledProcessError):
        clone.make("uninstall", f"PREFIX={theirs}")
    assert (theirs / "pyvenv.cfg").exists()
