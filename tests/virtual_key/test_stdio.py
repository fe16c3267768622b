"""`pysk serve stdio:` and `stdio:messages`, by clients that have the other ends of its standard streams."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
from contextlib import contextmanager
from pathlib import Path

import pytest
from fido2.ctap2 import Ctap2
from fido2.hid import CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from support import terminal
from support.serve import PATIENCE, REPORT_SIZE, wait_until
from support.soft_token import FUZZ_EXAMPLES

from sk_provider.ctap import framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

    from support.impatient import Impatient

PYSK = Path(sys.executable).with_name("pysk")
HASH = bytes(32)
RP = {"id": "ssh:", "name": "ssh"}
USER = {"id": b"u" * 32, "name": "openssh"}
ALGORITHMS: list[Mapping[str, object]] = [{"type": "public-key", "alg": -7}]
HEADER = struct.Struct(">BH")
NONCE = bytes(range(8))
GET_INFO = b"\x04"
SELECTION = b"\x0b"
REMEDY = "let the program that uses the authenticator start this"
COMMANDS = st.sampled_from([framing.PING, framing.MSG, framing.LOCK, framing.INIT, framing.CBOR, framing.CANCEL])
REQUESTS = st.sampled_from([GET_INFO, SELECTION, NONCE, b"\x07", b"\x0a", b"\0\x03\0\0"])
OK, KEEPALIVE_CANCEL = b"\0", b"\x2d"


class Served:
    """A running token, and the streams that reach it."""

    def __init__(self, process: subprocess.Popen[bytes], temporary: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.temporary = temporary
        self.input, self.output = process.stdin, process.stdout

    def send(self, command: int, data: bytes = b"") -> None:
        self.input.write(HEADER.pack(command, len(data)) + data)

    def receive(self) -> tuple[int, bytes]:
        command, length = HEADER.unpack(_read(self.output, HEADER.size))
        return command, _read(self.output, length)

    def call(self, command: int, data: bytes = b"") -> tuple[int, bytes]:
        """Return the answer to a message, after any keep-alives."""
        self.send(command, data)
        answer = self.receive()
        while answer[0] == framing.KEEPALIVE:
            answer = self.receive()
        return answer

    def end(self) -> tuple[int, bytes]:
        """Close its standard input; return its status, and what it has said."""
        self.input.close()
        return self.ended()

    def ended(self) -> tuple[int, bytes]:
        """Return its status, once it has ended by itself, and what it has said."""
        status = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        return status, self.process.stderr.read()


def _read(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        assert select.select([stream], [], [], PATIENCE)[0]
        piece = stream.read(size - len(data))
        assert piece
        data += piece
    return data


@contextmanager
def serve(*arguments: str, presence: str = "auto", pysk: Path = PYSK) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [pysk, "serve", "--presence", presence, *arguments],
            env={**os.environ, "TMPDIR": folder}, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield Served(process, Path(folder))
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                assert stream is not None
                stream.close()


@contextmanager
def serve_messages(*arguments: str, presence: str = "auto") -> Iterator[Served]:
    """Serve a token, and let INIT be answered."""
    with serve("stdio:messages", *arguments, presence=presence) as token:
        assert token.call(framing.INIT, NONCE)[0] == framing.INIT
        yield token


class StreamConnection(CtapHidConnection):
    def __init__(self, token: Served) -> None:
        self.token = token

    def read_packet(self) -> bytes:
        return _read(self.token.output, REPORT_SIZE)

    def write_packet(self, data: bytes) -> None:
        self.token.input.write(data)

    def close(self) -> None:
        pass


def device(token: Served) -> CtapHidDevice:
    return CtapHidDevice(HidDescriptor("stdio", 0, 0, REPORT_SIZE, REPORT_SIZE, None, None), StreamConnection(token))


def test_reports_reach_a_token_that_signs() -> None:
    with serve("stdio:") as token:
        ctap2 = Ctap2(device(token))
        made = ctap2.make_credential(HASH, RP, USER, ALGORITHMS)
        assert made.auth_data.credential_data is not None
        credential = {"type": "public-key", "id": made.auth_data.credential_data.credential_id}
        assertion = ctap2.get_assertion("ssh:", HASH, [credential])
        assertion.verify(HASH, made.auth_data.credential_data.public_key)
        assert token.end() == (0, b"")
        assert token.output.read() == b""


def test_messages_are_ctaphids_without_its_packets() -> None:
    with serve("stdio:messages") as token:
        command, response = token.call(framing.INIT, NONCE)
        assert (command, response[:8], len(response)) == (framing.INIT, NONCE, 17)
        assert response[16] & framing.CAPABILITY_CBOR
        assert token.call(framing.CBOR, GET_INFO)[1][:1] == OK
        ping = bytes(range(256)) * 29
        assert token.call(framing.PING, ping) == (framing.PING, ping)
        assert token.call(framing.PING) == (framing.PING, b"")
        assert token.call(0x41) == (framing.ERROR, bytes([framing.ERR_INVALID_CMD]))
        assert token.end() == (0, b"")
        assert token.output.read() == b""


def test_a_message_before_init_is_refused_as_that_of_no_channel() -> None:
    with serve("stdio:messages") as token:
        assert token.call(framing.CBOR, GET_INFO) == (framing.ERROR, bytes([framing.ERR_INVALID_CHANNEL]))


def test_a_message_that_comes_in_pieces_is_one() -> None:
    with serve_messages() as token:
        for byte in HEADER.pack(framing.PING, 3) + b"abc":
            token.input.write(bytes([byte]))
        assert token.receive() == (framing.PING, b"abc")


def test_who_waits_for_a_touch_hears_of_it_and_may_cancel() -> None:
    with serve_messages(presence="after:60000") as token:
        token.send(framing.CBOR, SELECTION)
        while (answer := token.receive()) != (framing.KEEPALIVE, bytes([framing.STATUS_UPNEEDED])):
            assert answer == (framing.KEEPALIVE, bytes([framing.STATUS_PROCESSING]))
        assert token.call(framing.PING, b"x") == (framing.ERROR, bytes([framing.ERR_CHANNEL_BUSY]))
        assert token.call(framing.CANCEL) == (framing.CBOR, KEEPALIVE_CANCEL)
        assert token.call(framing.CBOR, GET_INFO)[1][:1] == OK


def test_another_init_begins_anew() -> None:
    with serve_messages(presence="after:60000") as token:
        token.send(framing.CBOR, SELECTION)
        assert token.call(framing.INIT, NONCE)[0] == framing.INIT
        assert token.call(framing.PING, b"x") == (framing.PING, b"x")


@pytest.mark.parametrize("address", ["stdio:", "stdio:messages"])
def test_the_end_of_input_ends_it_and_what_it_waits_for(address: str) -> None:
    with serve(address, presence="after:60000") as token:
        if address == "stdio:":
            Ctap2(device(token))
        else:
            token.call(framing.INIT, NONCE)
            token.send(framing.CBOR, SELECTION)
            token.receive()
        assert token.end() == (0, b"")
        assert list(token.temporary.iterdir()) == []


def test_a_client_that_has_closed_its_end_is_gone() -> None:
    with serve_messages() as token:
        token.output.close()
        token.send(framing.PING, b"x")
        assert token.ended() == (0, b"")


def test_a_client_that_does_not_read_is_not_waited_for(impatience: Impatient) -> None:
    with serve("stdio:messages", pysk=impatience.pysk) as token:
        token.send(framing.INIT, NONCE)
        try:
            for _ in range(100):
                token.send(framing.PING, bytes(7000))
        except BrokenPipeError:
            pass
        assert token.ended() == (
            1, b"pysk: nobody reads what is sent on standard output; start this and its client again\n"
        )  # fmt: skip


@pytest.fixture(scope="module")
def any_token() -> Iterator[Served]:
    with serve_messages() as token:
        yield token


@settings(max_examples=FUZZ_EXAMPLES)
@given(messages=st.lists(st.tuples(COMMANDS | st.integers(0, 0x7F), REQUESTS | st.binary(max_size=300)), max_size=20))
def test_after_any_messages_the_next_good_ones_are_answered(
    any_token: Served, messages: list[tuple[int, bytes]]
) -> None:
    for command, data in messages:
        any_token.send(command, data)
    nonce = os.urandom(8)
    any_token.send(framing.INIT, nonce)
    while True:
        command, response = any_token.receive()
        if command == framing.INIT and response[:8] == nonce:
            break
    assert any_token.call(framing.PING, b"good") == (framing.PING, b"good")
    assert any_token.call(framing.CBOR, GET_INFO)[1][:1] == OK


@pytest.mark.parametrize("nonsense", [b"Welcome to this machine!\r\n", HEADER.pack(0x90, 1), b"\x10\xff\xff"])
def test_what_is_no_message_ends_it_with_a_sentence(nonsense: bytes) -> None:
    with serve("stdio:messages") as token:
        token.input.write(nonsense)
        assert token.ended() == (
            1, b"pysk: what comes on standard input is no CTAP message; check what the client writes\n"
        )  # fmt: skip


def refusal(*arguments: str, stdin: int) -> tuple[int, str, str]:
    done = subprocess.run(
        [PYSK, "serve", *arguments], stdin=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


def test_nobody_is_served_on_what_has_no_other_end() -> None:
    assert refusal("stdio:", stdin=subprocess.DEVNULL) == (
        1,
        "",
        f"pysk: nobody can be served on standard input (Operation not permitted); {REMEDY}\n",
    )


def test_nobody_is_served_on_a_persons_terminal() -> None:
    done = terminal.run([str(PYSK), "serve", "stdio:"], environment=dict(os.environ), folder=Path("/"))
    assert (done.status, done.screen) == (1, "")
    assert done.errors == f"pysk: standard input is a terminal; {REMEDY}\n"


def test_standard_streams_serve_one_client() -> None:
    status, _, errors = refusal("stdio:", "stdio:messages", stdin=subprocess.PIPE)
    assert status == 1
    assert errors == "pysk: standard input and output are named twice; name stdio: or stdio:messages once\n"


def test_other_addresses_are_printed_where_they_disturb_nobody() -> None:
    with serve_messages("udp:127.0.0.1:0") as token:
        status, errors = token.end()
        assert status == 0
        assert token.output.read() == b""
        assert errors.startswith(b"serving udp:127.0.0.1:")


def test_a_serial_line_carries_bytes_as_they_are() -> None:
    ours, theirs = pty.openpty()
    with open(ours, "r+b", buffering=0) as line:
        process = subprocess.Popen(
            [PYSK, "serve", "--presence", "auto", "stdio:messages"], stdin=theirs, stdout=theirs, start_new_session=True
        )
        try:
            wait_until(lambda: not termios.tcgetattr(theirs)[3] & termios.ECHO, "the line's being set")
            line.write(HEADER.pack(framing.INIT, len(NONCE)) + NONCE)
            assert _read(line, HEADER.size + 17)[HEADER.size :][:8] == NONCE
            every_byte = HEADER.pack(framing.PING, 256) + bytes(range(256))
            line.write(every_byte)
            assert _read(line, len(every_byte)) == every_byte
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0
            os.close(theirs)
