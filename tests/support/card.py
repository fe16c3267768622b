"""A card that `pysk serve vpcd:` puts into a reader, the reader's side of the connection to it, and what is between."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from struct import pack

from support.serve import PATIENCE, Served, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

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
def reader(*options: str, presence: str = "auto", fault: str = "") -> Iterator[Reader]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve(*options, f"vpcd:127.0.0.1:{listener.getsockname()[1]}", presence=presence, fault=fault) as served,
        listener.accept()[0] as connection,
    ):
        yield Reader(connection, served)


class PassedOn:
    """A card in a real reader, each of whose commands passes through here.

    ``answer`` is asked for each command: it returns what to answer in the card's stead, or None to pass it on.
    """

    def __init__(self, port: int, answer: Callable[[bytes], bytes | None], *options: str) -> None:
        """Name the port at which the reader awaits its card; options: of ``pysk serve``."""
        self.commands: list[bytes] = []
        self._port = port
        self._answer = answer
        self._options = options
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            card = stack.enter_context(reader(*self._options))
            slot = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
            slot.settimeout(None)
            thread = threading.Thread(target=self._pass_on, args=(Reader(slot, card.served), card))
            thread.start()
            stack.callback(thread.join)
            stack.callback(slot.shutdown, socket.SHUT_RDWR)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _pass_on(self, slot: Reader, card: Reader) -> None:
        # Until the card is taken out.
        with slot.connection, suppress(AssertionError, OSError):
            while True:
                message = slot.hear()
                if len(message) == 1:
                    card.tell(message)
                    if message == ATR:
                        slot.tell(card.hear())
                    continue
                self.commands.append(message)
                slot.tell(self._answer(message) or card.ask(message))
