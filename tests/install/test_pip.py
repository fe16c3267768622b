"""The package by pip: from a source distribution, not as editable, and in a Python that is too old."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.openssh import Person, assert_signs, enrolled
from support.provider_tree import REPOSITORY, copy_source, installed_library, interpreters

TOO_OLD = re.compile(r"libpysk needs Python 3\.10 or newer, and \S+ is 3\.\d; use a newer one")
# A Python of which no machine is short: this one, which says that it is older.
OLDER = """#!/bin/sh
exec {python} -Ic '
import runpy, sys
sys.argv, sys.version_info = sys.argv[2:], (3, 9, 2, "final", 0)
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""
PATIENCE_S = 280


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with all that it prints in one."""
    return subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=PATIENCE_S,
    )  # fmt: skip


def too_old(folder: Path) -> list[str]:
    """Return Pythons that are too old: one that claims to be, and those of this machine."""
    folder.mkdir()
    (folder / "python").write_text(OLDER.format(python=os.path.realpath(sys.executable)))
    (folder / "python").chmod(0o755)
    return [str(folder / "python"), *(set(interpreters(8)) - set(interpreters()))]


@pytest.mark.parametrize("target", ["all", "install"])
def test_make_tells_at_once_that_a_python_is_too_old(target: str, tmp_path: Path) -> None:
    copy_source(tmp_path / "clone")
    for python in too_old(tmp_path / "older"):
        variables = (f"PYTHON={python}", f"PREFIX={tmp_path}/prefix")
        done = run("make", "--no-print-directory", target, *variables, folder=tmp_path / "clone")
        assert done.returncode != 0, done.stdout
        assert TOO_OLD.match(done.stdout), done.stdout
        assert not (tmp_path / "prefix").exists()
        assert not (tmp_path / "clone/.venv").exists()


def test_pip_tells_that_a_python_is_too_old(tmp_path: Path) -> None:
    copy_source(tmp_path / "clone")
    claim = 'import sys; sys.version_info = (3, 9, 2, "final", 0); from cbuild import backend'
    done = run(sys.executable, "-c", claim, folder=tmp_path / "clone")
    assert done.returncode != 0, done.stdout
    assert TOO_OLD.fullmatch(done.stdout.partition(" (for make")[0])
    for python in too_old(tmp_path / "older")[1:]:
        done = run(python, "-m", "pip", "install", "--target", tmp_path / "target", ".", folder=tmp_path / "clone")
        assert done.returncode != 0, done.stdout
        assert len(TOO_OLD.findall(done.stdout)) == 1, done.stdout
        assert "Traceback" not in done.stdout


@pytest.mark.parametrize("name", ["check_python.py", "backend.py"])
def test_a_python_that_is_too_old_can_read_what_tells_so(name: str) -> None:
    ast.parse((REPOSITORY / "cbuild" / name).read_text(), feature_version=(3, 7))


def test_a_source_distribution_builds_and_an_editable_install_is_refused(tmp_path: Path) -> None:
    copy_source(tmp_path / "clone")
    made = run(
        sys.executable, "-c", f"from cbuild import backend; backend.build_sdist({str(tmp_path)!r})",
        folder=tmp_path / "clone",
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    (archive,) = tmp_path.glob("*.tar.gz")

    run(sys.executable, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    pip = (tmp_path / "venv/bin/python", "-m", "pip", "install")
    done = run(*pip, "--editable", ".", folder=tmp_path / "clone")
    assert done.returncode != 0, done.stdout
    assert "libpysk cannot be installed as editable, since" in done.stdout
    assert "Traceback" not in done.stdout

    done = run(*pip, archive, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    library = Path(run(tmp_path / "venv/bin/pysk", "path", folder=tmp_path).stdout.rstrip("\n"))
    assert library.is_relative_to(tmp_path / "venv")
    assert {path.name for path in library.parent.iterdir()} == {
        path.name for path in installed_library().parent.iterdir()
    }
    (tmp_path / "person").mkdir()
    person = Person(tmp_path / "person", library)
    assert_signs(person, enrolled(person))
