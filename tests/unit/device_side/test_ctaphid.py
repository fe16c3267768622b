from __future__ import annotations

import os
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.soft_token import FUZZ_EXAMPLES

from sk_provider.ctap.framing import (
    CANCEL,
    CBOR,
    ERR_CHANNEL_BUSY,
    ERR_INVALID_CHANNEL,
    ERR_INVALID_CMD,
    ERR_INVALID_LEN,
    ERR_INVALID_PAR,
    ERR_INVALID_SEQ,
    ERR_MSG_TIMEOUT,
    ERROR,
    INIT,
    KEEPALIVE,
    LOCK,
    MSG,
    PING,
    STATUS_PROCESSING,
    STATUS_UPNEEDED,
    WINK,
    split_message,
)
from sk_provider.device_side.ctaphid import MAX_CHANNELS, CtapHid
from sk_provider.device_side.job import Job

BROADCAST = 0xFFFFFFFF
MAX_MESSAGE = 7609
NONCE = bytes(range(8))
STRANGER = 0x11223344  # a channel that nobody was given


def messages(reports: list[bytes]) -> list[tuple[int, int, bytes]]:
    """Put reports together: channel, command and data of each message, as a host reads them."""
    result: list[tuple[int, int, bytes]] = []
    missing = sequence = 0
    for report in reports:
        assert len(report) == 64
        channel = int.from_bytes(report[:4], "big")
        if missing:
            assert (channel, report[4]) == (result[-1][0], sequence)
            part = report[5 : 5 + missing]
            result[-1] = (*result[-1][:2], result[-1][2] + part)
            sequence += 1
        else:
            assert report[4] & 0x80
            missing = int.from_bytes(report[5:7], "big")
            part = report[7 : 7 + missing]
            result.append((channel, report[4] & 0x7F, part))
            sequence = 0
        missing -= len(part)
    assert not missing
    return result


class Host:
    """A host with one channel to a device whose commands the test completes by hand."""

    def __init__(self, capabilities: int = 0x04) -> None:
        self.now = 1000.0
        self.jobs: list[Job] = []
        self.callers: list[object] = []
        self.winks = 0
        self.announced = capabilities
        self.device = CtapHid(capabilities, lambda: self.announced, self._start, self._wink)
        self.channel = self.open()

    def _start(self, caller: object, command: int, data: bytes) -> Job:
        self.callers.append(caller)
        self.jobs.append(Job(command, data))
        return self.jobs[-1]

    def _wink(self) -> None:
        self.winks += 1

    def open(self) -> int:
        ((channel, command, data),) = self.send(BROADCAST, INIT, NONCE)
        assert (channel, command, data[:8], len(data)) == (BROADCAST, INIT, NONCE, 17)
        return int.from_bytes(data[8:12], "big")

    def send(self, channel: int, command: int, data: bytes = b"") -> list[tuple[int, int, bytes]]:
        return messages([answer for report in split_message(channel, command, data) for answer in self.raw(report)])

    def raw(self, report: bytes) -> list[bytes]:
        return self.device.receive(report.ljust(64, b"\0"), self.now)

    def packet(self, channel: int, rest: bytes) -> list[tuple[int, int, bytes]]:
        return messages(self.raw(pack(">I", channel) + rest))

    def wait(self, seconds: float) -> list[tuple[int, int, bytes]]:
        self.now += seconds
        return messages(self.device.tick(self.now))

    def error(self, code: int, channel: int | None = None) -> list[tuple[int, int, bytes]]:
        return [(self.channel if channel is None else channel, ERROR, bytes([code]))]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.mark.parametrize("length", [0, 1, 57, 58, 57 + 59, 57 + 59 + 1, 1000, MAX_MESSAGE])
def test_ping_of_every_length_comes_back(host: Host, length: int) -> None:
    data = os.urandom(length)
    assert host.send(host.channel, PING, data) == [(host.channel, PING, data)]


def test_longest_message_has_7609_bytes(host: Host) -> None:
    assert host.packet(host.channel, b"\x81" + pack(">H", 7610)) == host.error(ERR_INVALID_LEN)
    assert host.packet(host.channel, b"\x00") == []
    assert host.send(host.channel, PING, b"next") == [(host.channel, PING, b"next")]


def test_init_gives_each_client_a_channel_of_its_own(host: Host) -> None:
    channels = {host.open() for _ in range(100)} | {host.channel}
    assert len(channels) == 101
    assert not channels & {0, BROADCAST}


def test_init_states_the_protocol_version_and_the_capabilities(host: Host) -> None:
    ((_, _, data),) = host.send(host.channel, INIT, NONCE)
    assert data[12] == 2
    assert data[16] == 0x05  # WINK and CBOR
    ((_, _, data),) = Host(capabilities=0x0C).send(BROADCAST, INIT, NONCE)
    assert data[16] == 0x0D


def test_init_states_what_the_token_announces_at_the_moment(host: Host) -> None:
    for host.announced, told in ((0x0C, 0x0D), (0x04, 0x05)):
        for channel in (BROADCAST, host.channel):
            ((_, _, data),) = host.send(channel, INIT, NONCE)
            assert data[16] == told


def test_init_on_an_open_channel_ends_a_message_that_is_not_complete(host: Host) -> None:
    assert host.packet(host.channel, b"\x81\x04\x00") == []
    ((channel, command, data),) = host.send(host.channel, INIT, NONCE)
    assert (channel, command, data[:12]) == (host.channel, INIT, NONCE + pack(">I", host.channel))
    assert host.packet(host.channel, b"\x00") == []
    assert host.send(host.channel, PING, b"x") == [(host.channel, PING, b"x")]


def test_init_on_an_open_channel_cancels_its_command_and_drops_the_response(host: Host) -> None:
    host.send(host.channel, CBOR, b"\x01")
    ((_, command, _),) = host.send(host.channel, INIT, NONCE)
    assert command == INIT
    assert host.jobs[0].cancelled.is_set()
    host.jobs[0].response = b"\x2d"
    assert host.wait(1) == []


def test_init_elsewhere_leaves_a_running_message_alone(host: Host) -> None:
    assert host.packet(host.channel, b"\x81\x00\x63" + b"a" * 57) == []
    assert host.send(STRANGER, INIT, NONCE)[0][:2] == (STRANGER, INIT)
    other = host.open()
    assert host.send(other, PING, b"x") == host.error(ERR_CHANNEL_BUSY, other)
    assert host.packet(other, b"\x00") == []
    assert host.packet(host.channel, b"\x00" + b"a" * 42) == [(host.channel, PING, b"a" * 99)]


@pytest.mark.parametrize("length", [0, 7, 9])
def test_init_wants_eight_bytes(host: Host, length: int) -> None:
    assert host.send(BROADCAST, INIT, bytes(length)) == host.error(ERR_INVALID_LEN, BROADCAST)


@pytest.mark.parametrize("channel", [BROADCAST, STRANGER])
def test_channel_that_was_not_allocated_is_refused(host: Host, channel: int) -> None:
    assert host.send(channel, PING, b"x") == host.error(ERR_INVALID_CHANNEL, channel)


def test_channel_zero_is_refused_even_for_init(host: Host) -> None:
    assert host.send(0, INIT, NONCE) == host.error(ERR_INVALID_CHANNEL, 0)


def test_channels_that_are_not_used_give_way_but_one_in_use_stays(host: Host) -> None:
    unused = host.open()
    host.send(host.channel, CBOR, b"\x04")
    for _ in range(MAX_CHANNELS):
        host.open()
    host.jobs[0].response = b"\x00"
    assert host.wait(0) == [(host.channel, CBOR, b"\x00")]
    assert host.send(host.channel, PING, b"x") == [(host.channel, PING, b"x")]
    assert host.send(unused, PING, b"x") == host.error(ERR_INVALID_CHANNEL, unused)


def test_message_that_stops_coming_times_out_after_half_a_second(host: Host) -> None:
    host.packet(host.channel, b"\x81\x04\x00")
    assert host.wait(0.45) == []
    assert host.packet(host.channel, b"\x00") == []
    assert host.wait(0.45) == []
    assert host.device.deadline() == pytest.approx(host.now + 0.05)
    assert host.wait(0.06) == host.error(ERR_MSG_TIMEOUT)
    assert host.device.deadline() is None
    assert host.packet(host.channel, b"\x01") == []


def test_packet_that_lay_unread_is_not_late(host: Host) -> None:
    host.packet(host.channel, b"\x81\x00\x63" + b"a" * 57)
    host.now += 0.6  # in which nobody has looked
    assert host.packet(host.channel, b"\x00" + b"a" * 42) == [(host.channel, PING, b"a" * 99)]


def test_packet_out_of_sequence_ends_the_message(host: Host) -> None:
    host.packet(host.channel, b"\x81\x04\x90")
    host.packet(host.channel, b"\x00")
    assert host.packet(host.channel, b"\x02") == host.error(ERR_INVALID_SEQ)
    assert host.packet(host.channel, b"\x01") == []


def test_second_message_inside_the_first_is_a_sequence_error(host: Host) -> None:
    host.packet(host.channel, b"\x81\x04\x00")
    assert host.packet(host.channel, b"\x81\x10\x00") == host.error(ERR_INVALID_SEQ)
    assert host.wait(1) == []


def test_continuation_without_a_message_is_ignored(host: Host) -> None:
    assert host.packet(host.channel, b"\x00") == []
    assert host.packet(STRANGER, b"\x00") == []


@pytest.mark.parametrize("command", [0x00, 0x02, 0x40, 0x66, 0x7F, KEEPALIVE, ERROR])
def test_unknown_command_is_refused(host: Host, command: int) -> None:
    assert host.send(host.channel, command, b"") == host.error(ERR_INVALID_CMD)


@pytest.mark.parametrize(("capabilities", "command"), [(0x00, CBOR), (0x0C, MSG)])
def test_command_that_the_token_lacks_is_refused(capabilities: int, command: int) -> None:
    host = Host(capabilities)
    assert host.send(host.channel, command, b"\x04") == host.error(ERR_INVALID_CMD)


@pytest.mark.parametrize("command", [CBOR, MSG])
def test_command_without_data_is_refused(host: Host, command: int) -> None:
    assert host.send(host.channel, command) == host.error(ERR_INVALID_LEN)
    assert host.jobs == []


@pytest.mark.parametrize("command", [CBOR, MSG])
def test_response_is_given_as_soon_as_the_engine_has_answered(host: Host, command: int) -> None:
    request, response = os.urandom(500), os.urandom(1200)
    assert host.send(host.channel, command, request) == []
    assert (host.jobs[0].command, host.jobs[0].data) == (command, request)
    host.jobs[0].response = response
    assert host.wait(0) == [(host.channel, command, response)]
    assert host.wait(1) == []


def test_keepalive_comes_each_100_ms_and_at_once_when_a_touch_is_needed(host: Host) -> None:
    host.send(host.channel, CBOR, b"\x01")
    assert host.device.deadline() == pytest.approx(host.now + 0.1)
    assert host.wait(0.05) == []
    assert host.wait(0.06) == [(host.channel, KEEPALIVE, bytes([STATUS_PROCESSING]))]
    host.jobs[0].status = STATUS_UPNEEDED
    touch = [(host.channel, KEEPALIVE, bytes([STATUS_UPNEEDED]))]
    assert host.wait(0.01) == touch
    assert host.wait(0.05) == []
    assert host.wait(0.06) == touch
    host.jobs[0].status = STATUS_PROCESSING
    assert host.wait(0.1) == [(host.channel, KEEPALIVE, bytes([STATUS_PROCESSING]))]
    host.jobs[0].status = STATUS_UPNEEDED
    assert host.wait(0.01) == touch


def test_cancel_reaches_the_command_of_its_own_channel_alone_and_is_not_answered(host: Host) -> None:
    other = host.open()
    host.send(host.channel, CBOR, b"\x01")
    assert host.send(other, CANCEL) == []
    assert not host.jobs[0].cancelled.is_set()
    assert host.send(host.channel, CANCEL) == []
    assert host.jobs[0].cancelled.is_set()
    host.jobs[0].response = b"\x2d"
    assert host.wait(0) == [(host.channel, CBOR, b"\x2d")]


def test_cancel_of_nothing_is_ignored(host: Host) -> None:
    assert host.send(host.channel, CANCEL) == []
    assert host.send(STRANGER, CANCEL) == []
    host.packet(host.channel, b"\x81\x00\x63" + b"a" * 57)
    assert host.send(host.channel, CANCEL) == []
    assert host.packet(host.channel, b"\x00" + b"a" * 42) == [(host.channel, PING, b"a" * 99)]


def test_cancel_does_not_end_a_u2f_message(host: Host) -> None:
    host.send(host.channel, MSG, b"\x00\x03\x00\x00")
    host.send(host.channel, CANCEL)
    assert not host.jobs[0].cancelled.is_set()


def test_everybody_hears_busy_while_a_command_runs(host: Host) -> None:
    other = host.open()
    host.send(host.channel, CBOR, b"\x01")
    for channel in (host.channel, other, STRANGER):
        assert host.send(channel, PING, b"x") == host.error(ERR_CHANNEL_BUSY, channel)
    assert not host.jobs[0].cancelled.is_set()


def test_lock_keeps_others_out_until_it_ends(host: Host) -> None:
    other = host.open()
    assert host.send(host.channel, LOCK, b"\x03") == [(host.channel, LOCK, b"")]
    host.now += 2.9
    assert host.send(other, PING, b"x") == host.error(ERR_CHANNEL_BUSY, other)
    assert host.send(host.channel, PING, b"x") == [(host.channel, PING, b"x")]
    assert host.open()
    host.now += 0.2
    assert host.send(other, PING, b"x") == [(other, PING, b"x")]


def test_lock_lets_channels_be_opened_and_brought_back_to_their_beginning(host: Host) -> None:
    other = host.open()
    host.send(host.channel, LOCK, b"\x03")
    for channel in (other, STRANGER, host.channel):
        assert host.send(channel, INIT, NONCE)[0][1] == INIT
    for channel in (other, STRANGER, host.open()):
        assert host.send(channel, PING, b"x") == host.error(ERR_CHANNEL_BUSY, channel)


def test_lock_of_zero_seconds_releases(host: Host) -> None:
    other = host.open()
    host.send(host.channel, LOCK, b"\x0a")
    assert host.send(host.channel, LOCK, b"\x00") == [(host.channel, LOCK, b"")]
    assert host.send(other, PING, b"x") == [(other, PING, b"x")]


def test_lock_refuses_more_than_ten_seconds_and_other_lengths(host: Host) -> None:
    assert host.send(host.channel, LOCK, b"\x0b") == host.error(ERR_INVALID_PAR)
    assert host.send(host.channel, LOCK, b"") == host.error(ERR_INVALID_LEN)
    assert host.send(host.channel, LOCK, b"\x01\x01") == host.error(ERR_INVALID_LEN)


def test_wink_winks(host: Host) -> None:
    assert host.send(host.channel, WINK) == [(host.channel, WINK, b"")]
    assert host.winks == 1
    assert host.send(host.channel, WINK, b"x") == host.error(ERR_INVALID_LEN)
    assert host.winks == 1


def test_client_that_leaves_takes_its_command_and_its_lock_along(host: Host) -> None:
    other = host.open()
    host.send(host.channel, LOCK, b"\x0a")
    host.send(host.channel, CBOR, b"\x01")
    host.device.abandon({host.channel})
    assert host.jobs[0].cancelled.is_set()
    assert host.send(other, PING, b"x") == [(other, PING, b"x")]
    assert host.send(host.channel, PING, b"x") == host.error(ERR_INVALID_CHANNEL)


def test_power_cycle_drops_what_runs_and_keeps_the_channels(host: Host) -> None:
    host.send(host.channel, LOCK, b"\x0a")
    host.send(host.channel, CBOR, b"\x01")
    host.device.clear()
    assert host.jobs[0].cancelled.is_set()
    other = host.open()
    assert host.send(other, PING, b"x") == [(other, PING, b"x")]
    assert host.send(host.channel, PING, b"x") == [(host.channel, PING, b"x")]


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_report_of_another_size_is_ignored(host: Host, length: int) -> None:
    assert host.device.receive(pack(">IB", host.channel, 0x81).ljust(length, b"\0")[:length], host.now) == []


REPORTS = st.tuples(
    st.one_of(st.sampled_from([b"own!", b"othr", b"\0\0\0\0", b"\xff\xff\xff\xff"]), st.binary(min_size=4, max_size=4)),
    st.one_of(
        st.integers(0, 255),
        st.sampled_from([0x80 | c for c in (PING, MSG, LOCK, INIT, WINK, CBOR, CANCEL, KEEPALIVE, ERROR)]),
    ),
    st.one_of(
        st.binary(max_size=59), st.sampled_from([b"\x00\x08" + NONCE, b"\x00\x01\x0a", b"\x04\x00", b"\x1d\xb9"])
    ),
)
EVENTS = st.one_of(REPORTS, st.floats(0, 0.6), st.just("answer"), st.binary(max_size=70))


@settings(max_examples=5 * FUZZ_EXAMPLES)
@given(st.lists(EVENTS, max_size=40))
def test_any_sequence_of_reports_leaves_the_device_answering_the_next_good_one(
    events: list[tuple[bytes, int, bytes] | float | str | bytes],
) -> None:
    host = Host()
    other = host.open()
    for event in events:
        if isinstance(event, float):
            host.wait(event)
        elif isinstance(event, str):
            if host.jobs and host.jobs[-1].response is None:
                host.jobs[-1].response = b"\x00answer"
                host.wait(0)
        elif isinstance(event, bytes):
            host.device.receive(event, host.now)
        else:
            name, first, rest = event
            channel_bytes = {b"own!": pack(">I", host.channel), b"othr": pack(">I", other)}.get(name, name)
            messages(host.raw(channel_bytes + bytes([first]) + rest))
    for job in host.jobs:
        job.response = b"\x00"
    host.wait(11)  # whatever was begun has answered or timed out, and no lock lasts longer
    good = host.open()
    assert host.send(good, PING, b"good") == [(good, PING, b"good")]
    assert host.send(good, CBOR, b"\x04") == []
    host.jobs[-1].response = b"\x00info"
    assert host.wait(0) == [(good, CBOR, b"\x00info")]


def test_each_channel_is_another_caller_and_another_than_before_an_init(host: Host) -> None:
    other = host.open()
    for channel in (host.channel, host.channel, other):
        host.send(channel, CBOR, b"\x04")
        host.jobs[-1].response = b"\0"
        host.wait(0)
    host.send(host.channel, INIT, NONCE)
    host.send(host.channel, CBOR, b"\x04")
    first, again, others, anew = host.callers
    assert first is again
    assert len({id(caller) for caller in (first, others, anew)}) == 3
