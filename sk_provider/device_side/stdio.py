"""CTAPHID on standard input and output, for the one client that has the other ends of them."""

from __future__ import annotations

import os
import select
import time
import tty
from struct import Struct

from sk_provider.ctap.framing import (
    BROADCAST_CHANNEL,
    INIT,
    INIT_PACKET,
    MAX_MESSAGE_SIZE,
    REPORT_SIZE,
    split_message,
)

from .errors import ServeError
from .hid import HidServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .job import PluggedIn
    from .loop import Loop

READ_SIZE = 64 * REPORT_SIZE
WRITE_PATIENCE = 3.0
"""Seconds in which the client must take what it is sent."""
TICK = 0.01
"""Seconds after which a stream that is not ready after all is looked at again."""

_REMEDY = "let the program that uses the authenticator start this"
_STDIN, _STDOUT = 0, 1
_HEADER = Struct(">BH")
"""Of a message: a CTAPHID command (CTAP 2.1 §11.2.9), and how many bytes of data follow."""


class StdioServer(HidServer[str]):
    """Serves reports of 64 bytes, one after the other, as at a Unix socket."""

    name = "stdio:"

    def __init__(self, plugged_in: PluggedIn, loop: Loop) -> None:
        """Begin. See _Streams."""
        super().__init__(plugged_in)
        self._pending = bytearray()  # what has come of the next report
        self._streams = _Streams(self._take, loop)

    def send(self, report: bytes, peer: str) -> None:  # noqa: ARG002 - there is one peer
        """Send a report. Raises ServeError if the client does not take it."""
        self._streams.write(report)

    def close(self) -> None:
        """Cancel what the client had begun."""
        self.clear()
        self._streams.close()

    def _take(self, untrusted_data: bytes) -> None:
        self._pending += untrusted_data
        while len(self._pending) >= REPORT_SIZE:
            report = bytes(self._pending[:REPORT_SIZE])
            del self._pending[:REPORT_SIZE]
            self.receive(report, self.name)


class StdioMessageServer(HidServer[str]):
    """Serves whole messages, without packets and channels: for clients that have another framing for these."""

    name = "stdio:messages"

    def __init__(self, plugged_in: PluggedIn, loop: Loop) -> None:
        """Begin. See _Streams."""
        super().__init__(plugged_in)
        self._pending = bytearray()  # what has come of the next message
        self._channel = BROADCAST_CHANNEL
        self._message = bytearray()  # what is to be sent, as far as it has been put together
        self._streams = _Streams(self._take, loop)

    def send(self, report: bytes, peer: str) -> None:  # noqa: ARG002 - there is one peer
        """Send a message, once its last report is there. Raises ServeError if the client does not take it."""
        if report[4] & INIT_PACKET:
            self._message = bytearray([report[4] & ~INIT_PACKET]) + report[5:]
        else:
            self._message += report[5:]
        command, length = _HEADER.unpack_from(self._message)
        size = _HEADER.size + length
        if len(self._message) < size:
            return
        if command == INIT:
            self._channel = int.from_bytes(report[15:19], "big")
        self._streams.write(bytes(self._message[:size]))

    def close(self) -> None:
        """Cancel what the client had begun."""
        self.clear()
        self._streams.close()

    def _take(self, untrusted_data: bytes) -> None:
        self._pending += untrusted_data
        while len(self._pending) >= _HEADER.size:
            command, length = _HEADER.unpack_from(self._pending)
            size = _HEADER.size + length
            if command & INIT_PACKET or length > MAX_MESSAGE_SIZE:
                raise ServeError("what comes on standard input is no CTAP message", "check what the client writes")
            if len(self._pending) < size:
                return
            data = bytes(self._pending[_HEADER.size : size])
            del self._pending[:size]
            for report in split_message(self._channel, command, data):
                self.receive(report, self.name)


class _Streams:
    """Standard input and output as bytes, until the client closes either: then the loop is stopped."""

    def __init__(self, take: Callable[[bytes], None], loop: Loop) -> None:
        """Begin to read, and let the bytes of a serial line pass as they are. take: takes what comes.

        Raises ServeError if standard input is nothing that a client could have the other end of.
        """
        self._take = take
        self._loop = loop
        if _is_our_terminal():
            raise ServeError("standard input is a terminal", _REMEDY)
        try:
            loop.watch(_STDIN, self._readable)
        except OSError as error:  # a file, or /dev/null
            raise ServeError(f"nobody can be served on standard input ({error.strerror})", _REMEDY) from None
        if os.isatty(_STDIN):
            tty.setraw(_STDIN)
        self._is_blocking = os.get_blocking(_STDOUT)
        os.set_blocking(_STDOUT, False)

    def write(self, data: bytes) -> None:
        """Send. Raises ServeError if the client does not take it in time."""
        poll = select.poll()
        poll.register(_STDOUT, select.POLLOUT)
        deadline = time.monotonic() + WRITE_PATIENCE
        while data:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise ServeError("nobody reads what is sent on standard output", "start this and its client again")
            try:
                data = data[os.write(_STDOUT, data) :]
            except BlockingIOError:  # a pipe has room for less than is written at once
                time.sleep(TICK)
            except OSError:
                self._loop.stop()
                return

    def close(self) -> None:
        """Leave the streams as they were."""
        os.set_blocking(_STDOUT, self._is_blocking)
        self._loop.unwatch(_STDIN)

    def _readable(self) -> None:
        try:
            untrusted_data = os.read(_STDIN, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:  # the other end of a line is gone
            untrusted_data = b""
        if untrusted_data:
            self._take(untrusted_data)
        else:
            self._loop.stop()


def _is_our_terminal() -> bool:
    try:
        return os.tcgetpgrp(_STDIN) > 0
    except OSError:
        return False
