"""The package by pip, pipx and uv: from a source distribution, not as editable, and in a Python that is too old."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import manual_page
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
# Of the kit, for a transport that was installed: what takes no silence to try.
CASES = "keygen or whole or fork or different_threads or ends_the_wait_for_a_person"


def run(*command: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with variables added to the environment and all that it prints in one."""
    return subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=PATIENCE_S, env={**os.environ, **variables},
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


@pytest.mark.timeout(900)
def test_pipx_and_uv_install_a_source_distribution_and_a_clone_and_pip_refuses_an_editable_one(tmp_path: Path) -> None:
    copy_source(tmp_path / "clone")
    made = run(
        sys.executable, "-c", f"from cbuild import backend; backend.build_sdist({str(tmp_path)!r})",
        folder=tmp_path / "clone",
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    (archive,) = tmp_path.glob("*.tar.gz")

    tools = tmp_path / "venv/bin"
    run(sys.executable, "-m", "venv", tools.parent, folder=tmp_path)
    pip = (tools / "python", "-m", "pip", "install")
    done = run(*pip, "--editable", ".", folder=tmp_path / "clone")
    assert done.returncode != 0, done.stdout
    assert "libpysk cannot be installed as editable, since" in done.stdout
    assert "Traceback" not in done.stdout

    done = run(*pip, "pipx", "uv", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    (tmp_path / "person").mkdir()
    index = {"UV_DEFAULT_INDEX": os.environ["PIP_INDEX_URL"]} if "PIP_INDEX_URL" in os.environ else {}
    for command, source, variables in (
        # It takes uv where that is installed.
        (("pipx", "install"), archive, {"PIPX_DEFAULT_BACKEND": "pip"}),
        # It takes newer Pythons of its own, too.
        (("uv", "--system-certs", "tool", "install", "--compile-bytecode", "--python", sys.executable), ".", index),
    ):
        home = tmp_path / command[0]
        home.mkdir()
        # Such as it has of its own in a home.
        folders = {name: "" for name in os.environ if name.startswith(("PIPX_", "XDG_", "UV_TOOL"))}
        done = run(
            tools / command[0], *command[1:], source, folder=tmp_path / "clone",
            **folders | {"HOME": str(home)} | variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        library = Path(run(home / ".local/bin/pysk", "path", folder=tmp_path).stdout.rstrip("\n"))
        assert library.is_relative_to(home / ".local/share" / command[0])
        ours = {path.name for path in installed_library().parent.iterdir()}
        assert {path.name for path in library.parent.iterdir()} == ours
        person = Person(tmp_path / "person", library)
        key = tmp_path / "person/id"
        assert_signs(person, key if key.exists() else enrolled(person))

        if command[0] == "pipx":
            manual_page.write_transport(tmp_path)
            done = run(
                tools / "pipx", "inject", "sk-provider", "./pysk-door", "pytest", folder=tmp_path,
                **folders | {"HOME": str(home)} | variables,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout
            python = home / ".local/share/pipx/venvs/sk-provider/bin/python"
            kit = (python, "-m", "pytest", "-p", "sk_provider.testing.plugin", "-p", "no:cacheprovider")
            done = run(*kit, "-k", CASES, "pysk-door", folder=tmp_path)
            assert done.returncode == 0, done.stdout
            assert " passed" in done.stdout

        # As the README says.
        program = command[0]
        (removing,) = re.findall(rf"`{program}( [a-z ]*uninstall \S+)`", (REPOSITORY / "README.md").read_text())
        done = run(tools / program, *removing.split(), folder=tmp_path, **folders | {"HOME": str(home)} | variables)
        assert done.returncode == 0, done.stdout
        assert not library.parent.exists()
        assert not (home / ".local/bin/pysk").exists()
