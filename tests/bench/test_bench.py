"""The benchmark runs, and its figures are those of real signatures. How fast anything is, is no test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).with_name("bench")


def test_the_benchmark_measures_real_signatures_of_every_provider(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, BENCH, "--rounds", "2", "--group", "1", "--group", "2", "--json", results],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(results.read_text())
    assert measured["rounds"] == 2
    assert {"processor", "cores", "python", "openssh", "date"} <= set(measured["machine"])
    rows = {(row["group"], row["name"]): row for row in measured["rows"]}
    names = {
        "sk-dummy ed25519",
        "sk-dummy ecdsa",
        "null provider",
        "libpysk, virtual token",
        "libpysk, soft: ed25519",
        "libpysk, soft: ecdsa",
    }
    assert set(rows) == {
        (group, name) for group in ("signature in ssh-sk-helper", "ssh-keygen -Y sign") for name in names
    }
    for (_, name), row in rows.items():
        assert len(row["samples_ms"]) == 2
        assert all(sample > 0 for sample in row["samples_ms"])
        assert row["peak_mib"] > 0
        if name.startswith("libpysk"):
            assert set(row["ratios"]) == {"double", "null"}
            assert f"| {name} |" in done.stdout


def test_a_provider_that_does_not_sign_ends_the_benchmark_with_its_words(tmp_path: Path) -> None:
    """See the other test: what is measured there has been verified, because what fails is not measured."""
    program = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from bench import libraries, rows
libraries.test_double = lambda: Path("/nowhere/provider.so")
try:
    rows.Bench(Path(sys.argv[2]), rows.GROUPS[:1], {}).__enter__()
except rows.BenchError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, BENCH.parents[1], tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "ssh-keygen" in done.stdout
    assert "/nowhere/provider.so" in done.stdout
