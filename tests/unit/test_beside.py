"""Tests that run all at once in a place of their own are one to those who run tests beside each other."""

from __future__ import annotations

from support.beside import PLACES, place_of
from support.provider_tree import REPOSITORY


def test_each_folder_that_has_a_place_is_known() -> None:
    folders = [path.parent for path in (REPOSITORY / "tests").rglob("conftest.py") if "Place(" in path.read_text()]
    assert {f"{folder.relative_to(REPOSITORY)}/" for folder in folders} == set(PLACES)
    assert place_of("tests/hardware/pcsc/test_provider.py::test_one") == "tests/hardware/pcsc/"
    assert place_of("tests/unit/test_beside.py::test_one") is None
