"""A card in the virtual reader of vsmartcard: the client's side of vpcd's protocol."""

from __future__ import annotations

import socket
import time
from struct import pack

from .errors import ServeError
from .iso7816 import Applet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .job import PluggedIn
    from .loop import Loop

# A message is a length (2 bytes, big-endian) and that many bytes: one of them is a control, more are an APDU.
CONTROL_OFF = 0
CONTROL_ON = 1
CONTROL_RESET = 2
CONTROL_ATR = 4
ATR = bytes.fromhex("3b80800101")  # a contactless card of ISO 14443-4 without historical bytes, PC/SC part 3 §3.1.3.2.3

PATIENCE = 5.0  # seconds for vpcd to take what it is sent


class VpcdServer:
    """A card that is put into the reader when the server begins, and taken out when it ends."""

    def __init__(
        self, host: str, port: int, plugged_in: PluggedIn, loop: Loop, power_cycle: Callable[[], None] | None
    ) -> None:
        """Put the card into the reader that listens at host and port.

        power_cycle: what the reader's cutting the power calls; None if what is plugged in has power from elsewhere.

        Raises ServeError if there is no reader.
        """
        self.name = f"vpcd:{host}:{port}"
        self._loop = loop
        self._power_cycle = power_cycle
        self._applet = Applet(plugged_in.capabilities, plugged_in.announced, plugged_in.start)
        self._pending = bytearray()  # what has come of the next message
        try:
            self._socket = socket.create_connection((host, port), timeout=PATIENCE)
        except OSError as error:
            raise ServeError(f"there is no reader at {self.name} ({error.strerror or error})", "start pcscd") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.watch(self._socket.fileno(), self._readable)

    def receive(self, untrusted_apdu: bytes) -> None:
        """Take a command."""
        self._respond(self._applet.receive(untrusted_apdu, time.monotonic()))

    def send(self, response: bytes) -> None:
        """Give the reader a response. Raises ServeError if the reader is gone."""
        self._write(response)

    def tick(self, now: float) -> None:
        """Send the response that is due."""
        self._respond(self._applet.poll(now))

    def deadline(self) -> float | None:
        """Return when tick is to be called at the latest, by the monotonic clock."""
        return self._applet.deadline()

    def clear(self) -> None:
        """Forget all that was begun."""
        self._applet.reset()

    def close(self) -> None:
        """Take the card out."""
        self.clear()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def _readable(self) -> None:
        try:
            untrusted_data = self._socket.recv(65536)
        except OSError:
            untrusted_data = b""
        if not untrusted_data:
            raise self._gone()
        self._acknowledge()
        self._pending += untrusted_data
        while len(self._pending) >= 2:
            end = 2 + int.from_bytes(self._pending[:2], "big")
            if len(self._pending) < end:
                break
            message = bytes(self._pending[2:end])
            del self._pending[:end]
            self._receive(message)

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge what came, and not only once there is more to send.

        vpcd writes a message's length and its payload one after the other, and holds the one back until it knows that
        the other has arrived. Linux forgets the option each time.
        """
        if hasattr(socket, "TCP_QUICKACK"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _receive(self, untrusted_message: bytes) -> None:
        if len(untrusted_message) != 1:
            self.receive(untrusted_message)
        elif untrusted_message[0] == CONTROL_ATR:
            self._write(ATR)
        elif untrusted_message[0] in (CONTROL_ON, CONTROL_RESET):
            self._applet.reset()
        elif untrusted_message[0] == CONTROL_OFF:
            self._applet.reset()
            if self._power_cycle is not None:
                self._power_cycle()

    def _respond(self, response: bytes | None) -> None:
        if response is not None:
            self.send(response)

    def _write(self, payload: bytes) -> None:
        try:
            self._socket.sendall(pack(">H", len(payload)) + payload)
        except OSError as error:
            raise self._gone() from error

    def _gone(self) -> ServeError:
        return ServeError(f"the reader at {self.name} is gone", "start pcscd again, and then this")
