"""Whose turn it is at a shared authenticator, with a channel that notes what reaches it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.serve import wait_until

from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import apdu, cbor, framing, status
from sk_provider.device_side.job import Job
from sk_provider.device_side.loop import Loop
from sk_provider.errors import AuthenticatorError, DeviceNotFound, Interrupted, SecurityKeyError, UnknownCommand
from sk_provider.operation import Operation
from sk_provider.share import server
from sk_provider.share.server import SharedAuthenticator, SharingServer, _Client, _command_line
from sk_provider.transports import unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.ctap.hid import HidChannel
    from sk_provider.transport_api import Event

pytestmark = pytest.mark.slow

GET_INFO = b"\x04"
SELECTION = b"\x0b"
READ_RETRIES = b"\x06" + cbor.encode({1: 1, 2: 1})
GET_ASSERTION, GET_NEXT_ASSERTION = b"\x02", b"\x08"
ASSERT = GET_ASSERTION + cbor.encode({1: "ssh:", 2: bytes(32)})
LISTED = b"\0" + cbor.encode({1: {}, 2: hashlib.sha256(b"ssh:").digest(), 3: b"signature", 5: 2})
INFO = b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: bytes(16)})
CONDITIONS_NOT_SATISFIED, U2F_SUCCESS = b"\x69\x85", b"\x90\0"
CANCELLED = bytes([status.KEEPALIVE_CANCEL])


SSH_HASH = hashlib.sha256(b"ssh:").digest()
ASSERTED = b"\0" + cbor.encode({1: {}, 2: SSH_HASH, 3: b"signature"})
MADE = b"\0" + cbor.encode({1: "none", 2: SSH_HASH, 3: {}})
HANDLE = bytes(64)


def make(pin_uv_auth_param: bytes | None = None) -> bytes:
    request: dict[int, Any] = {1: bytes(32), 2: {"id": "ssh:"}, 3: {"id": b"user"}, 4: []}
    return b"\x01" + cbor.encode(request if pin_uv_auth_param is None else {**request, 8: pin_uv_auth_param})


def client_pin(subcommand: int, permissions: int | None = None) -> bytes:
    request: dict[int, Any] = {1: 2, 2: subcommand}
    return b"\x06" + cbor.encode(request if permissions is None else {**request, 9: permissions, 10: "ssh:"})


def u2f(instruction: int, control: int = 0, application: bytes = SSH_HASH) -> bytes:
    handle = bytes([len(HANDLE)]) + HANDLE if instruction == apdu.INS_AUTHENTICATE else b""
    return apdu.extended(0, instruction, control, 0, bytes(32) + application + handle)


class Authenticator:
    """Answers getInfo at once, or what it is told to; waits for selection's touch until it is cancelled."""

    def __init__(self) -> None:
        self.capabilities = framing.CAPABILITY_CBOR
        self.passed: list[bytes] = []
        self.times_opened = 0
        self.is_open = False
        self.is_touched = False
        self.answer: bytes | None = None

    def open(self, *_: object) -> Token:
        self.times_opened += 1
        self.is_open = True
        return Token(self, "unix:/authenticator")

    def call(self, cmd: int, data: bytes = b"", event: Event | None = None, on_keepalive: Any = None) -> bytes:
        assert event is not None
        self.passed.append(data)
        if self.answer is not None:
            return self.answer
        if data == SELECTION:
            wait_until(lambda: event.is_set() or self.is_touched, "the touch or the cancelling")
            if self.is_touched:
                return b"\0"
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


CBOR, MSG = framing.CBOR, framing.MSG


@pytest.mark.parametrize(
    ("cmd", "request_bytes", "answered"),
    [
        (CBOR, GET_INFO, INFO),
        (CBOR, READ_RETRIES, INFO),
        (CBOR, client_pin(2), INFO),
        (CBOR, client_pin(5), bytes([status.PIN_INVALID])),
        (CBOR, GET_ASSERTION + cbor.encode({1: "ssh:", 2: bytes(32), 5: {"up": False}}), ASSERTED),
        (CBOR, ASSERT, bytes([status.NO_CREDENTIALS])),
        (CBOR, GET_ASSERTION + cbor.encode({1: "example.org", 2: bytes(32)}), ASSERTED),
        (CBOR, GET_NEXT_ASSERTION, ASSERTED),
        (CBOR, make(), bytes([status.PUAT_REQUIRED])),
        (CBOR, make(b""), bytes([status.OPERATION_DENIED])),
        (CBOR, make(b"none"), MADE),
        (CBOR, SELECTION, bytes([status.USER_ACTION_TIMEOUT])),
        (CBOR, b"\x0a\xa1\x01\x02", bytes([status.PUAT_REQUIRED])),
        (CBOR, b"\xfe", b"\0"),
        (CBOR, b"\x02\xff", ASSERTED),
        (CBOR, b"", b"\0"),
        (MSG, u2f(apdu.INS_VERSION), b"U2F_V2\x90\0"),
        (MSG, u2f(apdu.INS_AUTHENTICATE, apdu.P1_CHECK_ONLY), CONDITIONS_NOT_SATISFIED),
        (MSG, u2f(apdu.INS_AUTHENTICATE, apdu.P1_ENFORCE_PRESENCE), b"\x6a\x80"),
        (MSG, u2f(apdu.INS_REGISTER, application=bytes(32)), U2F_SUCCESS),
        (MSG, u2f(0xFE), U2F_SUCCESS),
        (MSG, b"", U2F_SUCCESS),
    ],
)
def test_what_costs_the_person_nothing_prolongs_no_turn(
    shared: SharedAuthenticator, authenticator: Authenticator, cmd: int, request_bytes: bytes, answered: bytes
) -> None:
    client = _Client("client", shared)
    authenticator.answer = answered
    for now in (1000, 1006):
        answer(shared.start(client, cmd, request_bytes))
        shared.tick(now)
        assert shared.deadline() == 1010
    shared.tick(1010)
    wait_until(lambda: not authenticator.is_open, "the closing")


@pytest.mark.parametrize(
    ("cmd", "request_bytes", "answered"),
    [
        (CBOR, make(), MADE),
        (CBOR, make(b""), bytes([status.PIN_INVALID])),
        (CBOR, make(b""), bytes([status.PIN_AUTH_INVALID])),
        (CBOR, make(b""), bytes([status.PIN_NOT_SET])),
        (CBOR, ASSERT, ASSERTED),
        (CBOR, SELECTION, b"\0"),
        (CBOR, client_pin(6, 2), b"\0"),
        (MSG, u2f(apdu.INS_REGISTER), U2F_SUCCESS),
        (MSG, u2f(apdu.INS_AUTHENTICATE, apdu.P1_ENFORCE_PRESENCE), U2F_SUCCESS),
    ],
)
def test_what_the_person_has_answered_prolongs_the_turn(
    shared: SharedAuthenticator, authenticator: Authenticator, cmd: int, request_bytes: bytes, answered: bytes
) -> None:
    client = _Client("client", shared)
    authenticator.answer = answered
    for now in range(1000, 1200, 9):
        answer(shared.start(client, cmd, request_bytes))
        shared.tick(now)
        assert shared.deadline() == now + 10
    assert authenticator.times_opened == 1


@pytest.mark.parametrize(
    ("cmd", "request_bytes", "answered"),
    [
        (CBOR, client_pin(5), b"\0"),
        (CBOR, client_pin(9, 2), b"\0"),
        (CBOR, b"\x0a\xa1\x01\x01", b"\0"),
        (CBOR, b"\x41\xa1\x01\x01", b"\0"),
        (MSG, u2f(apdu.INS_REGISTER), CONDITIONS_NOT_SATISFIED),
        (MSG, u2f(apdu.INS_AUTHENTICATE, apdu.P1_ENFORCE_PRESENCE), CONDITIONS_NOT_SATISFIED),
    ],
)
def test_what_the_person_may_be_busy_with_prolongs_the_turn_by_the_time_they_have(
    shared: SharedAuthenticator, authenticator: Authenticator, cmd: int, request_bytes: bytes, answered: bytes
) -> None:
    client = _Client("client", shared)
    authenticator.answer = answered
    for now in range(1000, 1060, 9):
        answer(shared.start(client, cmd, request_bytes))
        shared.tick(now)
        assert shared.deadline() == min(now + 10, 1000 + Configuration().timeout)
    authenticator.answer = ASSERTED  # which a touch was wanted for: all begins anew
    answer(shared.start(client, CBOR, ASSERT))
    shared.tick(1059)
    authenticator.answer = answered
    for now in range(1065, 1065 + 60, 9):
        answer(shared.start(client, cmd, request_bytes))
        shared.tick(now)
        assert shared.deadline() == max(1069, min(now + 10, 1065 + Configuration().timeout))
    shared.tick(1065 + 60)
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
    authenticator.is_touched = True
    assert answer(touch) == b"\0"
    shared.tick(1200)
    assert shared.deadline() == 1210
    assert authenticator.is_open


def test_a_turn_ends_with_the_command_that_has_got_no_touch_in_a_long_time(
    shared: SharedAuthenticator, authenticator: Authenticator
) -> None:
    client = _Client("client", shared)
    answer(shared.start(client, framing.CBOR, GET_INFO))
    shared.tick(1000)
    touch = start_waiting_for_a_touch(shared, client, authenticator)
    shared.tick(1100)
    touch.cancel()
    answer(touch)
    shared.tick(1100)
    wait_until(lambda: not authenticator.is_open, "the closing")


def test_no_answer_is_overlooked_when_the_next_command_comes_at_once(shared: SharedAuthenticator) -> None:
    client = _Client("client", shared)
    answer(shared.start(client, framing.CBOR, GET_INFO))
    shared.tick(1000)
    answer(shared.start(client, framing.CBOR, ASSERT))
    answer(shared.start(client, framing.CBOR, GET_INFO))
    shared.tick(1009)
    assert shared.deadline() == 1019


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


def test_a_client_whose_process_ends_while_it_is_named_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(["sleep", "600"])
    opened = os.open

    def end_once_opened(path: str, flags: int) -> int:
        descriptor = opened(path, flags)
        process.kill()
        process.wait()
        return descriptor

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", end_once_opened)
        assert _command_line(process.pid) == "gone"
    assert _command_line(process.pid) == "gone"


class Screen:
    """What a person is shown, and within how many seconds it must be."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, float]] = []
        self.error: OSError | None = None

    def __call__(self, what: str, seconds: float) -> None:
        if self.error is not None:
            raise self.error
        self.shown.append((what, seconds))

    @property
    def lines(self) -> list[str]:
        return [what for what, _ in self.shown]


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def told(authenticator: Authenticator, screen: Screen) -> Iterator[SharedAuthenticator]:
    """A shared authenticator whose person reads what is told."""
    loop = Loop()
    shared = SharedAuthenticator("unix:/shared", Configuration(), screen, loop)
    yield shared
    shared.close()
    loop.close()


def test_the_authenticator_is_looked_at_once_and_let_go(
    authenticator: Authenticator, told: SharedAuthenticator, screen: Screen
) -> None:
    assert (authenticator.times_opened, authenticator.is_open) == (1, False)
    assert authenticator.passed == [GET_INFO]
    assert told.capabilities == framing.CAPABILITY_CBOR
    assert screen.shown == []


def test_an_authenticator_that_says_nothing_of_itself_is_shared_too(authenticator: Authenticator) -> None:
    authenticator.answer = bytes([status.INVALID_COMMAND])
    loop = Loop()
    SharedAuthenticator(None, Configuration(), Screen(), loop).close()
    assert not authenticator.is_open
    authenticator.answer = b""
    with pytest.raises(AuthenticatorError):
        SharedAuthenticator(None, Configuration(), Screen(), loop)
    assert not authenticator.is_open
    loop.close()


def test_what_an_authenticator_turns_out_to_speak_is_announced(authenticator: Authenticator) -> None:
    def refuse(*_: object) -> bytes:
        raise UnknownCommand("it does not know that", "ask for something else")

    authenticator.call = refuse  # type: ignore[method-assign,assignment]
    loop = Loop()
    shared = SharedAuthenticator(None, Configuration(), Screen(), loop)
    assert shared.capabilities == 0
    shared.close()
    loop.close()


def test_looking_at_the_authenticator_ends_with_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    operations: list[Operation] = []

    def refuse(address: str, _configuration: object, operation: Operation) -> Token:
        operations.append(operation)
        raise DeviceNotFound(f"{address} is not there", "bring it")

    monkeypatch.setattr(selection, "open_for_management", refuse)
    loop = Loop()
    with pytest.raises(DeviceNotFound, match="unix:/x is not there"):
        SharedAuthenticator("unix:/x", Configuration(), Screen(), loop)
    assert not operations[0].is_set()
    loop.stop()
    assert operations[0].is_set()
    loop.close()


def test_who_wants_what_is_told_in_time(told: SharedAuthenticator, screen: Screen) -> None:
    answer(told.start(_Client("first", told), CBOR, ASSERT))
    assert screen.shown == [("first wants a signature for ssh:", 2.0)]


def test_what_a_person_is_told_has_no_control_characters(told: SharedAuthenticator, screen: Screen) -> None:
    answer(told.start(_Client("first\x1b[2J\n", told), CBOR, ASSERT))
    (line,) = screen.lines
    assert "\x1b" not in line
    assert "\n" not in line


def test_nothing_passes_of_which_nobody_can_be_told(
    told: SharedAuthenticator, screen: Screen, authenticator: Authenticator
) -> None:
    authenticator.passed.clear()
    screen.error = OSError(5, "the terminal is gone")
    client = _Client("first", told)
    assert answer(told.start(client, CBOR, ASSERT)) == bytes([status.OTHER])
    assert authenticator.passed == []
    assert answer(told.start(client, CBOR, GET_INFO))[0] == status.SUCCESS


def test_whoever_waits_is_told_once_in_each_turn_and_waits_for_no_telling(
    told: SharedAuthenticator, screen: Screen
) -> None:
    first, second, third = (_Client(name, told) for name in ("first", "second", "third"))
    answer(told.start(first, CBOR, GET_INFO))
    waiting = [told.start(client, CBOR, GET_INFO) for client in (second, third)]
    assert screen.shown == [("second waits until first has ended", 0)]
    assert [told.is_served(client) for client in (first, second, third)] == [True] * 3
    told.end(first)
    answer(waiting[0])
    assert [told.is_served(client) for client in (first, second, third)] == [False, True, True]
    assert waiting[1].response is None
    told.start(first, CBOR, GET_INFO)
    assert screen.lines[1:] == ["first waits until second has ended"]
    screen.error = OSError(5, "the terminal is gone")
    told.end(third)
    told.end(second)
    told.start(third, CBOR, GET_INFO)


def test_whoever_goes_while_waiting_gets_no_turn(told: SharedAuthenticator, authenticator: Authenticator) -> None:
    first, second = _Client("first", told), _Client("second", told)
    answer(told.start(first, CBOR, GET_INFO))
    waiting = told.start(second, CBOR, GET_INFO)
    told.end(second)
    assert authenticator.is_open
    told.end(first)
    wait_until(lambda: not authenticator.is_open, "the closing")
    assert waiting.response is None
    assert not told.is_served(second)


def test_an_authenticator_that_cannot_be_opened_any_more_is_told_to_all(
    told: SharedAuthenticator, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    error: list[SecurityKeyError] = [DeviceNotFound("it is gone", "bring it back")]

    def refuse(address: str, *_: object) -> Token:
        assert address == "unix:/shared"
        raise error[0]

    monkeypatch.setattr(selection, "open_for_management", refuse)
    client = _Client("first", told)
    assert answer(told.start(client, CBOR, GET_INFO)) == bytes([status.OTHER])
    assert answer(told.start(client, MSG, u2f(apdu.INS_VERSION))) == b"\x6f\x00"
    assert screen.lines == 2 * ["first cannot be served: it is gone; bring it back"]
    error[0] = Interrupted("it was interrupted", "start again")
    assert answer(told.start(client, CBOR, GET_INFO)) == CANCELLED
    assert len(screen.lines) == 2


def test_what_goes_wrong_in_letting_go_is_told(
    told: SharedAuthenticator, screen: Screen, authenticator: Authenticator
) -> None:
    client = _Client("first", told)
    answer(told.start(client, CBOR, GET_INFO))

    def fail() -> None:
        raise RuntimeError("a secret")

    authenticator.close = fail  # type: ignore[method-assign]
    told.end(client)
    wait_until(lambda: screen.shown, "the telling")
    (line,) = screen.lines
    assert line.startswith("first has met an error (RuntimeError at test_server.py:")


def test_all_ends_with_the_sharing(authenticator: Authenticator, screen: Screen) -> None:
    loop = Loop()
    before = threading.active_count()
    shared = SharedAuthenticator(None, Configuration(), screen, loop)
    answer(shared.start(_Client("first", shared), CBOR, GET_INFO))
    assert authenticator.is_open
    shared.close()
    assert not authenticator.is_open
    assert threading.active_count() == before
    loop.close()


class Sharing:
    """A socket at which an authenticator is shared, by a thread that runs the loop."""

    def __init__(self, path: str, shared: SharedAuthenticator, loop: Loop) -> None:
        self.path = path
        self.server = SharingServer(path, shared, loop)
        self._loop = loop
        self._thread = threading.Thread(target=loop.run, args=([self.server],))
        self._thread.start()

    def connect(self) -> HidChannel:
        return unix.open(self.path, Configuration(), Operation(60), may_create=False)

    def close(self) -> None:
        self._loop.stop()
        self._thread.join()
        self.server.clear()
        self.server.close()


@pytest.fixture
def sharing(sockets: Path, told: SharedAuthenticator) -> Iterator[Sharing]:
    loop = Loop()
    # The answers of the shared one's worker are to wake the loop.
    told._worker._wake = loop.wake
    sharing = Sharing(str(sockets / "shared"), told, loop)
    yield sharing
    sharing.close()
    loop.close()


def test_clients_are_named_and_take_turns(
    sharing: Sharing, screen: Screen, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that it is the client's going that ends its turn.
    monkeypatch.setattr(server, "_IDLE_PATIENCE", 600)
    assert sharing.server.name == f"unix:{sharing.path}"
    first, second = sharing.connect(), sharing.connect()
    assert first.capabilities & framing.CAPABILITY_CBOR
    assert first.call(CBOR, ASSERT, Operation(60)) == LISTED
    (line,) = screen.lines
    assert line.startswith(f"process {os.getpid()} (")
    assert line.endswith(") wants a signature for ssh:")
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(second.call(CBOR, GET_INFO, Operation(60))))
    asking.start()
    wait_until(lambda: len(screen.lines) == 2, "the telling")
    assert " waits until process " in screen.lines[1]
    # Nothing but a channel is asked for here.
    third = sharing.connect()
    assert answers == []
    first.close()
    asking.join()
    assert answers == [INFO]
    for channel in (second, third):
        channel.close()
    wait_until(lambda: not authenticator.is_open, "the closing")
    wait_until(lambda: not sharing.server._clients, "the forgetting")


def test_a_turn_that_is_idle_ends_by_itself(
    sharing: Sharing, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_IDLE_PATIENCE", 0.3)
    channel = sharing.connect()
    channel.call(CBOR, GET_INFO, Operation(60))
    wait_until(lambda: not authenticator.is_open, "the closing")
    channel.close()


def test_only_who_is_not_served_gives_way_to_others(sharing: Sharing) -> None:
    idle, served = sharing.connect(), sharing.connect()
    served.call(CBOR, GET_INFO, Operation(60))
    assert [sharing.server.may_give_way(peer) for peer in sharing.server._clients] == [True, False]
    for channel in (idle, served):
        channel.close()


def test_the_next_deadline_is_the_nearest(
    sockets: Path, told: SharedAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop()
    sharing = SharingServer(str(sockets / "shared"), told, loop)
    assert sharing.deadline() is None
    deadlines: list[float | None] = [None, None]
    monkeypatch.setattr(told, "deadline", lambda: deadlines[0])
    client: Any = SimpleNamespace(hid=SimpleNamespace(deadline=lambda: deadlines[1]))
    with socket.socket() as peer:
        sharing._clients[peer] = client
        for each, expected in (([None, None], None), ([5.0, None], 5.0), ([None, 6.0], 6.0), ([8.0, 7.0], 7.0)):
            deadlines[:] = each
            assert sharing.deadline() == expected
        sharing._clients.clear()
    sharing.close()
    loop.close()


def test_a_client_that_goes_cancels_what_it_had_begun(sharing: Sharing, authenticator: Authenticator) -> None:
    channel = sharing.connect()
    for report in framing.split_message(channel._channel, CBOR, SELECTION):
        channel._reports.send(report)
    wait_until(lambda: SELECTION in authenticator.passed, "the waiting for a touch")
    channel.close()
    wait_until(lambda: not authenticator.is_open, "the closing")


def test_a_process_is_named_by_its_command_line() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "x" * 200], stdin=subprocess.PIPE) as process:
        wait_until(lambda: _command_line(process.pid).startswith(sys.executable), "the beginning")
        expected = f"{sys.executable} -c input() {200 * 'x'}"
        assert _command_line(process.pid) == expected[:120]
        process.kill()
