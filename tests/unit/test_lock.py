"""`make install` takes from PyPI what pyproject.toml asks for, on every Python and machine that is supported."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = (REPOSITORY / "pyproject.toml").read_text()
LOCK = (REPOSITORY / "cbuild" / "requirements.lock").read_text()
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def wanted() -> list[Requirement]:
    """Return what pyproject.toml says that the package and its build need."""
    lists = [re.search(rf"^{name} = (\[[^]]*\])", PROJECT, re.MULTILINE) for name in ("requires", "dependencies")]
    return [Requirement(text) for found in lists if found is not None for text in ast.literal_eval(found[1])]


def locked() -> list[tuple[Requirement, list[str]]]:
    """Return each requirement of the lock with its hashes."""
    entries = [line for line in LOCK.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    return [(Requirement(entry.partition("--hash")[0]), HASH.findall(entry)) for entry in entries]


def test_it_was_made_for_what_pyproject_says() -> None:
    assert len(wanted()) >= 6
    named = {line.removeprefix("#     ") for line in LOCK.splitlines() if line.startswith("#     ")}
    assert {str(Requirement(line)) for line in named} == {str(requirement) for requirement in wanted()}


def test_each_entry_is_one_release_and_the_hashes_of_its_files() -> None:
    for requirement, hashes in locked():
        (specifier,) = requirement.specifier
        assert (specifier.operator, requirement.url) == ("==", None)
        assert "*" not in specifier.version
        assert hashes


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_each_python_on_each_machine_gets_one_release_of_everything_that_is_wanted(python: str, machine: str) -> None:
    environment = {
        "implementation_name": "cpython", "platform_python_implementation": "CPython", "os_name": "posix",
        "sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine,
        "python_version": python, "python_full_version": f"{python}.0",
    }  # fmt: skip
    releases: dict[str, str] = {}
    for requirement, _ in locked():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in releases
            (specifier,) = requirement.specifier
            releases[name] = specifier.version
    for requirement in wanted():
        assert requirement.specifier.contains(releases[canonicalize_name(requirement.name)])


def test_the_pythons_are_those_that_the_lock_is_renewed_for() -> None:
    script = (REPOSITORY / "cbuild" / "lock").read_text()
    assert f"pythons=({' '.join(PYTHONS)})" in script
    assert f"machines=({' '.join(MACHINES)})" in script
