"""What an operation knows of time: whose it is that passes, and what ends it."""

from __future__ import annotations

import pytest

from sk_provider import operation as module
from sk_provider.client import token
from sk_provider.client.candidates import _Race
from sk_provider.errors import AuthenticatorError, Interrupted, TimedOut
from sk_provider.operation import Operation

TICK = 0.1
LINE = "another program is using the authenticator; waiting for it"
BUSY = "the authenticator is busy with another program"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def wait(operation: Operation, clock: Clock, seconds: float) -> None:
    """Wait for others, and return when they have let the authenticator go."""
    since = clock.now
    for _ in range(round(seconds / TICK)):
        clock.now += TICK
        operation.wait_for_others(since)


def test_others_take_none_of_a_persons_time(clock: Clock) -> None:
    operation = Operation(10)
    clock.now += 4
    wait(operation, clock, 9)
    clock.now += 5.9
    assert not operation.is_set()
    clock.now += 0.2
    assert operation.is_set()
    assert isinstance(operation.reason(), TimedOut)


def test_others_may_have_the_authenticator_for_as_long_as_a_person_in_all(clock: Clock) -> None:
    operation = Operation(10)
    wait(operation, clock, 6)
    clock.now += 1
    wait(operation, clock, 3.8)
    with pytest.raises(AuthenticatorError, match=BUSY):
        wait(operation, clock, 0.3)


def test_several_that_wait_at_the_same_time_count_that_once(clock: Clock) -> None:
    operation = Operation(10)
    since = clock.now
    for _ in range(48):
        clock.now += TICK
        operation.wait_for_others(since)
        clock.now += TICK
        operation.wait_for_others(since + TICK)
    clock.now += 9.9
    assert not operation.is_set()
    clock.now += 0.2
    assert operation.is_set()


def test_a_person_is_told_once_of_others_that_have_the_authenticator_for_more_than_a_second(clock: Clock) -> None:
    told: list[str] = []
    operation = Operation(10, tell=told.append)
    wait(operation, clock, 0.9)
    assert told == []
    wait(operation, clock, 4)
    wait(_Race(operation), clock, 2)
    wait(token.probe_patience(operation), clock, 2)
    assert told == [LINE]


def test_who_has_given_up_waits_for_nobody(clock: Clock) -> None:
    operation = Operation(10)
    operation.call_off()
    with pytest.raises(Interrupted):
        wait(operation, clock, 1)


def test_a_race_that_is_won_waits_for_nobody(clock: Clock) -> None:
    race = _Race(Operation(10))
    race.winner = object()  # type: ignore[assignment]  # any token
    with pytest.raises(Interrupted, match="another authenticator was used"):
        wait(race, clock, 1)


def test_a_probe_counts_the_time_of_others_as_its_own(clock: Clock) -> None:
    operation = Operation(10)
    probe = token.probe_patience(operation)
    clock.now += 1
    wait(probe, clock, token.PROBE_PATIENCE - 1.1)
    assert not probe.is_set()
    clock.now += 0.2
    assert probe.is_set()
    assert str(probe.reason()).startswith(BUSY)
    with pytest.raises(AuthenticatorError, match=BUSY):
        wait(probe, clock, 0.1)
    # It was none of the person's time.
    clock.now += 8.7
    assert not operation.is_set()


def test_a_probe_that_waited_for_nobody_has_timed_out(clock: Clock) -> None:
    probe = token.probe_patience(Operation(10))
    clock.now += token.PROBE_PATIENCE
    assert isinstance(probe.reason(), TimedOut)
