from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from support.serve import wait_until

from sk_provider.authenticator.presence import CANCELLED, DENIED, GRANTED, TIMED_OUT, PresenceRequest
from sk_provider.virtual_key import asking
from sk_provider.virtual_key.asking import MOMENT, POLL_PATIENCE, Asker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sk_provider.authenticator.event import Event

SIGN = PresenceRequest("sign", "aa")


class Person:
    """Answers once she has made up her mind, or is no longer asked."""

    def __init__(self) -> None:
        self.answer: int | None = None
        self.is_asked = False
        self.asked: list[str] = []

    def __call__(self, request: PresenceRequest, event: Event | None) -> int:
        assert not self.is_asked
        self.is_asked = True
        self.asked.append(f"{request.action} {request.rp_id}")
        while self.answer is None and not (event and event.is_set()):
            time.sleep(0.001)
        self.is_asked = False
        return CANCELLED if self.answer is None else self.answer


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def asker(person: Person) -> Iterator[Asker]:
    asker = Asker(person)
    yield asker
    asker.close()
    wait_until(lambda: not person.is_asked, "the end of the question")


def test_a_poll_is_answered_at_once_and_the_person_in_the_end(asker: Asker, person: Person) -> None:
    begun = time.monotonic()
    assert asker.poll(SIGN) == TIMED_OUT
    assert time.monotonic() - begun >= MOMENT
    assert asker.poll(PresenceRequest("sign", "aa")) == TIMED_OUT
    person.answer = GRANTED
    assert asker.poll(SIGN) == GRANTED
    assert person.asked == ["sign aa"]


@pytest.mark.parametrize("answer", [GRANTED, DENIED])
def test_an_answer_that_comes_at_once_serves_one_request(asker: Asker, person: Person, answer: int) -> None:
    person.answer = answer
    assert asker.poll(SIGN) == asker.poll(SIGN) == answer
    assert len(person.asked) == 2


@pytest.mark.parametrize("other", [PresenceRequest("sign", "bb"), PresenceRequest("enroll", "aa")])
def test_a_touch_for_one_request_is_none_for_another(asker: Asker, person: Person, other: PresenceRequest) -> None:
    assert asker.poll(SIGN) == TIMED_OUT
    assert asker.poll(other) == TIMED_OUT
    wait_until(lambda: len(person.asked) > 1, "the other question")
    assert person.asked == ["sign aa", f"{other.action} {other.rp_id}"]


def test_nobody_is_asked_any_longer_once_the_client_stops_polling(
    asker: Asker, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: clock.now))
    assert asker.poll(SIGN) == TIMED_OUT
    clock.now += POLL_PATIENCE - 0.1
    assert asker.poll(SIGN) == TIMED_OUT
    clock.now += POLL_PATIENCE - 0.1
    assert person.is_asked
    clock.now += 0.2
    wait_until(lambda: not person.is_asked, "the end of the question")
    person.answer = GRANTED
    assert asker.poll(SIGN) == GRANTED
    assert len(person.asked) == 2


def test_a_touch_that_no_poll_takes_is_forgotten(asker: Asker, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: clock.now))
    assert asker.poll(SIGN) == TIMED_OUT
    person.answer = GRANTED
    wait_until(lambda: not person.is_asked, "the touch")
    person.answer = None
    clock.now += POLL_PATIENCE + 0.1
    assert asker.poll(SIGN) == TIMED_OUT


def test_what_ctap2_asks_withdraws_a_polled_question_and_waits(asker: Asker, person: Person) -> None:
    assert asker.poll(SIGN) == TIMED_OUT
    cancelled = threading.Event()
    cancelled.set()
    assert asker.ask(PresenceRequest("select"), cancelled) == CANCELLED
    assert person.asked == ["sign aa", "select "]


def test_what_is_asked_once_is_asked_at_once_in_the_callers_thread() -> None:
    threads: list[int] = []

    def note_thread(_request: PresenceRequest, _event: Event | None) -> int:
        threads.append(threading.get_ident())
        return GRANTED

    asker = Asker(note_thread)
    assert asker.ask(SIGN, None) == GRANTED
    assert threads == [threading.get_ident()]
    asker.close()


def test_what_asking_raises_is_raised_to_who_polls() -> None:
    def fail(_request: PresenceRequest, _event: Event | None) -> int:
        raise OSError("no terminal")

    asker = Asker(fail)
    for _ in range(2):
        with pytest.raises(OSError, match="no terminal"):
            asker.poll(SIGN)
    asker.close()
