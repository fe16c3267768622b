"""The library that libssh takes, whatever ssh is installed, and the example program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# libssh has callbacks for security keys since 0.12. Where it is older or absent there is nothing to try, which the
# summary says; tests/matrix runs these tests where it is there, and fails if they are not.
IS_THERE = Path("/usr/include/libssh/sk_api.h").exists()
collect_ignore_glob = [] if IS_THERE else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not IS_THERE:
        terminalreporter.write_line("tests/libssh was not run: there is no libssh 0.12 here (make matrix runs it)")


@pytest.fixture(scope="session")
def provider() -> Path:
    command = [str(Path(sys.executable).with_name("pysk")), "path", "--api", "10"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("example") / "example"
    header, source = REPOSITORY / "sk_provider/include", REPOSITORY / "tests/libssh/example.c"
    command = [
        "gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-I", str(header), str(source),
        "-o", str(program), "-lssh", "-ldl",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return program
