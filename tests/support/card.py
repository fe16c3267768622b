"""A card that `pysk serve vpcd:` puts into a reader, and the reader's side of the connection to it."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from struct import pack

from support.serve import PATIENCE, Served, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SELECT = bytes.fromhex("00a4040008a0000006472f000100")
GET_INFO = bytes.fromhex("80100000010400")  # without keep-alives
SELECTION = bytes.fromhex("80108000010b00")
GET_RESPONSE = bytes.fromhex("8011000000")
OFF, ON, RESET, ATR = b"\0", b"\1", b"\2", b"\4"


class Reader:
    """vpcd's side of the connection to a card."""

    def __init__(self, connection: socket.socket, served: Served) -> None:
        self.connection = connection
        self.served = served
        connection.settimeout(PATIENCE)

    def tell(self, message: bytes) -> None:
        self.connection.sendall(pack(">H", len(message)) + message)

    def ask(self, message: bytes) -> bytes:
        self.tell(message)
        return self.hear()

    def hear(self) -> bytes:
        return self._read(int.from_bytes(self._read(2), "big"))

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.connection.recv(size - len(data))
            assert part, "the card is gone"
            data += part
        return data


@contextmanager
def reader(*options: str, presence: str = "auto") -> Iterator[Reader]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve(*options, f"vpcd:127.0.0.1:{listener.getsockname()[1]}", presence=presence) as served,
        listener.accept()[0] as connection,
    ):
        yield Reader(connection, served)
