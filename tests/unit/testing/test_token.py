"""The kit's token, by the ways to reach it that our own transports do not take, and which transport the kit tries."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support import third_party

from sk_provider.config import Configuration
from sk_provider.ctap import commands, framing, status
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError
from sk_provider.operation import Operation
from sk_provider.testing import SafeConformance, Token, Unplugged
from sk_provider.testing.messages import creation, made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

GET_INFO = bytes([commands.GET_INFO])


@pytest.fixture
def token() -> Iterator[Token]:
    with Token() as token:
        yield token


def test_a_message_is_answered(token: Token) -> None:
    made(token.call(framing.CBOR, creation()))
    assert token.commands == [(framing.CBOR, creation())]


def test_keepalives_are_due_while_a_person_is_awaited(token: Token) -> None:
    token.comes_after = 0.5
    heard: list[int] = []
    made(token.call(framing.CBOR, creation(), on_keepalive=heard.append))
    assert framing.STATUS_UPNEEDED in heard


def test_a_message_is_cancelled(token: Token) -> None:
    token.comes_after = None
    response = token.call(framing.CBOR, creation(), cancelled=lambda: token.is_blinking)
    assert response == bytes([status.KEEPALIVE_CANCEL])
    assert token.cancellations == 1


@pytest.mark.parametrize("what", ["silent", "dying", "awaiting"])
def test_whoever_waits_for_an_answer_hears_of_the_end(token: Token, what: str) -> None:
    token.is_silent = what == "silent"
    token.dies_at = 0 if what == "dying" else None
    token.comes_after = None
    torn: list[str] = []
    token.at_the_end(lambda: torn.append("the connection"))
    timer = threading.Timer(0.2, token.unplug)
    timer.start()
    with pytest.raises(Unplugged):
        token.call(framing.CBOR, creation())
    timer.join()
    assert torn == ["the connection"]


def test_it_dies_after_so_many_commands(token: Token) -> None:
    token.dies_at = 1
    assert token.call(framing.CBOR, GET_INFO)[:1] == b"\0"
    with pytest.raises(Unplugged):
        token.call(framing.CBOR, GET_INFO)


class PipeReports:
    """Our ends of the pipes that reports are carried on."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        os.set_blocking(reader, False)

    @classmethod
    def to(cls, token: Token) -> PipeReports:
        reader, our_writer = os.pipe()
        our_reader, writer = os.pipe()
        token.carry(reader, writer)
        return cls(our_reader, our_writer)

    def send(self, report: bytes) -> None:
        try:
            os.write(self.writer, report)
        except OSError as error:
            raise AuthenticatorError("the pipe is broken", "mend it") from error

    def receive(self, seconds: float) -> bytes | None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                return os.read(self.reader, framing.REPORT_SIZE)
            except BlockingIOError:
                time.sleep(0.01)
        return None

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


def test_reports_go_over_pipes_until_it_is_unplugged(token: Token) -> None:
    reports = PipeReports.to(token)
    operation = Operation(10)
    channel = HidChannel(reports, operation)
    assert channel.call(framing.CBOR, GET_INFO)[:1] == b"\0"
    token.unplug()
    with pytest.raises(AuthenticatorError, match="the pipe is broken"):
        channel.call(framing.CBOR, GET_INFO)
    channel.close()


def test_a_token_that_is_sparing_sends_answers_and_no_keepalives(token: Token) -> None:
    reports = PipeReports.to(token)
    channel = HidChannel(reports, Operation(10))
    token.comes_after = 0.5
    heard: list[int] = []
    made(channel.call(framing.CBOR, creation(), on_keepalive=heard.append))
    assert heard
    heard.clear()
    token.is_sparing = True
    made(channel.call(framing.CBOR, creation(), on_keepalive=heard.append))
    assert heard == []
    channel.close()


@pytest.fixture
def program(token: Token, messages: bool) -> Iterator[subprocess.Popen[bytes]]:
    command = token.bridge(messages=messages)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as program:
        yield program
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(60) == 0


@pytest.mark.parametrize("messages", [False])
def test_a_program_carries_reports_until_its_input_ends(program: subprocess.Popen[bytes]) -> None:
    assert program.stdin is not None
    assert program.stdout is not None
    reports = PipeReports(os.dup(program.stdout.fileno()), os.dup(program.stdin.fileno()))
    channel = HidChannel(reports, Operation(10))
    made(channel.call(framing.CBOR, creation()))
    channel.close()


@pytest.mark.parametrize("messages", [True])
def test_a_program_carries_messages_until_its_input_ends(token: Token, program: subprocess.Popen[bytes]) -> None:
    def read(size: int) -> bytes:
        assert program.stdout is not None
        content = b""
        while len(content) < size:
            content += program.stdout.read(size - len(content)) or pytest.fail("it has ended")
        return content

    def answer_to(command: int, data: bytes) -> bytes:
        assert program.stdin is not None
        request = bytes([command]) + len(data).to_bytes(2, "big") + data
        # Wherever it is cut.
        for piece in (request[:2], request[2:]):
            program.stdin.write(piece)
            time.sleep(0.05)
        while (head := read(3))[0] == framing.KEEPALIVE:
            read(int.from_bytes(head[1:], "big"))
        assert head[0] == command
        return read(int.from_bytes(head[1:], "big"))

    assert answer_to(framing.INIT, b"12345678")[:8] == b"12345678"
    made(answer_to(framing.CBOR, creation()))
    assert answer_to(framing.CBOR, GET_INFO)[:1] == b"\0"
    assert [data for _, data in token.commands] == [creation(), GET_INFO]


def test_a_connection_that_the_other_end_has_closed_is_closed(token: Token) -> None:
    theirs, ours = socket.socketpair()
    number = theirs.detach()
    token.carry(number)
    with ours:
        ours.sendall(b"".join(framing.split_message(framing.BROADCAST_CHANNEL, framing.INIT, bytes(8))))
        assert len(ours.recv(framing.REPORT_SIZE)) == framing.REPORT_SIZE
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/self/fd/{number}"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with open(os.devnull) as file:
        assert file.fileno() == number
        token.unplug()
        os.fstat(number)  # which the token has not closed again


def test_what_is_longer_than_a_message_ends_a_bridge_without_a_word(token: Token) -> None:
    size = framing.MAX_MESSAGE_SIZE + 1
    request = bytes([framing.CBOR]) + size.to_bytes(2, "big") + bytes(size)
    done = subprocess.run(token.bridge(messages=True), input=request, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_it_leaves_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with Token() as token:
        token.unix_path()
        token.udp_address()
        path = token.terminal()
        folder = token.folder
        assert os.path.exists(path)
    assert set(os.listdir("/proc/self/fd")) == before
    assert not os.path.exists(folder)


def test_what_the_entry_point_names_is_tried_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third_party.install(tmp_path, monkeypatch)

    class Pigeons(SafeConformance):
        scheme = "pigeon"

    pigeons = Pigeons()
    with pytest.raises(AssertionError, match=r"^pigeon:loft$"):  # which a guard would blame it for
        pigeons.reached().open("loft", Configuration(), Operation(1), may_create=False)
