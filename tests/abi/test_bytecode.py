"""Packages that were installed without compiled bytecode are noticed: by the library and by `pysk path`."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from pathlib import Path

from support.openssh import Person
from support.provider_tree import Tree
from support.system_log import SystemLog


def test_the_library_writes_to_the_log_that_its_package_is_not_compiled(
    tree: Tree, person: Person, key: Path, tmp_path: Path
) -> None:
    log = SystemLog(tmp_path)
    variables = {"SSH_SK_PROVIDER": str(tree.library), **log.variables}
    done, _ = person.sign(key, environment=variables)
    assert done.status == 0
    advice = f"libpysk: sk_provider installed without compiled bytecode, which slows every use; run {_fix(tree)}"
    assert log.lines() == [advice]
    compileall.compile_dir(tree.package, quiet=1)
    done, _ = person.sign(key, environment=variables)
    assert done.status == 0
    assert log.lines() == [advice]


def test_pysk_path_tells_it(tree: Tree) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        program = "from sk_provider.cli import main; main()"
        variables = {**os.environ, "PYTHONPATH": str(tree.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", program, "path", "--api", "10"]
        return subprocess.run(
            command, cwd=tree.folder, env=variables, capture_output=True, text=True, check=True, timeout=60
        )

    told = run()
    assert told.stdout == f"{tree.library}\n"
    assert told.stderr.endswith(f"; run {_fix(tree)}\n")
    compileall.compile_dir(tree.package, quiet=1)
    assert run().stderr == ""


def _fix(tree: Tree) -> str:
    return f"python{sys.version_info[0]}.{sys.version_info[1]} -m compileall -q {tree.package}"
