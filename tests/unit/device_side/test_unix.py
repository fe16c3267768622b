"""A folder of sockets that somebody keeps locked: whoever can open a folder can lock it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager

import pytest

from sk_provider.device_side import unix
from sk_provider.device_side.errors import ServeError
from sk_provider.device_side.loop import Loop
from sk_provider.device_side.unix import UnixListener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

LOCKED = r"another program keeps .* locked; choose a path in a folder that only you can open"


class Nobody:
    """Takes note of no client."""

    def welcome(self, peer: socket.socket) -> None:
        raise AssertionError

    def may_give_way(self, peer: socket.socket) -> bool:
        raise AssertionError

    def receive(self, untrusted_report: bytes, peer: socket.socket) -> None:
        raise AssertionError

    def forget(self, peer: socket.socket) -> None:
        raise AssertionError


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_folder_that_is_kept_locked_is_told(sockets: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "LOCK_PATIENCE", 0.1)
    with locked(sockets), pytest.raises(ServeError, match=LOCKED):
        UnixListener(f"{sockets}/socket", loop, Nobody())
    assert list(sockets.iterdir()) == []
    UnixListener(f"{sockets}/socket", loop, Nobody()).close()


def test_whoever_waits_for_the_lock_hears_that_it_shall_stop(
    sockets: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "LOCK_PATIENCE", 3600)
    loop.stop()
    with locked(sockets), pytest.raises(ServeError, match=LOCKED):
        UnixListener(f"{sockets}/socket", loop, Nobody())


def test_the_socket_goes_with_its_server_all_the_same(
    sockets: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "LOCK_PATIENCE", 0.1)
    listener = UnixListener(f"{sockets}/socket", loop, Nobody())
    with locked(sockets):
        listener.close()
    assert list(sockets.iterdir()) == []
