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

BASE_PYTHON = os.path.realpath(sys.executable)
PYTHON = f"PYTHON={BASE_PYTHON}"
# A Python whose environments get no pip, and which fails to make them: Debian's is one without python3-venv.
WITHOUT_VENV = """#!/bin/sh
[ "$3" != venv ] || {{ "{python}" -m venv --without-pip "$5"; exit 1; }}
exec "{python}" "$@"
"""
# What a build would take, or stumble over, if it happened in the clone.
PLANTED = ("build/lib/sk_provider/planted.py", "build/lib.linux-x86_64-cpython-311/sk_provider/planted.py")
STALE = "sk_provider.egg-info/SOURCES.txt"
MARK = ".made-by-libpysk"


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
        self.home = folder / "home"
        self.home.mkdir()
        for path in (self.home, self.path, *self.path.rglob("*")):
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def make(
        self, *arguments: str, umask: int = 0o022, by_owner: bool = False, variables: dict[str, str] | None = None
    ) -> str:
        """Return what make prints on standard output, run by who runs the tests or by the owner of the clone.

        variables are added to the environment. Raises CalledProcessError, with what is printed as errors, if make
        fails.
        """
        user, group = (self._owner.pw_uid, self._owner.pw_gid) if by_owner else (None, None)
        done = subprocess.run(
            ("make", "--no-print-directory", "-C", str(self.path), PYTHON, *arguments),
            env={**os.environ, "HOME": str(self.home), **(variables or {})}, user=user, group=group, umask=umask,
            capture_output=True, text=True, check=True, timeout=280,
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


def program(path: Path, text: str) -> Path:
    """Make a program, in folders that may be missing, that everybody can run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def refusal(clone: Clone, target: str, prefix: Path) -> str:
    """Return what make prints as errors when it does not do it."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        clone.make(target, f"PREFIX={prefix}")
    message: str = caught.value.stderr
    return message


def test_an_installation_is_of_the_source_alone_and_leaves_the_clone_to_its_owner(clone: Clone, tmp_path: Path) -> None:
    prefix, ran = clone.folder / "prefix", clone.folder / "ran"
    touch = program(clone.folder / "touch", f"#!/bin/sh\ntouch {ran}\n")
    for settings in (".config", "xdg", "global"):
        program(clone.home / settings / "pip/pip.conf", f"[global]\npython = {touch}\n")
    config = {f"XDG_CONFIG_{name}": str(clone.home / value) for name, value in (("HOME", "xdg"), ("DIRS", "global"))}
    without_venv = program(clone.folder / "without-venv", WITHOUT_VENV.format(python=BASE_PYTHON))
    before = clone.state()
    # The second one finds what the first has made, and what others have done to it.
    for umask in (0o000, 0o077):
        if prefix.exists():
            prefix.chmod(0o2750)
            (prefix / "pyvenv.cfg").chmod(0o666)
            (prefix / "bin/python").unlink()
            (prefix / "bin/python").symlink_to(touch)
            (site_packages,) = prefix.glob("lib/python*/site-packages")
            (site_packages / "planted.pth").write_text(f"import os; os.mknod({str(ran)!r})\n")
        variables = {"PIP_PYTHON": str(touch)} if umask else config
        library = Path(clone.make("install", f"PREFIX={prefix}", umask=umask, variables=variables))
        assert not ran.exists()
        assert modes(prefix) == {("folder", "755"), ("file", "644"), ("file", "755")}
        assert clone.state() == before
        assert list(prefix.rglob("planted*")) == []
        ours = {path.name for path in installed_library().parent.iterdir()}
        assert {path.name for path in library.parent.iterdir()} == ours
        assert {path.stat().st_uid for path in prefix.rglob("*")} == {os.geteuid()}

    person = Person(tmp_path, library)
    assert_signs(person, enrolled(person))

    shutil.rmtree(clone.home / ".config")
    with pytest.raises(subprocess.CalledProcessError):
        clone.make(f"PYTHON={without_venv}", by_owner=True)
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
    # What was installed before stays then, also what was put aside by one that was killed.
    installed = {program(prefix / name, "").relative_to(prefix) for name in ("bin/pysk", MARK)}
    (prefix / ".before-libpysk").mkdir()
    (prefix / "bin").rename(prefix / ".before-libpysk/bin")
    refusal(clone, "install", prefix)
    assert {path.relative_to(prefix) for path in prefix.rglob("*") if path.is_file()} == installed
    clone.make("uninstall", f"PREFIX={prefix}")
    assert not prefix.exists()


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_folder_of_somebody_else_is_left_alone(target: str, clone: Clone) -> None:
    theirs = clone.folder / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "program").touch(mode=0o4700)
    assert "make install" in refusal(clone, target, theirs)
    assert modes(theirs) == {("folder", "700"), ("file", "4700")}


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_an_environment_of_somebody_else_is_left_alone(target: str, clone: Clone) -> None:
    theirs = clone.folder / "theirs"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", theirs), check=True, timeout=60)
    assert "what 'make install' has made" in refusal(clone, target, theirs)
    assert (theirs / "pyvenv.cfg").exists()


def test_nothing_is_installed_where_others_can_write(clone: Clone) -> None:
    prefix = clone.folder / "prefix"
    program(prefix / MARK, "")
    for mode in (0o757, 0o775):
        prefix.chmod(mode)
        assert "can be written by others than its owner; forbid that with chmod go-w" in refusal(
            clone, "install", prefix
        )
    assert [path.name for path in prefix.iterdir()] == [MARK]


def test_nothing_is_installed_into_a_folder_that_belongs_to_somebody_else(clone: Clone) -> None:
    prefix = clone.folder / "prefix"
    program(prefix / MARK, "")
    if os.geteuid() == 0:
        os.chown(prefix, pwd.getpwnam("nobody").pw_uid, -1)
    else:
        prefix = Path("/usr/lib")
    assert "belongs to somebody else; name another" in refusal(clone, "install", prefix)


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_what_came_into_the_folder_later_is_left_alone(target: str, clone: Clone) -> None:
    prefix = clone.folder / "prefix"
    program(prefix / MARK, "")
    program(prefix / "bin/pysk", "")
    for name in ("later", "other"):
        program(prefix / name / "file", "")
    told = re.search(r"holds what 'make install' has not made \((.*?)\)", refusal(clone, target, prefix))
    assert told is not None
    assert sorted(told[1].split(", ")) == ["later", "other"]
    assert (prefix / "later/file").exists()
    assert (prefix / "bin/pysk").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_what_is_left_of_a_failure_can_be_removed(clone: Clone, exists: bool) -> None:
    prefix = clone.folder / "prefix"
    if exists:
        prefix.mkdir(mode=0o755)
    without_venv = program(clone.folder / "without-venv", WITHOUT_VENV.format(python=BASE_PYTHON))
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            clone.make("install", f"PREFIX={prefix}", f"PYTHON={without_venv}")
    clone.make("uninstall", f"PREFIX={prefix}")
    assert not prefix.exists()
