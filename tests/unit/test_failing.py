"""What a failing test shows, by a run of pytest with the conftest.py and the settings of all suites."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.provider_tree import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LINES = 500

PROGRAM = f"import sys; print('begin', *range({LINES}), 'end', sep='\\\\n', file=sys.stderr); sys.exit(1)"

BEGINNING = f"""
import subprocess, sys
from pathlib import Path
from support import terminal

command = [sys.executable, "-c", "{PROGRAM}"]
"""


@pytest.mark.parametrize(
    "test",
    [
        """
def test(tmp_path):
    done = terminal.run(command, environment={}, folder=tmp_path)
    assert done.status == 0, done
""",
        """
def test():
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
""",
        """
def test():
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines() == ["success"]
""",
        """
def test():
    subprocess.run(command, capture_output=True, check=True)
""",
    ],
    ids=["at a terminal", "of subprocess", "compared", "checked"],
)
def test_all_that_a_program_printed_is_shown(tmp_path: Path, test: str) -> None:
    shutil.copy(REPOSITORY / "tests/conftest.py", tmp_path)
    (tmp_path / "test_failing.py").write_text(BEGINNING + test)
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-c", REPOSITORY / "pyproject.toml", "--rootdir", tmp_path, "-q", tmp_path),
        # pytest cuts less where it takes itself to be in CI.
        env={name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "1 failed" in done.stdout
    shown = {line.strip("E '-+,") for line in done.stdout.splitlines()}
    assert set(map(str, range(LINES))) <= shown
