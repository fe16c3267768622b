"""CTAPHID messages, each way, are those that python-fido2 writes and reads."""

from __future__ import annotations

import random

import pytest
from fido2.hid import CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.ctap import framing
from sk_provider.ctap.hid import HidChannel
from sk_provider.operation import Operation

CAPABILITIES = framing.CAPABILITY_CBOR | framing.CAPABILITY_NMSG
DESCRIPTOR = HidDescriptor("", 0, 0, framing.REPORT_SIZE, framing.REPORT_SIZE, None, None)
PING = 0x01

CHANNELS = st.integers(1, framing.BROADCAST_CHANNEL - 1)
COMMANDS = st.sampled_from([PING, framing.MSG, framing.CBOR])
# Long ones take many packets, and their bytes need no thought.
MESSAGES = st.binary(max_size=200) | st.builds(
    lambda length, seed: random.Random(seed).randbytes(length), st.integers(0, framing.MAX_MESSAGE_SIZE), st.integers()
)
KEEPALIVES = st.lists(st.sampled_from([framing.STATUS_PROCESSING, framing.STATUS_UPNEEDED]), max_size=5)


class Link(CtapHidConnection):
    """A token that gives whoever asks a channel, and then the packets of one answer; for either client."""

    def __init__(self, channel: int, packets: list[bytes]) -> None:
        self._channel = channel
        self._packets = packets
        self.written: list[bytes] = []

    def write_packet(self, data: bytes) -> None:
        if data[4] == framing.INIT | framing.INIT_PACKET:
            allocated = data[7:15] + self._channel.to_bytes(4, "big") + bytes([2, 0, 0, 0, CAPABILITIES])
            answer = data[:5] + len(allocated).to_bytes(2, "big") + allocated
            self._packets.insert(0, answer.ljust(framing.REPORT_SIZE, b"\0"))
        else:
            self.written.append(data)

    def read_packet(self) -> bytes:
        return self._packets.pop(0)

    def send(self, report: bytes) -> None:
        self.write_packet(report)

    def receive(self, seconds: float) -> bytes | None:
        return self.read_packet()

    def close(self) -> None:
        """Nothing to let go."""


def reference_packets(channel: int, command: int, data: bytes) -> list[bytes]:
    """Return the packets that python-fido2 sends, which it wants answered."""
    answer = (channel.to_bytes(4, "big") + bytes([command | framing.INIT_PACKET])).ljust(framing.REPORT_SIZE, b"\0")
    link = Link(channel, [answer])
    CtapHidDevice(DESCRIPTOR, link).call(command, data)
    return link.written


@given(CHANNELS, COMMANDS, MESSAGES)
def test_a_message_is_split_as_the_reference_does(channel: int, command: int, data: bytes) -> None:
    assert framing.split_message(channel, command, data) == reference_packets(channel, command, data)


# Where another packet begins, and the longest.
@pytest.mark.parametrize("length", [0, 1, 56, 57, 58, 115, 116, 117, 175, 176, 7608, 7609])
def test_a_message_of_every_kind_of_length_is_split_as_the_reference_does(length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert framing.split_message(1, framing.CBOR, data) == reference_packets(1, framing.CBOR, data)


def test_a_message_that_no_sequence_number_is_left_for_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        framing.split_message(1, framing.CBOR, bytes(framing.MAX_MESSAGE_SIZE + 1))


@given(CHANNELS, COMMANDS, MESSAGES, MESSAGES, KEEPALIVES)
def test_a_call_sends_and_understands_what_the_reference_does(
    channel: int, command: int, request: bytes, response: bytes, keepalives: list[int]
) -> None:
    packets = [
        packet for status in keepalives for packet in reference_packets(channel, framing.KEEPALIVE, bytes([status]))
    ]
    packets += reference_packets(channel, command, response)
    links = Link(channel, packets.copy()), Link(channel, packets.copy())
    seen: tuple[list[int], list[int]] = [], []
    ours, reference = HidChannel(links[0], Operation(5)), CtapHidDevice(DESCRIPTOR, links[1])
    assert ours.capabilities == reference.capabilities == CAPABILITIES
    assert ours.call(command, request, None, seen[0].append) == response
    assert reference.call(command, request, None, seen[1].append) == response
    assert links[0].written == links[1].written
    assert seen[0] == seen[1]
