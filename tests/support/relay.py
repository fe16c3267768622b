"""A relay between the provider and a token on Unix sockets, which records every report and can spoil any of them."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

from sk_provider.ctap import framing
from support.messages import name_of
from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from typing_extensions import Self

    Spoil = Callable[[str, int, bytes], list[bytes] | None]
    Connect = Callable[..., AbstractContextManager["Relay"]]

TO_TOKEN = "to token"
TO_CLIENT = "to client"


class Report:
    """One report: where it went and when, in seconds of the monotonic clock, and what its header says."""

    def __init__(self, direction: str, content: bytes) -> None:
        self.direction = direction
        self.at = time.monotonic()
        self.content = content
        self.begins_message = bool(content[4] & framing.INIT_PACKET)
        self.command = content[4] & ~framing.INIT_PACKET
        self.is_answer = self.begins_message and self.command != framing.KEEPALIVE


class Relay:
    """Listens at ``path`` and passes reports on to and from the token at ``target``.

    ``spoil`` is asked for each report, with its direction and its number in all: it returns the reports to pass on
    instead of it, or None to cut the connection.
    """

    def __init__(self, path: Path, target: Path, spoil: Spoil | None = None) -> None:
        self.address = f"unix:{path}"
        self.reports: list[Report] = []
        self._target = target
        self._spoil = spoil
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._cut(self._listener, *self._open)

    def transactions(self) -> list[int]:
        """Return the commands of the messages that the client has sent, in order."""
        return [report.command for report in self.reports if report.direction == TO_TOKEN and report.begins_message]

    def messages(self) -> list[str]:
        """Return the names of those messages, which tell CTAP2 commands apart."""
        sent = [name_of(report.content) for report in self.reports if report.direction == TO_TOKEN]
        return [name for name in sent if name]

    def answers(self) -> int:
        """Return how many messages the token has sent, keep-alives aside."""
        return len([each for each in self.reports if each.direction == TO_CLIENT and each.is_answer])

    def touches(self) -> int:
        """Return for how many of the client's messages the token waited for a person."""
        touches, is_counted = 0, False
        for report in self.reports:
            if report.direction == TO_TOKEN:
                is_counted = False
            elif report.begins_message and report.command == framing.KEEPALIVE and not is_counted:
                is_counted = report.content[7] == framing.STATUS_UPNEEDED
                touches += is_counted
        return touches

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            token = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            token.connect(os.fspath(self._target))
            self._open += [client, token]
            for direction, source, sink in ((TO_TOKEN, client, token), (TO_CLIENT, token, client)):
                threading.Thread(target=self._copy, args=(direction, source, sink), daemon=True).start()

    def _copy(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            while len(content := source.recv(framing.REPORT_SIZE, socket.MSG_WAITALL)) == framing.REPORT_SIZE:
                with self._lock:
                    number = len(self.reports)
                    self.reports.append(Report(direction, content))
                passed_on = [content] if self._spoil is None else self._spoil(direction, number, content)
                if passed_on is None:
                    break
                sink.sendall(b"".join(passed_on))
        except OSError:
            pass
        self._cut(source, sink)

    @staticmethod
    def _cut(*sockets: socket.socket) -> None:
        for each in sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


class Patience:
    """Holds an authenticator's answers back, as a spoil, until something has happened to others.

    Authenticators are asked at the same time, so otherwise it is a matter of chance what is said to these before.
    """

    def __init__(self) -> None:
        self.until: Callable[[], bool] = lambda: True

    def __call__(self, direction: str, _number: int, content: bytes) -> list[bytes]:
        """See Relay."""
        if direction == TO_CLIENT:
            wait_until(self.until, "what another authenticator's answers wait for")
        return [content]


CAPABILITIES = 7 + 16
"""Where the capabilities stand in the report of an answer to INIT."""


def announce_ctap2(direction: str, _number: int, content: bytes) -> list[bytes]:
    """Spoil answers to INIT: a token announces CTAP2, whether or not it speaks it."""
    if direction == TO_CLIENT and content[4] == framing.INIT | framing.INIT_PACKET:
        capabilities = content[CAPABILITIES] | framing.CAPABILITY_CBOR
        return [content[:CAPABILITIES] + bytes([capabilities]) + content[CAPABILITIES + 1 :]]
    return [content]
