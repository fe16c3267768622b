"""The transport over UDP, with a token of datagrams in the test's own process."""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import contextmanager

import pytest

from sk_provider import peers
from sk_provider.config import Configuration
from sk_provider.ctap import cbor, commands, framing, hid
from sk_provider.errors import AuthenticatorError, ConfigurationError, SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.transports import udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sk_provider.ctap.hid import HidChannel

END = b"end"
PIN = bytes([commands.CLIENT_PIN]) + cbor.encode({1: 1, 2: 1})


class Token:
    """Answers INIT with a channel and every other message with a success, as long as it listens."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.peers: set[tuple[str, int]] = set()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while (report := self.socket.recvfrom(100))[0] != END:
            request, peer = report
            self.peers.add(peer)
            data = b"\0"
            if request[4] == framing.INIT | framing.INIT_PACKET:
                data = request[7:15] + b"\0\0\0\1\2\0\0\0\4"
            answer = (request[:5] + len(data).to_bytes(2, "big") + data).ljust(64, b"\0")
            self.socket.sendto(answer, peer)

    def end(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(END, ("127.0.0.1", self.port))
        self._thread.join()
        self.socket.close()


@contextmanager
def token() -> Iterator[Token]:
    served = Token()
    try:
        yield served
    finally:
        if served.socket.fileno() >= 0:
            served.end()


def open_channel(location: str) -> HidChannel:
    return udp.open(location, Configuration(), Operation(30), may_create=False)


def test_a_token_is_reached_and_let_go() -> None:
    with token() as served:
        before = len(os.listdir("/proc/self/fd"))
        channel = open_channel(f"localhost:{served.port}")
        assert channel.capabilities == framing.CAPABILITY_CBOR
        assert channel.call(framing.CBOR, b"\x04") == b"\0"
        assert channel.call(framing.CBOR, PIN) == b"\0"
        channel.close()
        assert len(os.listdir("/proc/self/fd")) == before


def test_it_answers_to_the_port_of_the_simulators_or_another() -> None:
    with token() as served:
        first, second = (open_channel(f"127.0.0.1:{served.port}") for _ in range(2))
        try:
            for channel in (first, second):
                assert channel._reports._socket.getsockname()[0] == "127.0.0.1"  # type: ignore[attr-defined]
            ports = {port for _, port in served.peers}
            # Another program may have it.
            assert len(ports) == 2
            assert udp._CLIENT_PORT in ports or is_taken_elsewhere()
        finally:
            first.close()
            second.close()


def is_taken_elsewhere() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 7112))
        except OSError:
            return True
    return False


def test_every_location_is_found() -> None:
    assert udp.discover("127.0.0.1:1") == ["127.0.0.1:1"]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("127.9.8.7:8111", ("127.9.8.7", 8111)),
        ("localhost:08111", ("127.0.0.1", 8111)),
        ("127.1:8111", ("127.0.0.1", 8111)),
    ],
)
def test_a_location_is_a_port_of_this_machine(location: str, expected: tuple[str, int]) -> None:
    assert udp._host_and_port(location) == expected


@pytest.mark.parametrize("port", ["0", "65536", "99999", "000001", "", "-1", "x"])
def test_another_port_is_none(port: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"is not an authenticator's address; write one as udp:127\.0\.0\.1:8111"
    ):
        udp._host_and_port(f"127.0.0.1:{port}")


@pytest.mark.parametrize("host", ["128.0.0.1", "126.255.255.255", "0.0.0.0", "example.org", "::1", ""])
def test_another_machine_is_refused(host: str) -> None:
    with pytest.raises(
        ConfigurationError, match="is not on this machine, and anybody on the network could answer; use"
    ):
        udp._host_and_port(f"{host}:8111")


def test_a_port_of_another_user_is_refused_whenever_a_pin_would_go_there(monkeypatch: pytest.MonkeyPatch) -> None:
    owners: list[set[int]] = [{0, 12345}]
    monkeypatch.setattr(peers, "udp_owners", lambda *_: owners[0])
    with token() as served:
        location = f"127.0.0.1:{served.port}"
        with pytest.raises(ConfigurationError, match=f"udp:{location} belongs to user 12345; use one of yours"):
            open_channel(location)
        assert not served.peers
        owners[0] = {os.geteuid()}
        channel = open_channel(location)
        owners[0] = {12345}
        assert channel.call(framing.CBOR, b"\x04") == b"\0"
        assert channel.call(framing.MSG, PIN) == b"\0"
        with pytest.raises(ConfigurationError, match="belongs to user 12345"):
            channel.call(framing.CBOR, PIN)
        owners[0] = set()
        with pytest.raises(AuthenticatorError, match=f"nobody listens at udp:{location}; start the authenticator"):
            channel.call(framing.CBOR, PIN)
        channel.close()


def test_no_pin_goes_to_a_port_that_nobody_has_any_more() -> None:
    with token() as served:
        channel = open_channel(f"127.0.0.1:{served.port}")
        served.end()
        with pytest.raises(AuthenticatorError, match=f"nobody listens at udp:127.0.0.1:{served.port}"):
            channel.call(framing.CBOR, PIN)
        channel.close()


def test_whose_a_port_is_must_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> set[int]:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(peers, "udp_owners", refuse)
    with pytest.raises(
        ConfigurationError, match=r"the owner of udp:127.0.0.1:1 cannot be found out \(No such .*\); mount /proc"
    ):
        open_channel("127.0.0.1:1")


def test_nobody_who_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hid, "SILENCE", 0.2)
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(AuthenticatorError, match="does not answer; start it again, or correct the address"):
            open_channel(f"127.0.0.1:{silent.getsockname()[1]}")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EAFNOSUPPORT, r"as this process may have no such socket \(Address family not supp"),
        (errno.EMFILE, "^this process can open no more files; "),
    ],
)
def test_a_process_that_gets_no_socket_is_told_why(monkeypatch: pytest.MonkeyPatch, number: int, told: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("_socket.socket", refuse)
    with pytest.raises(SecurityKeyError, match=told):
        open_channel("127.0.0.1:1")


@pytest.fixture
def reports() -> Iterator[tuple[udp._DatagramReports, socket.socket, int]]:
    """Reports to a token at 127.0.0.1, its socket, and the port of ours."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        for each in (ours, theirs):
            each.bind(("127.0.0.1", 0))
        yield udp._DatagramReports(ours, theirs.getsockname()), theirs, ours.getsockname()[1]


def test_a_report_is_a_datagram(reports: tuple[udp._DatagramReports, socket.socket, int]) -> None:
    ours, theirs, port = reports
    ours.send(bytes(64))
    assert theirs.recv(100) == bytes(64)
    assert ours.receive(0.01) is ours.receive(0) is None
    for content in (bytes(range(64)), b"short"):
        theirs.sendto(content, ("127.0.0.1", port))
        assert ours.receive(1) == content
    # What is too long must not be taken for a report.
    theirs.sendto(bytes(100), ("127.0.0.1", port))
    assert len(ours.receive(1) or b"") > framing.REPORT_SIZE


def test_what_another_address_sends_is_passed_over(reports: tuple[udp._DatagramReports, socket.socket, int]) -> None:
    ours, theirs, port = reports
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        other.sendto(bytes(64), ("127.0.0.1", port))
        assert ours.receive(1) is None
    theirs.sendto(b"ours", ("127.0.0.1", port))
    assert ours.receive(1) == b"ours"


def test_a_failure_is_told(reports: tuple[udp._DatagramReports, socket.socket, int]) -> None:
    ours, theirs, _ = reports
    ours.close()
    sentence = (
        f"nobody answers at udp:127.0.0.1:{theirs.getsockname()[1]} (Bad file descriptor); start the authenticator"
    )
    with pytest.raises(AuthenticatorError) as caught:
        ours.send(bytes(64))
    assert str(caught.value) == sentence


def test_a_socket_that_fails_is_told(reports: tuple[udp._DatagramReports, socket.socket, int]) -> None:
    ours, theirs, _ = reports
    # Where nobody listens any more, a connected socket is told by the kernel.
    ours._socket.connect(theirs.getsockname())
    theirs.close()
    ours._socket.send(bytes(64))
    with pytest.raises(AuthenticatorError, match=r"nobody answers at udp:127.0.0.1:\d+ \(Connection refused\)"):
        ours.receive(1)
