"""Signals that come in the middle of an operation have their effect once it has ended."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CBUILD = HERE.parents[1] / "cbuild"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_last_moment_of_an_operation_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    helper = tmp_path / "ssh-sk-helper"
    (tmp_path / "pysk-build.h").touch()
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", f"-I{CBUILD}",
         HERE / "interrupts.c", "-o", helper],
        check=True, timeout=60,
    )  # fmt: skip
    assert subprocess.run([helper, str(int(number))], check=False, timeout=60).returncode == -number
