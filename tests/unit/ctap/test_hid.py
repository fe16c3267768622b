"""The client's side of CTAPHID, report by report: what a device may do, and what it may not."""

from __future__ import annotations

import random
import time

import pytest

from sk_provider.ctap import cbor, commands, framing, hid
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, Interrupted, InvalidRequest, TimedOut, UnknownCommand
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Takes a message's command and data, and returns the reports that come for it.
    Answer = Callable[[int, bytes], list[bytes]]

pytestmark = pytest.mark.slow

CHANNEL = 0x0A0B0C0D
CAPABILITIES = framing.CAPABILITY_CBOR | framing.CAPABILITY_WINK
SHORT_S = 0.3
BUSY = bytes([framing.ERR_CHANNEL_BUSY])
GET_INFO = bytes([commands.GET_INFO])
MAKE = bytes([commands.MAKE_CREDENTIAL])
KEEPALIVE = framing.KEEPALIVE


class Brief(Operation):
    """One whose time is over soon."""

    def restart(self) -> None:
        self._deadline = time.monotonic() + SHORT_S


def message(command: int, data: bytes, channel: int = CHANNEL) -> list[bytes]:
    return framing.split_message(channel, command, data)


def broadcast(command: int, data: bytes) -> list[bytes]:
    return message(command, data, framing.BROADCAST_CHANNEL)


def allocated(nonce: bytes, channel: int = CHANNEL) -> bytes:
    return nonce + channel.to_bytes(4, "big") + bytes([2, 5, 7, 4, CAPABILITIES])


def allocate(nonce: bytes) -> list[bytes]:
    return broadcast(framing.INIT, allocated(nonce))


class Wire:
    """Carries reports to a device, which answers each whole message as it is told to, and then says nothing."""

    def __init__(self, answer: Answer, init: Callable[[bytes], list[bytes]] = allocate) -> None:
        self.sent: list[tuple[int, int, bytes]] = []  # channel, command and data of each message
        self.closed = 0
        self.waiting: list[bytes] = []
        self.waits: list[float] = []
        self._answer = answer
        self._init = init
        self._begun: list[bytes] = []

    def send(self, report: bytes) -> None:
        assert len(report) == framing.REPORT_SIZE
        self._begun.append(report)
        length = int.from_bytes(self._begun[0][5:7], "big")
        data = (self._begun[0][7:] + b"".join(each[5:] for each in self._begun[1:]))[:length]
        if len(data) < length:
            return
        channel, command = int.from_bytes(self._begun[0][:4], "big"), self._begun[0][4] & ~framing.INIT_PACKET
        assert self._begun == framing.split_message(channel, command, data)
        self._begun = []
        self.sent.append((channel, command, data))
        if command == framing.INIT:
            self.waiting += self._init(data)
        elif command != framing.CANCEL:
            self.waiting += self._answer(command, data)

    def receive(self, seconds: float) -> bytes | None:
        self.waits.append(seconds)
        if self.waiting:
            return self.waiting.pop(0)
        time.sleep(min(seconds, 0.01))
        return None

    def close(self) -> None:
        self.closed += 1

    @property
    def commands(self) -> list[int]:
        return [command for _, command, _ in self.sent]


def answering(*reports: bytes) -> Answer:
    return lambda _command, _data: list(reports)


def nothing(_command: int, _data: bytes) -> list[bytes]:
    return []


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SILENCE", "_NONCE_PATIENCE", "_CANCEL_PATIENCE", "TICK"):
        monkeypatch.setattr(hid, name, getattr(hid, name) / 10)


def open_channel(wire: Wire, seconds: int = 30) -> HidChannel:
    return HidChannel(wire, Operation(seconds, tell=lambda _: None), "try the other port")


def failure(wire: Wire, command: int = framing.CBOR, data: bytes = GET_INFO, seconds: int = 30) -> str:
    """Return the sentence in which a call ends."""
    channel = open_channel(wire)
    with pytest.raises(AuthenticatorError) as caught:
        channel.call(command, data, Operation(seconds, tell=lambda _: None))
    return str(caught.value)


def test_a_channel_is_the_one_that_is_allocated_for_our_nonce() -> None:
    others: list[bytes] = []

    def allocate_for_others_first(nonce: bytes) -> list[bytes]:
        others.append(nonce)
        other = bytes([nonce[0] ^ 1]) + nonce[1:]
        last = nonce[:7] + bytes([nonce[7] ^ 1])
        return [
            *broadcast(framing.INIT, allocated(other, 1)),
            *broadcast(framing.INIT, allocated(last, 2)),
            *broadcast(framing.PING, allocated(nonce, 3)),
            *broadcast(framing.INIT, allocated(nonce, 4)[:16]),
            *broadcast(framing.INIT, allocated(nonce)),
        ]

    wire = Wire(answering(*message(framing.CBOR, b"\0")), allocate_for_others_first)
    channel = open_channel(wire)
    assert channel.capabilities == CAPABILITIES
    assert channel.call(framing.CBOR, GET_INFO) == b"\0"
    (init, call) = wire.sent
    assert init == (framing.BROADCAST_CHANNEL, framing.INIT, others[0])
    assert len(others[0]) == 8
    assert call == (CHANNEL, framing.CBOR, GET_INFO)


def test_each_channel_is_asked_for_with_another_nonce() -> None:
    wires = [Wire(nothing) for _ in range(4)]
    for wire in wires:
        open_channel(wire)
    assert len({wire.sent[0][2] for wire in wires}) == 4


def test_an_answer_to_init_may_be_longer_than_it_is_today() -> None:
    wire = Wire(nothing, lambda nonce: broadcast(framing.INIT, allocated(nonce) + b"more"))
    assert open_channel(wire).capabilities == CAPABILITIES


def test_a_device_that_allocates_no_channel_is_told_and_closed() -> None:
    wire = Wire(nothing, lambda _nonce: [])
    with pytest.raises(AuthenticatorError, match="does not answer; try the other port"):
        open_channel(wire)
    assert (wire.commands, wire.closed) == ([framing.INIT], 1)


def test_what_ends_the_waiting_for_a_channel_closes_it() -> None:
    wire = Wire(nothing, lambda _nonce: [])
    operation = Operation(30)
    operation.call_off()
    with pytest.raises(Interrupted):
        HidChannel(wire, operation)
    assert wire.closed == 1


def test_an_error_in_the_place_of_a_channel_may_be_anothers() -> None:
    wire = Wire(nothing, lambda nonce: [*broadcast(framing.ERROR, b"\x0b"), *allocate(nonce)])
    assert open_channel(wire).capabilities == CAPABILITIES
    assert wire.commands == [framing.INIT]
    wire = Wire(nothing, lambda nonce: [*broadcast(framing.ERROR, BUSY), *allocate(nonce)])
    assert open_channel(wire).capabilities == CAPABILITIES
    assert wire.commands == [framing.INIT]


@pytest.mark.parametrize("code", [BUSY, b"\x0b"])
def test_a_channel_that_is_refused_is_asked_for_again(code: bytes) -> None:
    wire = Wire(nothing)
    wire._init = lambda nonce: broadcast(framing.ERROR, code) if len(wire.sent) < 3 else allocate(nonce)
    assert open_channel(wire).capabilities == CAPABILITIES
    assert wire.commands == [framing.INIT] * 3
    assert len({nonce for _, _, nonce in wire.sent}) == 1


@pytest.mark.parametrize(("code", "told"), [(b"\x0b", "0x0b"), (b"", "0x00")])
def test_a_channel_that_is_always_refused_is_told_by_the_error(
    code: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hid, "SILENCE", 0.12)
    wire = Wire(nothing, lambda _nonce: broadcast(framing.ERROR, code))
    with pytest.raises(AuthenticatorError, match=f"CTAPHID error {told}; try the other port"):
        open_channel(wire)
    assert 1 < len(wire.sent) < 10
    assert wire.closed == 1


def test_a_channel_that_others_do_not_let_go_is_told_when_their_time_is_over() -> None:
    wire = Wire(nothing, lambda _nonce: broadcast(framing.ERROR, BUSY))
    with pytest.raises(AuthenticatorError, match="busy with another program"):
        open_channel(wire, 1)
    assert len(wire.sent) > 3
    assert wire.closed == 1


@pytest.mark.parametrize("length", [0, 1, 57, 58, 116, 117, framing.MAX_MESSAGE_SIZE])
def test_a_message_of_any_length_is_put_together(length: int) -> None:
    data = random.Random(length).randbytes(length)
    wire = Wire(message)
    assert open_channel(wire).call(framing.CBOR, data) == data


def test_a_request_that_no_message_can_hold_is_refused_and_not_sent() -> None:
    wire = Wire(nothing)
    channel = open_channel(wire)
    with pytest.raises(InvalidRequest, match="too long"):
        channel.call(framing.CBOR, bytes(framing.MAX_MESSAGE_SIZE + 1))
    assert wire.commands == [framing.INIT]


def test_what_other_programs_get_and_what_is_no_report_is_passed_over() -> None:
    (ours,) = message(framing.CBOR, b"\0ours")
    wire = Wire(answering(*message(framing.CBOR, b"\0other", CHANNEL + 1), ours[:63], ours + b"\0", b"", ours))
    assert open_channel(wire).call(framing.CBOR, GET_INFO) == b"\0ours"


@pytest.mark.parametrize(
    ("reports", "sentence"),
    [
        ([message(framing.CBOR, bytes(99))[1]], "began in the middle of a message"),
        ([message(framing.CBOR, b"")[0][:5] + b"\x1d\xba" + bytes(57)], "announced an impossible message"),
        (message(framing.MSG, b"\0"), "answered another question"),
        ([message(framing.CBOR, bytes(199))[index] for index in (0, 2)], "mixed up its packets"),
        ([message(framing.CBOR, bytes(199))[index] for index in (0, 1, 1)], "mixed up its packets"),
        (message(framing.CBOR, bytes(199))[:2], "does not answer"),
        (message(framing.ERROR, b"\x03"), "reports CTAPHID error 0x03"),
        (message(framing.ERROR, b"\x03\x06"), "reports CTAPHID error 0x03"),
        (message(framing.ERROR, b""), "reports CTAPHID error 0x00"),
    ],
)
def test_an_answer_that_breaks_the_protocol_is_told_with_what_helps(reports: list[bytes], sentence: str) -> None:
    assert failure(Wire(answering(*reports))) == f"the authenticator {sentence}; try the other port"


def test_a_command_that_the_device_does_not_know_is_an_error_of_its_own() -> None:
    channel = open_channel(Wire(answering(*message(framing.ERROR, bytes([framing.ERR_INVALID_CMD])))))
    with pytest.raises(UnknownCommand):
        channel.call(framing.CBOR, GET_INFO)


def test_a_busy_device_is_asked_again_as_long_as_its_others_have_time() -> None:
    wire = Wire(nothing)
    wire._answer = lambda command, _: message(framing.ERROR, BUSY) if len(wire.sent) < 4 else message(command, b"\0")
    channel = open_channel(wire)
    assert channel.call(framing.CBOR, GET_INFO, Operation(30)) == b"\0"
    assert wire.commands == [framing.INIT] + [framing.CBOR] * 3
    wire = Wire(answering(*message(framing.ERROR, BUSY)))
    assert failure(wire, seconds=1).startswith("the authenticator is busy with another program")
    assert len(wire.sent) > 4


def test_a_busy_device_is_told_at_once_where_nothing_ends_the_wait() -> None:
    wire = Wire(answering(*message(framing.ERROR, BUSY)))
    channel = open_channel(wire)
    with pytest.raises(AuthenticatorError, match="busy with another program"):
        channel.call(framing.CBOR, GET_INFO)
    assert wire.commands == [framing.INIT, framing.CBOR]


def test_each_other_status_of_a_keepalive_is_told_once() -> None:
    statuses = (1, 1, 2, 2, 1, 2)
    alive = [report for status in statuses for report in message(KEEPALIVE, bytes([status]))]
    told: list[int] = []
    wire = Wire(answering(*message(KEEPALIVE, b""), *alive, *message(framing.CBOR, b"\0")))
    assert open_channel(wire).call(framing.CBOR, MAKE, Operation(30), told.append) == b"\0"
    assert told == [1, 2, 1, 2]
    assert open_channel(wire).call(framing.CBOR, MAKE) == b"\0"


def test_what_ends_the_wait_cancels_and_takes_the_confirmation_away() -> None:
    wire = Wire(nothing)
    channel = open_channel(wire)
    wire._answer = answering(*message(KEEPALIVE, b"\2"))
    operation = Operation(30)

    def call_off(_status: int) -> None:
        wire.waiting += [
            *message(KEEPALIVE, b"\2"),
            *message(framing.CBOR, b"\x2d", 5),
            *message(framing.CBOR, b"\x2d"),
        ]
        wire.waiting += message(framing.CBOR, b"the next program's")
        operation.call_off()

    with pytest.raises(Interrupted):
        channel.call(framing.CBOR, MAKE, operation, call_off)
    assert wire.sent[-1] == (CHANNEL, framing.CANCEL, b"")
    assert wire.waiting == message(framing.CBOR, b"the next program's")


def test_a_device_that_does_not_confirm_its_cancelling_is_left() -> None:
    wire = Wire(nothing)
    channel = open_channel(wire)
    with pytest.raises(TimedOut):
        channel.call(framing.CBOR, MAKE, Brief(30))
    assert wire.commands == [framing.INIT, framing.CBOR, framing.CANCEL]


@pytest.mark.parametrize("has_event", [True, False])
@pytest.mark.parametrize(
    "late",
    [message(framing.CBOR, b"\0late"), message(framing.CBOR, bytes(199)), message(framing.ERROR, BUSY)],
    ids=["short", "long", "error"],
)
def test_a_late_answer_to_a_cancelled_command_is_not_the_next_ones(late: list[bytes], has_event: bool) -> None:
    channels = iter([CHANNEL, CHANNEL + 1])
    wire = Wire(nothing, lambda nonce: [*late, *broadcast(framing.INIT, allocated(nonce, next(channels)))])
    channel = open_channel(wire)
    with pytest.raises(TimedOut):
        channel.call(framing.CBOR, MAKE, Brief(30))
    wire._answer = answering(*late, *message(framing.CBOR, b"\0", CHANNEL + 1))
    assert channel.call(framing.CBOR, GET_INFO, Operation(30) if has_event else None) == b"\0"
    assert wire.sent[-1] == (CHANNEL + 1, framing.CBOR, GET_INFO)


@pytest.mark.parametrize(
    "answer",
    [message(framing.MSG, b"\0"), [message(framing.CBOR, bytes(199))[index] for index in (0, 2)]],
    ids=["another question", "mixed up"],
)
def test_what_comes_after_a_broken_answer_is_not_the_next_ones(answer: list[bytes]) -> None:
    channels = iter([CHANNEL, CHANNEL + 1])
    wire = Wire(answering(*answer), lambda nonce: broadcast(framing.INIT, allocated(nonce, next(channels))))
    channel = open_channel(wire)
    with pytest.raises(AuthenticatorError):
        channel.call(framing.CBOR, GET_INFO)
    wire._answer = answering(*message(framing.CBOR, b"\0late"), *message(framing.CBOR, b"\0", CHANNEL + 1))
    assert channel.call(framing.CBOR, GET_INFO) == b"\0"


def test_a_device_that_stays_busy_after_a_cancelled_command_is_told_where_nothing_ends_the_wait() -> None:
    wire = Wire(nothing)
    channel = open_channel(wire)
    with pytest.raises(TimedOut):
        channel.call(framing.CBOR, MAKE, Brief(30))
    wire._init = lambda _nonce: broadcast(framing.ERROR, BUSY)
    with pytest.raises(AuthenticatorError, match="busy with another program"):
        channel.call(framing.CBOR, GET_INFO)


def test_a_device_that_is_gone_cannot_be_cancelled() -> None:
    gone = AuthenticatorError("it was unplugged", "plug it in")

    class Unplugged(Wire):
        def send(self, report: bytes) -> None:
            if report[4] == framing.CANCEL | framing.INIT_PACKET:
                raise AuthenticatorError("that does not matter", "any more")
            super().send(report)

        def receive(self, seconds: float) -> bytes | None:
            if self.commands[-1] == framing.CBOR:
                raise gone
            return super().receive(seconds)

    channel = open_channel(Unplugged(nothing))
    with pytest.raises(AuthenticatorError) as caught:
        channel.call(framing.CBOR, GET_INFO, Operation(30))
    assert caught.value is gone


@pytest.mark.parametrize(
    ("command", "data", "waits"),
    [
        (framing.CBOR, MAKE, True),
        (framing.CBOR, GET_INFO, False),
        (framing.MSG, MAKE, False),
        (framing.CBOR, bytes([commands.GET_ASSERTION]) + cbor.encode({1: "ssh:", 5: {"up": False}}), False),
    ],
)
def test_silence_ends_what_waits_for_nobody(command: int, data: bytes, waits: bool) -> None:
    wire = Wire(nothing)
    channel = open_channel(wire)
    with pytest.raises(TimedOut if waits else AuthenticatorError) as caught:
        channel.call(command, data, Brief(30) if waits else Operation(30))
    assert waits or "does not answer" in str(caught.value)


@pytest.mark.parametrize("is_alive", [False, True])
def test_silence_ends_what_nothing_else_ends(is_alive: bool) -> None:
    alive = message(KEEPALIVE, b"\1") if is_alive else []
    channel = open_channel(Wire(answering(*alive)))
    with pytest.raises(AuthenticatorError, match="does not answer"):
        channel.call(framing.CBOR, MAKE, Operation(30) if is_alive else None)


def test_the_event_is_looked_at_in_every_tick() -> None:
    wire = Wire(nothing)
    channel = open_channel(wire)
    wire.waits.clear()
    with pytest.raises(AuthenticatorError):
        channel.call(framing.CBOR, GET_INFO, Operation(30))
    assert max(wire.waits) <= hid.TICK


def test_closing_lets_the_reports_go() -> None:
    wire = Wire(nothing)
    open_channel(wire).close()
    assert wire.closed == 1
