"""A program that carries its standard streams to a Token's Unix socket and back, as `pysk serve` serves stdio:.

The arguments are the socket's path and, for whole messages instead of reports, "messages".
"""

from __future__ import annotations

import os
import select
import socket
import sys

from sk_provider.ctap.framing import BROADCAST_CHANNEL, INIT, INIT_PACKET, REPORT_SIZE, split_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Framing(Protocol):
        """What turns what comes from one side into what goes to the other."""

        def to_token(self, data: bytes) -> bytes:
            """Return what the token is sent."""

        def to_client(self, data: bytes) -> bytes:
            """Return what the client is sent."""


class Reports:
    """Reports on both sides."""

    def to_token(self, data: bytes) -> bytes:
        """See Framing."""
        return data

    def to_client(self, data: bytes) -> bytes:
        """See Framing."""
        return data


class Messages:
    """The client's side of messages: a CTAPHID command, the length of its data in two bytes, and the data."""

    def __init__(self) -> None:
        self._channel = BROADCAST_CHANNEL
        self._from_client = b""
        self._from_token = b""
        self._message = b""

    def to_token(self, data: bytes) -> bytes:
        """See Framing."""
        self._from_client += data
        reports = b""
        while len(self._from_client) >= 3:
            end = 3 + int.from_bytes(self._from_client[1:3], "big")
            if len(self._from_client) < end:
                break
            reports += b"".join(split_message(self._channel, self._from_client[0], self._from_client[3:end]))
            self._from_client = self._from_client[end:]
        return reports

    def to_client(self, data: bytes) -> bytes:
        """See Framing."""
        self._from_token += data
        messages = b""
        while len(self._from_token) >= REPORT_SIZE:
            report, self._from_token = self._from_token[:REPORT_SIZE], self._from_token[REPORT_SIZE:]
            if report[4] & INIT_PACKET:
                self._message = bytes([report[4] & ~INIT_PACKET]) + report[5:]
            else:
                self._message += report[5:]
            end = 3 + int.from_bytes(self._message[1:3], "big")
            if self._message[0] == INIT:
                self._channel = int.from_bytes(report[15:19], "big")
            if len(self._message) >= end:
                messages += self._message[:end]
        return messages


def main(path: str, framing: Framing) -> None:
    """Carry bytes until either side ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        connected.connect(path)
        while True:
            ready = select.select([0, connected.fileno()], [], [])[0]
            if 0 in ready:
                data = os.read(0, 1 << 16)
                if not data:
                    return
                connected.sendall(framing.to_token(data))
            if connected.fileno() in ready:
                data = connected.recv(1 << 16)
                if not data:
                    return
                data = framing.to_client(data)
                while data:
                    data = data[os.write(1, data) :]


if __name__ == "__main__":
    try:
        main(sys.argv[1], Messages() if sys.argv[2:] else Reports())
    except (OSError, ValueError):  # who is at one end has gone, or sends more than a message may have
        sys.exit(1)
