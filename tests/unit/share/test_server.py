"""Whose turn it is at a shared authenticator, with a channel that notes what reaches it."""

from __future__ import annotations

import hashlib

import pytest
from support.serve import wait_until

from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import cbor, framing, status
from sk_provider.device_side.job import Job
from sk_provider.device_side.loop import Loop
from sk_provider.share.server import SharedAuthenticator, _Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.transport_api import Event

GET_INFO = b"\x04"
SELECTION = b"\x0b"
READ_RETRIES = b"\x06" + cbor.encode({1: 1, 2: 1})
GET_ASSERTION, GET_NEXT_ASSERTION = b"\x02", b"\x08"
ASSERT = GET_ASSERTION + cbor.encode({1: "ssh:", 2: bytes(32)})
LISTED = b"\0" + cbor.encode({1: {}, 2: hashlib.sha256(b"ssh:").digest(), 3: b"signature", 5: 2})
INFO = b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: bytes(16)})
CANCELLED = bytes([status.KEEPALIVE_CANCEL])


class Authenticator:
    """Answers getInfo at once, and waits for ever for the touch that selection wants."""

    def __init__(self) -> None:
        self.capabilities = framing.CAPABILITY_CBOR
        self.passed: list[bytes] = []
        self.times_opened = 0
        self.is_open = False

    def open(self, *_: object) -> Token:
        self.times_opened += 1
        self.is_open = True
        return Token(self, "unix:/authenticator")

    def call(self, cmd: int, data: bytes = b"", event: Event | None = None, on_keepalive: Any = None) -> bytes:
        assert event is not None
        self.passed.append(data)
        if data == SELECTION:
            wait_until(event.is_set, "the cancelling")
            raise event.reason()
        return LISTED if data[:1] == GET_ASSERTION or data == GET_NEXT_ASSERTION else INFO

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def authenticator(monkeypatch: pytest.MonkeyPatch) -> Authenticator:
    authenticator = Authenticator()
    monkeypatch.setattr(selection, "open_for_management", authenticator.open)
    return authenticator


@pytest.fixture
def shared(authenticator: Authenticator) -> Iterator[SharedAuthenticator]:
    loop = Loop()
    shared = SharedAuthenticator(None, Configuration(), lambda _what, _seconds: None, loop)
    authenticator.times_opened = 0
    authenticator.passed.clear()
    yield shared
    shared.close()
    loop.close()


def answer(job: Job) -> bytes:
    wait_until(lambda: job.response is not None, "the answer")
    assert job.response is not None
    return job.response


def start_waiting_for_a_touch(shared: SharedAuthenticator, client: _Client, authenticator: Authenticator) -> Job:
    job = shared.start(client, framing.CBOR, SELECTION)
    wait_until(lambda: SELECTION in authenticator.passed, "the waiting for a touch")
    return job


def cancel_behind_a_touch(shared: SharedAuthenticator, authenticator: Authenticator) -> tuple[_Client, Job, Job]:
    """Return the client whose command waits for a touch, that command, and another client's, cancelled in the queue."""
    first, second = _Client("first", shared), _Client("second", shared)
    begun = start_waiting_for_a_touch(shared, first, authenticator)
    waiting = shared.start(second, framing.CBOR, GET_INFO)
    waiting.cancel()
    return first, begun, waiting


def test_a_command_that_was_cancelled_before_its_beginning_is_not_begun(
    shared: SharedAuthenticator, authenticator: Authenticator
) -> None:
    client = _Client("client", shared)
    begun = start_waiting_for_a_touch(shared, client, authenticator)
    following = [shared.start(client, cmd, GET_INFO) for cmd in (framing.CBOR, framing.MSG)]
    for job in (*following, begun):
        job.cancel()
    assert [answer(job) for job in (begun, *following)] == [CANCELLED, CANCELLED, b"\x6f\x00"]
    assert authenticator.passed == [SELECTION]


def test_the_authenticator_is_not_opened_for_a_command_that_was_cancelled(
    shared: SharedAuthenticator, authenticator: Authenticator
) -> None:
    first, begun, waiting = cancel_behind_a_touch(shared, authenticator)
    begun.cancel()
    shared.end(first)
    assert answer(waiting) == CANCELLED
    assert authenticator.times_opened == 1


def test_whoever_waits_and_cancels_is_answered_before_its_turn(
    shared: SharedAuthenticator, authenticator: Authenticator
) -> None:
    _, begun, waiting = cancel_behind_a_touch(shared, authenticator)
    shared.tick(1000)
    assert waiting.response == CANCELLED
    assert begun.response is None
    begun.cancel()


def test_whoever_cancels_and_asks_anew_in_one_go_keeps_its_place_and_takes_no_other(
    shared: SharedAuthenticator, authenticator: Authenticator
) -> None:
    first, second, third = (_Client(name, shared) for name in ("first", "second", "third"))
    begun = start_waiting_for_a_touch(shared, first, authenticator)
    jobs = [shared.start(client, framing.CBOR, GET_INFO) for client in (second, third, second)]
    jobs[0].cancel()
    assert list(shared._waiting.items()) == [(second, jobs[2]), (third, jobs[1])]
    begun.cancel()
    shared.end(first)
    assert answer(jobs[2])[0] == status.SUCCESS
    assert jobs[1].response is None


def test_a_turn_ends_once_its_client_is_idle(shared: SharedAuthenticator, authenticator: Authenticator) -> None:
    client = _Client("client", shared)
    answer(shared.start(client, framing.CBOR, GET_INFO))
    shared.tick(1000)
    assert shared.deadline() == 1010
    shared.tick(1009)
    answer(shared.start(client, framing.CBOR, ASSERT))
    shared.tick(1011)
    assert authenticator.is_open
    assert authenticator.times_opened == 1
    shared.tick(1021)
    wait_until(lambda: not authenticator.is_open, "the closing")
    assert shared.deadline() is None
    assert answer(shared.start(client, framing.CBOR, GET_INFO))[0] == status.SUCCESS
    assert authenticator.times_opened == 2


@pytest.mark.parametrize("request_bytes", [GET_INFO, READ_RETRIES])
def test_a_look_at_the_authenticator_prolongs_no_turn(
    shared: SharedAuthenticator, authenticator: Authenticator, request_bytes: bytes
) -> None:
    client = _Client("client", shared)
    for now in (1000, 1006):
        answer(shared.start(client, framing.CBOR, request_bytes))
        shared.tick(now)
        assert shared.deadline() == 1010
    shared.tick(1010)
    wait_until(lambda: not authenticator.is_open, "the closing")


def test_a_client_is_not_idle_while_its_command_is_worked_on(
    shared: SharedAuthenticator, authenticator: Authenticator
) -> None:
    client = _Client("client", shared)
    answer(shared.start(client, framing.CBOR, GET_INFO))
    shared.tick(1000)
    touch = start_waiting_for_a_touch(shared, client, authenticator)
    for now in (1009, 1011, 1100):
        shared.tick(now)
        assert shared.deadline() is None
    touch.cancel()
    answer(touch)
    shared.tick(1200)
    assert shared.deadline() == 1210
    assert authenticator.is_open


def test_the_turn_of_an_idle_client_passes_to_whoever_waits_without_what_was_begun_in_it(
    shared: SharedAuthenticator,
) -> None:
    first, second = _Client("first", shared), _Client("second", shared)
    assert answer(shared.start(first, framing.CBOR, ASSERT)) == LISTED
    shared.tick(1000)
    waiting = shared.start(second, framing.CBOR, GET_NEXT_ASSERTION)
    shared.tick(1010)
    assert answer(waiting) == bytes([status.NOT_ALLOWED])
    again = shared.start(first, framing.CBOR, GET_NEXT_ASSERTION)
    shared.tick(1011)
    assert again.response is None
    shared.tick(1021)
    assert answer(again) == bytes([status.NOT_ALLOWED])
