"""`pytest --token`, with a served token for one that a person has in hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.serve import serve

from sk_provider.authenticator.state import State
from sk_provider.authenticator.store import Store

TESTS = Path(__file__).parents[1]


def pytest_run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        TESTS.parent / "pyproject.toml",
    ]
    command += arguments
    return subprocess.run(
        command,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def kept(state: State) -> list[object]:
    """What of a token's state its owner would miss."""
    return [state.secret, state.pin, state.pin_retries, state.credentials, state.large_blobs, state.always_uv]


def test_a_token_in_hand_passes_and_is_as_it_was(tmp_path: Path, sockets: Path) -> None:
    store = Store.create(str(tmp_path / "store"))
    before = kept(store.read())
    with serve("--store", str(tmp_path / "store"), f"unix:{sockets}/token"):
        done = pytest_run("--token", f"unix:{sockets}/token", TESTS / "hardware" / "in_hand")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "touch the authenticator" in done.stderr + done.stdout
    assert kept(store.read()) == before


def test_with_a_token_in_hand_nothing_else_runs() -> None:
    done = pytest_run("--collect-only", "--token", "unix:/nowhere", TESTS / "transports")
    assert done.returncode == 0, done.stdout + done.stderr
    collected = [line.rpartition("/")[2] for line in done.stdout.splitlines() if "::" in line]
    assert collected
    assert {line.partition("::test")[0] for line in collected} == {"test_conformance.py::TestUnix"}
    assert not [line for line in collected if "pin" in line or "death" in line]


def test_without_one_what_needs_it_does_not_run() -> None:
    done = pytest_run("--collect-only", TESTS / "hardware" / "in_hand")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout


def test_the_kit_tries_a_token_in_hand_without_these_tests(tmp_path: Path, sockets: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    address = f"unix:{sockets}/token"
    kit = ["-p", "sk_provider.testing.plugin", "--token", address, "--pyargs", "sk_provider.testing.in_hand"]
    with serve(address):
        done = pytest_run("-c", tmp_path / "pytest.ini", f"--rootdir={tmp_path}", "-k", "info or touch", *kit)
    assert done.returncode == 0, done.stdout + done.stderr
