"""Packages that were installed without compiled bytecode are noticed: by the library and by `pysk path`."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from pathlib import Path

from support.openssh import Person
from support.provider_tree import Tree

# Takes the place of the C library's functions in the helper, and shows what the system's log would get.
LOG = r"""
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
void syslog(int priority, const char *format, ...) {
    va_list arguments; (void)priority;
    va_start(arguments, format); vdprintf(2, format, arguments); va_end(arguments); dprintf(2, "\n");
}
void __syslog_chk(int priority, int flag, const char *format, ...) {
    va_list arguments; (void)priority; (void)flag;
    va_start(arguments, format); vdprintf(2, format, arguments); va_end(arguments); dprintf(2, "\n");
}
"""


def test_the_library_writes_to_the_log_that_its_package_is_not_compiled(
    tree: Tree, person: Person, key: Path, tmp_path: Path
) -> None:
    (tmp_path / "log.c").write_text(LOG)
    shown = tmp_path / "log.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shown, tmp_path / "log.c"], check=True, timeout=60)
    variables = {"SSH_SK_PROVIDER": str(tree.library), "LD_PRELOAD": str(shown)}
    done, _ = person.sign(key, environment=variables)
    assert done.status == 0
    assert f"libpysk: sk_provider installed without compiled bytecode, which slows every use; run {_fix(tree)}" in (
        done.errors.splitlines()
    )
    compileall.compile_dir(tree.package, quiet=1)
    done, _ = person.sign(key, environment=variables)
    assert done.status == 0
    assert "bytecode" not in done.errors


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
