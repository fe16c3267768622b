"""The seeds of the fuzzing, through the same functions without a fuzzer; tests/fuzz/run goes on from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.events import join, split
from fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
SEEDS = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed.parent.name}/{seed.name}")
def test_a_seed_breaks_no_promise(seed: Path) -> None:
    TARGETS[seed.parent.name](seed.read_bytes())


def test_every_target_has_seeds_and_takes_their_beginnings() -> None:
    assert {seed.parent.name for seed in SEEDS} == set(TARGETS)
    for seed in SEEDS:
        data = seed.read_bytes()
        for length in (0, 1, len(data) // 2):
            TARGETS[seed.parent.name](data[:length])


def test_events_are_read_as_they_were_written() -> None:
    events = [(0, b""), (255, b"content"), (16, bytes(300))]
    assert split(join(events)) == events
    assert split(join(events)[:-1]) == [*events[:2], (16, bytes(299))]
