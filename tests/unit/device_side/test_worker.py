from __future__ import annotations

from threading import Event

import pytest
from support.serve import wait_until

from sk_provider.ctap.framing import CBOR, MSG, STATUS_PROCESSING, STATUS_UPNEEDED
from sk_provider.device_side.job import Job
from sk_provider.device_side.worker import Worker
from sk_provider.errors import StoreUnusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sk_provider.device_side.worker import OnKeepalive

CANCELLED, FAILED = b"\x2d", b"\x7f"
U2F_FAILED = b"\x6f\x00"


class Wakes:
    """How often the servers have been woken."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def wakes() -> Wakes:
    return Wakes()


@pytest.fixture
def worker(wakes: Wakes) -> Iterator[Worker]:
    worker = Worker(wakes)
    yield worker
    worker.close()


def echo(command: int, data: bytes, cancelled: Event, on_keepalive: OnKeepalive | None) -> bytes:
    return bytes([command]) + data


def fail(command: int, data: bytes, cancelled: Event, on_keepalive: OnKeepalive | None) -> bytes:
    raise RuntimeError("a secret")


def find_unusable(command: int, data: bytes, cancelled: Event, on_keepalive: OnKeepalive | None) -> bytes:
    raise StoreUnusable("the store is damaged", "restore it")


def no_complaint(what: str) -> None:
    raise AssertionError(what)


def answer(job: Job) -> bytes:
    wait_until(lambda: job.response is not None, "the answer")
    assert job.response is not None
    return job.response


def test_jobs_are_answered_in_turn_and_other_things_done_in_between(worker: Worker) -> None:
    done: list[bytes] = []

    def note(command: int, data: bytes, cancelled: Event, on_keepalive: OnKeepalive | None) -> bytes:
        done.append(data)
        return b"\0"

    jobs = [Job(CBOR, data) for data in (b"first", b"second")]
    worker.start(jobs[0], note, no_complaint)
    worker.do(lambda: done.append(b"between"), no_complaint)
    worker.start(jobs[1], note, no_complaint)
    assert answer(jobs[1]) == b"\0"
    assert done == [b"first", b"between", b"second"]


def test_a_keepalive_changes_the_status_and_wakes_the_servers(worker: Worker, wakes: Wakes) -> None:
    seen: list[int] = []

    def wait(command: int, data: bytes, cancelled: Event, on_keepalive: OnKeepalive | None) -> bytes:
        assert on_keepalive is not None
        seen.append(job.status)
        on_keepalive(STATUS_UPNEEDED)
        seen.append(job.status)
        assert cancelled.wait(60)
        return CANCELLED

    job = Job(CBOR, b"\x0b")
    worker.start(job, wait, no_complaint)
    wait_until(lambda: len(seen) == 2, "the keep-alive")
    assert seen == [STATUS_PROCESSING, STATUS_UPNEEDED]
    assert wakes.count == 1
    job.cancel()
    assert answer(job) == CANCELLED
    wait_until(lambda: wakes.count == 2, "the waking for the answer")


def test_u2f_knows_no_keepalives(worker: Worker) -> None:
    def tell(command: int, data: bytes, cancelled: Event, on_keepalive: OnKeepalive | None) -> bytes:
        return b"none" if on_keepalive is None else b"some"

    jobs = [Job(command, b"") for command in (MSG, CBOR)]
    for job in jobs:
        worker.start(job, tell, no_complaint)
    assert [answer(job) for job in jobs] == [b"none", b"some"]


@pytest.mark.parametrize(("command", "response"), [(CBOR, CANCELLED), (MSG, U2F_FAILED)])
def test_what_is_cancelled_before_its_beginning_is_not_begun(worker: Worker, command: int, response: bytes) -> None:
    job = Job(command, b"")
    job.cancel()
    worker.start(job, fail, no_complaint)
    assert answer(job) == response


def tell_nobody(what: str) -> None:
    raise BrokenPipeError


@pytest.mark.parametrize(("command", "response"), [(CBOR, FAILED), (MSG, U2F_FAILED)])
def test_a_failure_is_answered_and_told_by_our_sentence_or_else_its_place_alone_and_ends_nothing(
    worker: Worker, command: int, response: bytes
) -> None:
    told: list[str] = []
    complaints: list[Callable[[str], None]] = [told.append, tell_nobody]
    for complain in complaints:
        job = Job(command, b"")
        worker.start(job, fail, complain)
        assert answer(job) == response
    worker.do(lambda: tell_nobody("nobody"), told.append)
    unusable = Job(command, b"")
    worker.start(unusable, find_unusable, told.append)
    last = Job(command, b"last")
    worker.start(last, echo, no_complaint)
    assert answer(last) == bytes([command]) + b"last"
    assert told == [
        f"RuntimeError at test_worker.py:{fail.__code__.co_firstlineno + 1}",
        f"BrokenPipeError at test_worker.py:{tell_nobody.__code__.co_firstlineno + 1}",
        "the store is damaged; restore it",
    ]
