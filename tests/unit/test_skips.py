"""Tests that are skipped, by a run of pytest with the conftest.py of all suites: failures where CI is set."""

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

SKIPPED = """
import pytest

@pytest.mark.parametrize("way", [])
def test_of_nothing(way): pass

@pytest.mark.skipif(True, reason="there is no g++")
def test_marked(): pass

def test_of_itself(): pytest.skip("only on Mondays")

@pytest.mark.skipif(True, reason="only root can give a file away")
def test_excused(): pass

@pytest.mark.xfail(reason="is known")
def test_known(): assert False
"""


def outcome(folder: Path, **variables: str) -> str:
    """Return the last line of what pytest prints about a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-c", REPOSITORY / "pyproject.toml", "--rootdir", folder, "-q", folder),
        env={**environment, **variables}, cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout.splitlines()[-1].partition(" in ")[0]


def test_what_is_skipped_for_no_good_reason_fails_in_ci(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "tests/conftest.py", tmp_path)
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    assert outcome(tmp_path) == "4 skipped, 1 xfailed"
    assert outcome(tmp_path, CI="true") == "1 failed, 1 skipped, 1 xfailed, 2 errors"

    (tmp_path / "test_skipped.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    assert outcome(tmp_path) == "1 skipped"
    assert outcome(tmp_path, CI="true") == "1 error"
