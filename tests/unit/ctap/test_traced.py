"""What a trace tells of CTAPHID: channels, lengths, errors, cancelling; not what messages hold."""

from __future__ import annotations

import pytest
from support.traced import sentence_of, trace_into

from sk_provider.ctap import framing
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, SecurityKeyError
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Takes a message's command and data, and returns the reports that come for it.
    Answer = Callable[[int, bytes], list[bytes]]

pytestmark = pytest.mark.slow

CHANNEL, OTHER = 0x0A0B0C0D, 0x01020304
BUSY, INVALID = bytes([framing.ERR_CHANNEL_BUSY]), bytes([framing.ERR_INVALID_CMD])
SECRET = b"what nobody else is to read"


def message(command: int, data: bytes, channel: int = CHANNEL) -> list[bytes]:
    return framing.split_message(channel, command, data)


class Wire:
    """Carries reports to a device that answers each message, of one report, as it is told to."""

    def __init__(self, answers: dict[int, list[list[bytes]]]) -> None:
        self.answers = answers
        self.waiting: list[bytes] = []

    def send(self, report: bytes) -> None:
        command = report[4] & ~framing.INIT_PACKET
        if command == framing.INIT and not self.answers.get(framing.INIT):
            capabilities = framing.CAPABILITY_CBOR | framing.CAPABILITY_WINK
            allocated = report[7:15] + CHANNEL.to_bytes(4, "big") + bytes([2, 5, 7, 4, capabilities])
            self.waiting += message(framing.INIT, allocated, framing.BROADCAST_CHANNEL)
        elif self.answers.get(command):
            self.waiting += self.answers[command].pop(0)

    def receive(self, _seconds: float) -> bytes | None:
        return self.waiting.pop(0) if self.waiting else None

    def close(self) -> None:
        pass


def trace_of(answers: dict[int, list[list[bytes]]], *, interrupted: bool = False) -> list[str]:
    """Return what is told of a channel and a message on it, without times."""
    lines: list[str] = []
    operation = Operation(30, lambda: interrupted and not answers.get(framing.CBOR), tell=lambda _: None)
    operation.trace = trace_into(lines)
    try:
        channel = HidChannel(Wire(answers), operation)
        channel.call(framing.CBOR, SECRET, operation)
    except SecurityKeyError:
        pass
    return [sentence_of(line) for line in lines]


def test_a_channel_and_the_lengths_of_messages_are_told() -> None:
    told = trace_of({framing.CBOR: [message(framing.CBOR, SECRET * 3)]})
    nonce = told[0].rpartition(" ")[2]
    device = "protocol 2, device version 5.7.4, capabilities WINK CBOR (0x05)"
    assert told == [
        f"> CTAPHID INIT on channel 0xffffffff, nonce {nonce}",
        f"< CTAPHID INIT on channel 0xffffffff, nonce {nonce}, new channel 0x0a0b0c0d, {device}",
        "> CTAPHID CBOR on channel 0x0a0b0c0d, 27 bytes",
        "< CTAPHID CBOR on channel 0x0a0b0c0d, 81 bytes",
    ]


def test_a_busy_device_that_is_asked_again_is_told() -> None:
    told = trace_of({framing.CBOR: [message(framing.ERROR, BUSY), message(framing.CBOR, b"\0")]})
    assert told[2:] == [
        "> CTAPHID CBOR on channel 0x0a0b0c0d, 27 bytes",
        "< CTAPHID ERROR on channel 0x0a0b0c0d, CHANNEL_BUSY (0x06)",
        "another program has the authenticator",
        "> CTAPHID CBOR on channel 0x0a0b0c0d, 27 bytes",
        "< CTAPHID CBOR on channel 0x0a0b0c0d, 1 bytes",
    ]


@pytest.mark.parametrize(
    ("code", "name"), [(INVALID, "INVALID_CMD (0x01)"), (b"\x7e", "unknown (0x7e)"), (b"", "unknown (0x00)")]
)
def test_an_error_has_its_name(code: bytes, name: str) -> None:
    told = trace_of({framing.CBOR: [message(framing.ERROR, code)]})
    assert told[-1] == f"< CTAPHID ERROR on channel 0x0a0b0c0d, {name}"


def test_that_a_command_is_cancelled_is_told() -> None:
    cancelled = message(framing.CBOR, b"\x2d")
    told = trace_of({framing.CBOR: [[]], framing.CANCEL: [cancelled]}, interrupted=True)
    assert told[-2:] == [
        "> CTAPHID CANCEL on channel 0x0a0b0c0d",
        "< CTAPHID CBOR on channel 0x0a0b0c0d, 1 bytes",
    ]


def test_other_programs_reports_and_what_is_no_report_are_told_within_bounds() -> None:
    others = [message(framing.CBOR, SECRET, number)[0] for number in range(1, 30)] * 2
    told = trace_of({framing.CBOR: [[b"short", *others, *message(framing.CBOR, b"\0")]]})
    assert told[3] == "< a report of 5 bytes, which is none of CTAPHID's"
    assert told[4] == "< reports on channel 0x00000001, which is another program's"
    assert len(told) == 4 + 8 + 1
    assert SECRET.decode() not in "".join(told)


@pytest.mark.parametrize(
    "report",
    [b"short", message(framing.INIT, SECRET, framing.BROADCAST_CHANNEL)[0]],
    ids=["no report", "another's channel"],
)
def test_what_comes_without_end_does_not_fill_the_trace(report: bytes) -> None:
    told = trace_of({framing.INIT: [[report] * 1000]})
    assert len(told) == 1 + 16 + 1
    assert told[-1] == "< more, of which nothing is told"


def test_keep_alives_do_not_fill_the_trace() -> None:
    keepalives = message(framing.KEEPALIVE, bytes([framing.STATUS_UPNEEDED])) * 100
    told = trace_of({framing.CBOR: [[*keepalives, *message(framing.CBOR, b"\0")]]})
    assert len(told) == 4


def test_without_a_trace_reports_go_straight_to_the_device() -> None:
    wire = Wire({})
    assert HidChannel(wire, Operation(30))._reports is wire


def test_a_device_that_says_nothing_raises_as_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sk_provider.ctap.hid.SILENCE", 0.1)
    operation = Operation(30)
    operation.trace = trace_into([])
    channel = HidChannel(Wire({framing.CBOR: [[]]}), operation)
    with pytest.raises(AuthenticatorError, match="does not answer"):
        channel.call(framing.CBOR, b"\4", operation)
