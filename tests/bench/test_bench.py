"""The benchmark runs, and its figures are those of real signatures. How fast anything is, is no test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench import libraries
from bench.measure import BenchError
from bench.rows import NULL, _check_source

BENCH = Path(__file__).with_name("bench")


def test_the_benchmark_measures_real_signatures_of_every_provider(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, BENCH, "--rounds", "2", *(f"--group={number}" for number in (*range(1, 8), *range(9, 12))),
         "--json", results],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(results.read_text())
    assert measured["rounds"] == 2
    assert {"processor", "cores", "python", "openssh", "date"} <= set(measured["machine"])
    rows = {(row["group"], row["name"]): row for row in measured["rows"]}
    signers = {
        "sk-dummy ed25519",
        "sk-dummy ecdsa",
        "null provider",
        "libpysk, virtual token",
        "libpysk, soft: ed25519",
        "libpysk, soft: ecdsa",
    }
    signatures = {row for row in rows if row[0] in ("signature in ssh-sk-helper", "ssh-keygen -Y sign")}
    assert {name for _, name in signatures} == signers
    assert len(signatures) == 2 * len(signers)
    assert {name for group, name in rows if group.startswith("resident")} == {
        f"libpysk, soft: {count}" for count in (1, 10, 100)
    }
    assert {name for group, name in rows if group.startswith("selection")} == {
        f"libpysk, {count} of unix:" for count in (1, 2, 4, 8)
    }
    assert {name for group, name in rows if "sealed" in group} == {
        "libpysk, soft: ed25519", "libpysk, soft: ed25519, sealed"
    }  # fmt: skip
    assert {name for group, name in rows if "TPM" in group} == {
        "libpysk, soft: ecdsa", "libpysk, tpm:", "tpm2-pytss alone"
    }  # fmt: skip
    assert {name for group, name in rows if "another package" in group} == {
        f"libpysk, {scheme}:{packages}" for scheme in ("unix", "pigeon") for packages in ("", ", 160 packages")
    }  # fmt: skip
    beside = {name for group, name in rows if "built-in" in group}
    assert beside == {f"{who}, {delay} ms a message" for who in ("built-in", "libpysk") for delay in (0, 2, 5, 20, 50)}
    assert {group.partition(" ")[0] for group, _ in rows} >= {"ssh-keygen", "signature", "resident", "selection"}
    for key, row in rows.items():
        assert len(row["samples_ms"]) == 2
        assert all(sample > 0 for sample in row["samples_ms"])
        assert row["peak_mib"] > 0
        assert f"| {key[1]} |" in done.stdout
        if key[1] in beside and key[1].startswith("libpysk"):
            assert set(row["ratios"]) == {"built-in"}
        if key in signatures and key[1].startswith("libpysk"):
            assert set(row["ratios"]) == {"double", "null"}


@pytest.mark.long
def test_the_benchmark_measures_in_the_virtual_machine_too(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, BENCH, "--rounds", "1", "--group", "8", "--json", results],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {row["name"] for row in json.loads(results.read_text())["rows"]}
    assert names == {f"{who}, {delay} ms" for who in ("built-in provider", "libpysk") for delay in (0, 5, 20, 50)}


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


@pytest.mark.parametrize(
    ("counter", "name"), [(libraries.NULL_COUNTER, "libpysk, virtual token"), (1, NULL)], ids=["null", "not null"]
)
def test_a_signature_of_another_provider_ends_the_benchmark(counter: int, name: str) -> None:
    with pytest.raises(BenchError, match="by another provider"):
        _check_source(counter, name)
