"""The token's ends of CTAPHID and ISO 7816 under any sequence of packets, of time that passes and of answers."""

from __future__ import annotations

from struct import pack

from fuzz.events import split

from sk_provider.ctap.apdu import AID, MAX_EXTENDED_RESPONSE, MAX_SHORT_RESPONSE, Apdu
from sk_provider.ctap.framing import (
    BROADCAST_CHANNEL,
    CBOR,
    ERROR,
    INIT,
    KEEPALIVE,
    MAX_MESSAGE_SIZE,
    MSG,
    PING,
    REPORT_SIZE,
    STATUS_UPNEEDED,
    split_message,
)
from sk_provider.device_side.ctaphid import CtapHid
from sk_provider.device_side.iso7816 import KEEPALIVE_INTERVAL, Applet
from sk_provider.device_side.job import Job

# Kinds of events. Of an input for CTAPHID the first byte tells the capabilities, as of one for ISO 7816.
PACKET = 0  # a report for the channel that was opened first, or an APDU
OTHER_CHANNEL = 1  # a report for the channel that was opened second
RAW = 2  # a report with its channel, of any size
TIME = 3  # so many hundredths of a second pass (1 byte)
RESPONSE = 4  # the engine answers this to what it was asked last
UPNEEDED = 5  # the engine waits for a person
GONE = 6  # the first channel's client is gone, or the card's power was cut
POWER_CYCLE = 7

SELECT = bytes.fromhex("00a4040008") + AID + b"\0"
GET_INFO = bytes.fromhex("80108000010400")


class Host:
    """Who is at the other end of the device, in front of an engine that answers when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.jobs: list[Job] = []

    def start(self, caller: object, command: int, data: bytes) -> Job:
        assert command in (MSG, CBOR)
        assert 0 < len(data) <= MAX_MESSAGE_SIZE + 9  # around U2F data that comes in APDUs there is a header
        self.jobs.append(Job(command, data))
        return self.jobs[-1]

    def respond(self, response: bytes) -> None:
        if self.jobs and self.jobs[-1].response is None:
            self.jobs[-1].response = (response or b"\0") + (b"\x90\0" if self.jobs[-1].command == MSG else b"")


def assemble(reports: list[bytes]) -> list[tuple[int, int, bytes]]:
    """Put reports together, as a host reads them: channel, command and data of each message."""
    messages = []
    rest = list(reports)
    while rest:
        first = rest.pop(0)
        assert first[4] & 0x80
        length = int.from_bytes(first[5:7], "big")
        data = first[7:]
        sequence = 0
        while len(data) < length:
            packet = rest.pop(0)
            assert (packet[:4], packet[4]) == (first[:4], sequence)
            data += packet[5:]
            sequence += 1
        messages.append((int.from_bytes(first[:4], "big"), first[4] & 0x7F, data[:length]))
    assert all(len(report) == REPORT_SIZE for report in reports)
    return messages


def run_ctaphid(data: bytes) -> None:
    """The device says only what a device may, and afterwards it answers a new client."""
    host = Host()
    capabilities = (data[:1] or b"\x04")[0] & 0x0C
    device = CtapHid(capabilities, lambda: capabilities, host.start, lambda: None)

    def deliver(report: bytes) -> list[tuple[int, int, bytes]]:
        return assemble(device.receive(report, host.now))

    def send(channel: int, command: int, content: bytes) -> list[tuple[int, int, bytes]]:
        return [answer for report in split_message(channel, command, content) for answer in deliver(report)]

    def open_channel() -> int:
        ((channel, command, answer),) = send(BROADCAST_CHANNEL, INIT, b"12345678")
        assert (channel, command, answer[:8]) == (BROADCAST_CHANNEL, INIT, b"12345678")
        return int.from_bytes(answer[8:12], "big")

    channels = open_channel(), open_channel()
    for kind, content in split(data[1:]):
        answers = []
        if kind in (PACKET, OTHER_CHANNEL):
            answers = deliver((pack(">I", channels[kind]) + content)[:REPORT_SIZE].ljust(REPORT_SIZE, b"\0"))
        elif kind == RAW:
            answers = deliver(content)
        elif kind == TIME:
            host.now += (content[:1] or b"\0")[0] / 100
            answers = assemble(device.tick(host.now))
        elif kind == RESPONSE:
            host.respond(content[: MAX_MESSAGE_SIZE - 2])
            answers = assemble(device.tick(host.now))
        elif kind == UPNEEDED and host.jobs:
            host.jobs[-1].status = STATUS_UPNEEDED
        elif kind == GONE:
            device.abandon({channels[0]})
        elif kind == POWER_CYCLE:
            device.clear()
        for _, command, answer in answers:
            assert command not in (MSG, CBOR) or answer in [job.response for job in host.jobs]
            assert command not in (KEEPALIVE, ERROR) or len(answer) == 1
        unanswered = [job for job in host.jobs if job.response is None and not job.cancelled.is_set()]
        assert len(unanswered) <= 1
        assert not unanswered or device.deadline() is not None
    for job in host.jobs:
        job.response = job.response or b"\0"
    host.now += 11  # whatever was begun has answered or timed out, and no lock lasts longer
    device.tick(host.now)
    channel = open_channel()
    assert send(channel, PING, b"good") == [(channel, PING, b"good")]


def longest_response(untrusted_command: bytes) -> int:
    """Tell how much data a response may hold: what the command asks for, or else what its form lets it."""
    try:
        apdu = Apdu(untrusted_command)
    except ValueError:
        return 0
    return apdu.le or (MAX_EXTENDED_RESPONSE if apdu.is_extended else MAX_SHORT_RESPONSE)


def run_iso7816(data: bytes) -> None:
    """Every APDU has a response, which is not longer than was asked for; afterwards the applet answers a new reader."""
    host = Host()
    capabilities = (data[:1] or b"\x04")[0] & 0x0C
    applet = Applet(capabilities, lambda: capabilities, host.start)

    def finish(response: bytes | None) -> bytes:
        if response is None:
            host.respond(b"\0finished")
            response = applet.poll(host.now)
        assert response is not None
        return response

    waiting = False
    expected = 0  # how long the data of the response to the last command may be
    for kind, content in split(data[1:]):
        response = None
        if kind == PACKET:
            expected = longest_response(content)
            response = applet.receive(content, host.now)
            waiting = response is None
        elif kind == TIME:
            host.now += (content[:1] or b"\0")[0] / 100
            response = applet.poll(host.now)
        elif kind == RESPONSE:
            host.respond(content)
            response = applet.poll(host.now)
        elif kind == UPNEEDED and host.jobs:
            host.jobs[-1].status = STATUS_UPNEEDED
        elif kind in (GONE, POWER_CYCLE):
            applet.reset()
            waiting = False
        if response is not None:
            assert 0 <= len(response) - 2 <= expected
            assert kind == PACKET or waiting
            waiting = False
        deadline = applet.deadline()
        assert deadline is None or (waiting and deadline <= host.now + KEEPALIVE_INTERVAL)
    assert finish(applet.receive(SELECT, host.now)) == (b"FIDO_2_0" if capabilities & 0x08 else b"U2F_V2") + b"\x90\0"
    assert finish(applet.receive(GET_INFO, host.now)) == (b"\0finished\x90\0" if capabilities & 0x04 else b"\x6e\0")
