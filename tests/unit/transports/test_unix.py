"""The transport over Unix sockets, with a listener in the test's own process."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sk_provider import config
from sk_provider.config import Configuration
from sk_provider.ctap import framing, hid
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound, SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.transports import unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.ctap.hid import HidChannel

REPORT = bytes(range(64))
LISTEN = """
import os, socket, sys
os.setuid(12345)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("listening", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(sockets: Path) -> str:
    return str(sockets / "token")


def open_channel(path: str) -> HidChannel:
    return unix.open(path, Configuration(), Operation(30), may_create=False)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def listener(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        yield listening


def serve_one_init(listening: socket.socket) -> None:
    """Answer INIT in two pieces, and let the connection go."""
    peer, _ = listening.accept()
    with peer:
        report = peer.recv(64, socket.MSG_WAITALL)
        data = report[7:15] + b"\0\0\0\1\2\0\0\0\4"
        answer = (report[:5] + len(data).to_bytes(2, "big") + data).ljust(64, b"\0")
        peer.sendall(answer[:10])
        time.sleep(0.05)
        peer.sendall(answer[10:])


def test_a_token_behind_a_socket_is_reached_and_its_end_is_told(path: str) -> None:
    with listener(path) as listening:
        server = threading.Thread(target=serve_one_init, args=(listening,))
        server.start()
        channel = open_channel(path)
        server.join()
        assert channel.capabilities == framing.CAPABILITY_CBOR
        with pytest.raises(AuthenticatorError, match=f"the other end of unix:{path} is gone; start or forward it"):
            channel.call(framing.CBOR, b"\x04")
        before = open_files()
        channel.close()
        assert open_files() == before - 1


def test_a_socket_is_found_where_there_is_something(path: str) -> None:
    assert unix.discover(path) == []
    Path(path).touch()
    assert unix.discover(path) == [path]


def test_a_path_is_absolute_or_in_the_home(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "home_directory", lambda: str(sockets))
    (sockets / "token").touch()
    assert unix.discover("~/token") == ["~/token"]
    for call in (unix.discover, open_channel):
        with pytest.raises(ConfigurationError, match=r"unix:token is not an absolute path; begin it with / or ~/"):
            call("token")


@pytest.mark.parametrize("kind", ["nothing", "file", "below a file", "listened to no more"])
def test_nobody_who_listens_is_told(path: str, kind: str) -> None:
    if kind == "listened to no more":
        with listener(path):
            pass
    elif kind != "nothing":
        Path(path).touch()
    asked = f"{path}/token" if kind == "below a file" else path
    before = open_files()
    with pytest.raises(DeviceNotFound, match=f"nobody listens at unix:{asked}; start or forward the authenticator"):
        open_channel(asked)
    assert open_files() == before


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EAFNOSUPPORT, r"as this process may have no such socket \(Address family not supp"),
        (errno.EMFILE, "^this process can open no more files; "),
    ],
)
def test_a_process_that_gets_no_socket_is_told_why(
    path: str, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("_socket.socket", refuse)
    with pytest.raises(SecurityKeyError, match=told):
        open_channel(path)


def test_a_socket_that_cannot_be_reached_is_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticatorError, match=r"cannot be reached \(no answer\); check the socket"):
        open_channel("/" + 200 * "x")
    monkeypatch.setattr(unix, "_SEND_PATIENCE", 0.1)
    before = open_files()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        # Nobody accepts, and there is room for one who waits.
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(path)
            with pytest.raises(AuthenticatorError, match=r"cannot be reached \(no answer\)|temporarily unavailable"):
                open_channel(path)
    assert open_files() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a program that has its rights")
def test_a_socket_of_another_user_is_refused(sockets: Path, path: str) -> None:
    sockets.chmod(0o777)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", LISTEN, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"listening\n"
        before = open_files()
        with pytest.raises(ConfigurationError, match=f"unix:{path} belongs to user 12345; use a socket of your own"):
            open_channel(path)
        assert open_files() == before


def test_a_socket_of_ones_own_or_roots_is_taken(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with listener(path) as listening:
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as ours:
                ours.connect(path)
                listening.accept()[0].close()
                unix._check_peer(ours, path)


class Peer:
    """A socket whose other end is a user's."""

    def __init__(self, user: int) -> None:
        self._user = user

    def getsockopt(self, _level: int, _option: int, size: int) -> bytes:
        return struct.pack("3i", 1, self._user, 1)[:size]


def test_whose_a_socket_is_is_told_by_the_whole_number_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posix.geteuid", lambda: 1000)
    peers: list[Any] = [Peer(user) for user in (0, 1000, 1, 1 << 24, 1001)]
    for peer in peers[:2]:
        unix._check_peer(peer, "/token")
    for peer in peers[2:]:
        with pytest.raises(ConfigurationError, match="belongs to user"):
            unix._check_peer(peer, "/token")


@pytest.fixture
def ends() -> Iterator[tuple[unix._StreamReports, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield unix._StreamReports(ours, "/token"), theirs


def test_reports_are_sent_whole_and_received_whole(ends: tuple[unix._StreamReports, socket.socket]) -> None:
    reports, other = ends
    reports.send(REPORT)
    assert other.recv(100) == REPORT
    assert reports.receive(0.01) is None
    assert reports._socket.gettimeout() == 0.01
    assert reports.receive(0) is None
    other.sendall(REPORT + REPORT[:1])
    assert reports.receive(1) == REPORT
    assert reports.receive(0.01) is None
    other.sendall(REPORT[1:63])
    assert reports.receive(1) is None
    other.sendall(REPORT[63:])
    assert reports.receive(1) == REPORT


def test_an_end_that_takes_nothing_is_gone(
    ends: tuple[unix._StreamReports, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports, other = ends
    monkeypatch.setattr(unix, "_SEND_PATIENCE", 0.1)
    with pytest.raises(AuthenticatorError, match="the other end of unix:/token is gone"):
        send_without_end(reports)
    assert other.recv(64) == REPORT


def send_without_end(reports: unix._StreamReports) -> None:
    while True:
        reports.send(REPORT)


def test_an_end_that_is_closed_is_gone(ends: tuple[unix._StreamReports, socket.socket]) -> None:
    reports, other = ends
    other.close()
    with pytest.raises(AuthenticatorError, match="is gone"):
        reports.receive(1)
    # Without a signal, whatever the host does with that one.
    kept = signal.signal(signal.SIGPIPE, lambda *_: pytest.fail("SIGPIPE"))
    try:
        with pytest.raises(AuthenticatorError, match="is gone"):
            reports.send(REPORT)
    finally:
        signal.signal(signal.SIGPIPE, kept)


def test_an_end_that_is_closed_before_it_has_read_all_is_gone(
    ends: tuple[unix._StreamReports, socket.socket],
) -> None:
    reports, other = ends
    reports.send(REPORT)
    other.close()
    with pytest.raises(AuthenticatorError, match="is gone"):
        reports.receive(1)


def test_a_silent_end_is_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hid, "SILENCE", 0.2)
    before = open_files()
    with listener(path), pytest.raises(AuthenticatorError, match="does not answer; unplug it, plug it in"):
        open_channel(path)
    assert open_files() == before
