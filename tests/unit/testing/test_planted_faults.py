"""The kit finds what is wrong with a transport, and nothing where nothing is."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from support import planted_faults

pytestmark = pytest.mark.slow

FAULTY = {
    name: each.fails for name, each in vars(planted_faults).items() if isinstance(each, type) and hasattr(each, "fails")
}

SOUND = ("TestSound", "TestSoundForEachCall")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Run the case that is to find it for each of the faults, and those cases for what has none; return what failed."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "pytest.ini").write_text("[pytest]\n")
    file = planted_faults.__file__
    cases = [f"{file}::{name}::{case}" for name, case in FAULTY.items()]
    cases += [f"{file}::{name}::{case}" for name in SOUND for case in sorted(set(FAULTY.values()))]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "-c", folder / "pytest.ini", f"--rootdir={folder}", f"--junitxml={folder}/results", *cases],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    results = ET.parse(folder / "results").iter("testcase")
    ran = [(_names(each), bool(list(each))) for each in results]
    assert {name for (name, _), _ in ran} == {*FAULTY, *SOUND}, done.stdout
    return {names for names, has_failed in ran if has_failed}


def _names(case: ET.Element) -> tuple[str, str]:
    return case.attrib["classname"].rpartition(".")[2], case.attrib["name"].partition("[")[0]


@pytest.mark.parametrize("name", FAULTY)
def test_a_planted_fault_is_found(failed: set[tuple[str, str]], name: str) -> None:
    assert (name, FAULTY[name]) in failed


def test_a_sound_transport_passes(failed: set[tuple[str, str]]) -> None:
    assert not [case for name, case in failed if name in SOUND]


def test_a_case_that_is_none_cannot_be_left_out() -> None:
    with pytest.raises(TypeError, match="names test_of_nothing, which is no case"):
        type("Lax", (planted_faults.Conformance,), {"leaves_out": ("test_of_nothing",)})
