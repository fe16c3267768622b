"""What the kit finds left behind, besides what its planted faults leave."""

from __future__ import annotations

import os
import tempfile

import pytest

from sk_provider.testing.leftovers import Leftovers


def test_what_captures_output_may_take_other_descriptors_for_other_files() -> None:
    first = tempfile.TemporaryFile()  # noqa: SIM115 - another outlives it
    before = Leftovers()
    in_the_way = os.dup(first.fileno())
    with tempfile.TemporaryFile():
        first.close()
        os.close(in_the_way)
        assert before.found(0) == []


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_what_was_not_closed_is_found(kind: str) -> None:
    before = Leftovers()
    if kind == "file":
        with tempfile.TemporaryFile():
            (found,) = before.found(0)
    else:
        reader, writer = os.pipe()
        (found,) = before.found(0)
        os.close(reader)
        os.close(writer)
    assert found.startswith("file descriptors that were not closed: ")
    assert before.found(0) == []
