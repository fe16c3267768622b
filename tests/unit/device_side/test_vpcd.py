from __future__ import annotations

import socket
import struct
from contextlib import ExitStack

import pytest

from sk_provider.device_side.job import Job
from sk_provider.device_side.loop import Loop
from sk_provider.device_side.vpcd import ATR, CONTROL_ATR, VpcdServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Nothing:
    """What is asked of no command."""

    capabilities = 0

    def announced(self) -> int:
        return 0

    def limit_requests(self, size: int) -> None:
        raise AssertionError

    def start(self, caller: object, command: int, data: bytes) -> Job:
        raise AssertionError

    def wink(self) -> None:
        raise AssertionError


@pytest.fixture
def pair() -> Iterator[tuple[VpcdServer, socket.socket]]:
    """A card, and the reader's end of the connection to it."""
    with ExitStack() as stack:
        loop = Loop()
        stack.callback(loop.close)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = VpcdServer("127.0.0.1", listener.getsockname()[1], Nothing(), loop, None)
        stack.callback(server.close)
        yield server, stack.enter_context(listener.accept()[0])


def test_what_comes_is_acknowledged_before_there_is_anything_to_send(pair: tuple[VpcdServer, socket.socket]) -> None:
    server, reader = pair
    request = struct.pack(">HB", 1, CONTROL_ATR)
    # By then the kernel takes the connection for one on which every message is soon answered.
    for _ in range(10):
        reader.sendall(request)
        server._readable()
        assert reader.recv(64) == struct.pack(">H", len(ATR)) + ATR
    reader.sendall(request[:2])
    server._readable()
    assert server._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
