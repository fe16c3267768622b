"""The client's parsers of what a token, which nobody vouches for, has sent."""

from __future__ import annotations

from unittest.mock import patch

from fido2 import cbor as reference
from fuzz.events import split
from support.answering import Token

from sk_provider import operation, sign
from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519
from sk_provider.ctap import AUTHDATA_UP, AUTHDATA_UV, cbor, framing, hid, requests, sha256
from sk_provider.ctap.status import StatusError
from sk_provider.errors import SecurityKeyError
from sk_provider.operation import Operation

RP_ID = "ssh:"
KEY_HANDLE = b"key handle"
# In an input it stands for the nonce, which only a device knows that was asked.
MARK_NONCE = b"(nonce!)"
EMPTY = 0  # the kind of event in which no report comes for a tick; every other is a report


def run_cbor(data: bytes) -> None:
    """Bytes are a value or a CborError; the strict reading is the reference's, and the tolerant one agrees with it."""
    try:
        value, used = cbor.decode_prefix(data)
    except cbor.CborError:
        value, used = None, 0
    assert used <= len(data)
    try:
        canonical, length = cbor.decode_prefix(data, canonical=True)
    except cbor.CborError:
        return
    assert cbor.encode(canonical) == data[:length]
    assert (value, used) == (canonical, length)
    try:
        assert reference.encode(canonical) == data[:length]
    except ValueError:
        return  # it has no null
    assert reference.decode_from(data)[0] == canonical


def run_get_assertion(data: bytes) -> None:
    """What comes out is what an OpenSSH signature can carry, or one of our errors. The first byte: UP, UV, Ed25519."""
    choice, untrusted_answer = (data[:1] or b"\0")[0], data[1:]
    up, uv = bool(choice & 1), bool(choice & 2)
    token = Token(untrusted_answer)
    operation = Operation(60)
    try:
        requests.get_info(token, operation)
    except (SecurityKeyError, StatusError):
        pass
    try:
        assertion = requests.get_assertion(token, RP_ID, bytes(32), KEY_HANDLE, operation, up=up, uv=uv)
        r, s = sign._split_signature(ALGORITHM_ED25519 if choice & 4 else ALGORITHM_ECDSA, assertion.signature)
    except StatusError:
        assert untrusted_answer[0] != 0
        return
    except SecurityKeyError:
        return
    signed = sha256(RP_ID.encode()) + bytes((assertion.flags,)) + assertion.counter.to_bytes(4, "big")
    assert signed in untrusted_answer
    assert not up or assertion.flags & AUTHDATA_UP
    assert not uv or assertion.flags & AUTHDATA_UV
    assert (len(r), len(s)) == ((64, 0) if choice & 4 else (32, 32))


class Clock:
    """Time that passes only while somebody sleeps or waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Reports:
    """A device whose reports were made up beforehand, and which is silent after the last."""

    def __init__(self, data: bytes, clock: Clock) -> None:
        self.clock = clock
        self.scripted = split(data)
        self.silent_since = clock.now
        self.sent: list[bytes] = []
        self.nonce = b""
        self.closed = False

    def send(self, report: bytes) -> None:
        assert len(report) == framing.REPORT_SIZE
        assert not self.closed
        if report[4] == framing.INIT_PACKET | framing.INIT:
            self.nonce = report[7:15]
        self.sent.append(report)

    def receive(self, seconds: float) -> bytes | None:
        assert 0 <= seconds <= hid.TICK
        if not self.scripted:
            self.clock.sleep(max(seconds, 0.001))
            return None
        kind, content = self.scripted.pop(0)
        if kind == EMPTY:
            self.clock.sleep(seconds)
        self.silent_since = self.clock.now
        return None if kind == EMPTY else content.replace(MARK_NONCE, self.nonce)

    def close(self) -> None:
        self.closed = True


def run_hid(data: bytes) -> None:
    """A device may send what it likes: there is an answer or one of our errors, and soon after it falls silent."""
    clock = Clock()
    reports = Reports(data, clock)
    with patch.object(hid, "time", clock), patch.object(operation, "time", clock):
        try:
            channel = hid.HidChannel(reports, Operation(60))
        except SecurityKeyError:
            assert reports.closed
        else:
            call(channel, reports)
    assert clock.now - reports.silent_since <= 2 * hid.SILENCE + hid._NONCE_PATIENCE + hid._CANCEL_PATIENCE + 1


def call(channel: hid.HidChannel, reports: Reports) -> None:
    reports.sent.clear()
    statuses: list[int] = []
    request = bytes(100)
    try:
        response = channel.call(framing.CBOR, request, Operation(60), statuses.append)
    except SecurityKeyError:
        response = b""
    assert len(response) <= framing.MAX_MESSAGE_SIZE
    assert reports.sent[0][4:7] == b"\x90\0\x64"
    assert all(status < 256 for status in statuses)
    channel.close()
    assert reports.closed
