"""A running `pysk serve` that is sent anything: it answers the next good command, and has nothing to complain of."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing, contextmanager
from typing import Any

import pytest
from fido2.ctap2 import Ctap2
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.card import ATR, GET_INFO, GET_RESPONSE, OFF, ON, RESET, SELECT, SELECTION, Reader, reader
from support.serve import PATIENCE, REBOOT, REPORT_SIZE, Served, connect_udp, connect_unix, open_device, serve
from support.soft_token import FUZZ_EXAMPLES

from sk_provider.ctap.cbor import encode
from sk_provider.ctap.framing import split_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FUZZ = settings(max_examples=FUZZ_EXAMPLES, deadline=None)
HASH = bytes(range(32))
PING, MSG, LOCK, INIT, WINK, CBOR, CANCEL, KEEPALIVE, ERROR = 0x01, 0x03, 0x04, 0x06, 0x08, 0x10, 0x11, 0x3B, 0x3F
BROADCAST = b"\xff" * 4
STRANGER = b"strg"

# What is complete and means something, each in its channel's own terms.
REQUESTS = [
    b"\x01" + encode({1: HASH, 2: {"id": "ssh:"}, 3: {"id": b"u"}, 4: [{"alg": -7, "type": "public-key"}]}),
    b"\x01" + encode({1: HASH, 2: {"id": "ssh:"}, 3: {"id": b"u"}, 4: [], 7: {"rk": True}, 8: b""}),
    b"\x02" + encode({1: "ssh:", 2: HASH}),
    b"\x04",
    b"\x06" + encode({1: 2, 2: 2}),
    b"\x07",
    b"\x08",
    b"\x0b",
    b"\x0c" + encode({1: 512, 3: 0}),
    b"\x0d" + encode({1: 2}),
]
U2F_VERSION = b"\0\x03\0\0"
U2F = [b"\0\x01\x03\0\0\0\x40" + bytes(64) + b"\0\0", b"\0\x02\x07\0\0\0\x41" + bytes(65) + b"\0\0", U2F_VERSION]


@contextmanager
def watched(served: Served) -> Iterator[None]:
    """What happens in the with statement leaves the token alive, and without anything to say but that it winks."""
    assert served.process.stderr is not None
    said = served.process.stderr.fileno()
    os.set_blocking(said, False)
    yield
    assert served.process.poll() is None
    try:
        heard = os.read(said, 1 << 16)
    except BlockingIOError:
        heard = b""
    assert set(heard.splitlines()) <= {b"pysk: the token winks"}


# CTAPHID reports

CHANNELS = st.sampled_from(["own", "own", "other", "stranger", "broadcast", "zero"])
REPORTS = st.tuples(
    CHANNELS,
    st.one_of(
        st.integers(0, 255),
        st.sampled_from([0x80 | c for c in (PING, MSG, LOCK, INIT, WINK, CBOR, CANCEL, KEEPALIVE, ERROR)]),
    ),
    st.binary(max_size=59) | st.sampled_from([b"\0\x08nonce678", b"\0\x01\x0a", b"\x04\0", b"\x1d\xb9"]),
)
MESSAGES = st.tuples(
    CHANNELS,
    st.one_of(
        st.tuples(st.just(CBOR), st.sampled_from(REQUESTS) | st.binary(max_size=200)),
        st.tuples(st.just(MSG), st.sampled_from(U2F) | st.binary(max_size=200)),
        st.tuples(st.just(PING), st.binary(max_size=200)),
        st.tuples(st.just(CANCEL), st.just(b"")),
    ),
)
PIECES = st.binary(max_size=150) | st.just(REBOOT)
HID_EVENTS = st.lists(REPORTS | MESSAGES | PIECES, max_size=30)


class Sender:
    """A client that sends what it likes on two channels of its own, and on others."""

    def __init__(self, connected: socket.socket) -> None:
        self.connected = connected
        connected.settimeout(1)
        self.channels = {"stranger": STRANGER, "broadcast": BROADCAST, "zero": bytes(4)}
        self.channels |= {name: self.initialise(BROADCAST) for name in ("own", "other")}

    def initialise(self, channel: bytes) -> bytes:
        """Send INIT until it is answered, as a datagram may be lost, and return the channel that the answer names."""
        nonce = os.urandom(8)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.connected.send((channel + b"\x86\0\x08" + nonce).ljust(REPORT_SIZE, b"\0"))
            try:
                while True:
                    report = self.connected.recv(REPORT_SIZE)
                    if report[:15] == channel + b"\x86\0\x11" + nonce:
                        return report[15:19]
            except TimeoutError:
                continue
        raise AssertionError("the token does not answer")

    def play(self, event: Any) -> None:
        match event:
            case bytes(piece):
                self.connected.send(piece)
            case (channel, int(first), bytes(rest)):
                report = self.channels[channel] + bytes([first]) + rest
                self.connected.send(report.ljust(REPORT_SIZE, b"\0"))
            case (channel, (command, data)):
                for report in split_message(int.from_bytes(self.channels[channel], "big"), command, data):
                    self.connected.send(report)

    def give_back(self) -> None:
        """End what was begun on any channel, and release the lock."""
        for channel in ("own", "other", "stranger"):
            self.initialise(self.channels[channel])
        for channel in ("own", "other", "stranger"):
            self.play((channel, (LOCK, b"\0")))


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("token") / "socket"
    with serve("udp:127.0.0.1:0", f"unix:{path}") as served:
        yield served


def connect(token: Served, kind: str) -> socket.socket:
    return connect_udp(token.address) if kind == "udp" else connect_unix(token.names[1].removeprefix("unix:"))


@pytest.mark.parametrize("kind", ["udp", "unix"])
@FUZZ
@given(events=HID_EVENTS)
@example(events=[("own", (LOCK, b"\x0a")), ("own", (CBOR, b"\x0b")), b"no report"])
@example(events=[("other", 0x90, b"\x1d\xb9"), ("own", (WINK, b"")), ("broadcast", (CBOR, b"\x04")), REBOOT])
def test_any_sequence_of_reports_leaves_the_token_answering_the_next_good_one(
    token: Served, kind: str, events: list[Any]
) -> None:
    with watched(token):
        with closing(connect(token, kind)) as connected:
            sender = Sender(connected)
            for event in events:
                try:
                    sender.play(event)
                except (BrokenPipeError, ConnectionError):
                    break  # it has had enough of us
            if kind == "udp":  # while a Unix socket's client takes all that it began along
                sender.give_back()
        with closing(open_device(connect(token, kind))) as device:
            assert device.ping(b"good") == b"good"
            assert Ctap2(device).info.versions


# APDUs

APDUS = st.one_of(
    st.sampled_from(
        [SELECT, GET_INFO, SELECTION, GET_RESPONSE, b"\x80\x11\x11\0\0", b"\0\xc0\0\0\0", b"\x80\x12\x01\0"]
    ),
    st.sampled_from([b"\x80\x10\x80\0" + bytes([len(request)]) + request + b"\0" for request in REQUESTS]),
    st.sampled_from([b"\x90\x10\x80\0" + bytes([len(request)]) + request for request in REQUESTS]),
    st.sampled_from(U2F),
    st.binary(max_size=300).filter(lambda apdu: len(apdu) != 1),
    st.tuples(
        st.sampled_from([0x00, 0x10, 0x80, 0x90, 0x01, 0x0C]),
        st.sampled_from([0xA4, 0xC0, 0x10, 0x11, 0x12, 0x01, 0x02, 0x03]),
        st.sampled_from([0x00, 0x01, 0x03, 0x04, 0x11, 0x80]),
        st.sampled_from([0x00, 0x0C]),
        st.binary(min_size=1, max_size=100),
    ).map(lambda parts: bytes(parts[:4]) + bytes([len(parts[4])]) + parts[4] + b"\0"),
)
TOGGLE_ALWAYS_UV = b"\x80\x10\0\0\x04" + REQUESTS[-1] + b"\0"
# An APDU, and whether its response is awaited; or a control.
CARD_EVENTS = st.lists(st.tuples(APDUS, st.booleans()) | st.sampled_from([OFF, ON, RESET]), max_size=30)


@pytest.fixture(scope="module")
def card() -> Iterator[Reader]:
    with reader() as card:
        yield card


def restart(card: Reader, control: bytes) -> None:
    """Have the card drop what it still owes, and read all that it has sent."""
    card.tell(control)
    answer = card.ask(ATR)
    while answer != bytes.fromhex("3b80800101"):
        answer = card.hear()


@FUZZ
@given(events=CARD_EVENTS)
@example(events=[(SELECT, True), (b"\x90\x10\x80\0\x01\x04", False), (SELECTION, False), OFF, (GET_RESPONSE, True)])
@example(events=[(SELECT, True), (TOGGLE_ALWAYS_UV, True)])
def test_any_sequence_of_apdus_leaves_the_card_answering_the_next_good_one(card: Reader, events: list[Any]) -> None:
    with watched(card.served):
        restart(card, ON)
        owes = False  # whether a response may come to an APDU for which nobody waited
        for event in events:
            match event:
                case bytes(control):
                    restart(card, control)
                    owes = False
                case (apdu, True) if not owes:
                    assert len(card.ask(apdu)) >= 2
                case (apdu, _):
                    card.tell(apdu)
                    owes = True
        restart(card, RESET)
        # The sequence may have had user verification always required, which leaves no U2F.
        answers = card.ask(SELECT), card.ask(U2F_VERSION)
        assert answers in ((b"U2F_V2\x90\x00", b"U2F_V2\x90\x00"), (b"FIDO_2_0\x90\x00", b"\x69\x86"))
        assert card.ask(GET_INFO)[:1] == b"\0"
