"""The software authenticator as a test wants it: behind whatever carries commands, and slow, silent or gone at will."""

from __future__ import annotations

import os
import select
import shutil
import sys
import tempfile
import threading
import time
import tty

from sk_provider.authenticator import profiles
from sk_provider.authenticator.presence import CANCELLED, GRANTED
from sk_provider.authenticator.store import Store
from sk_provider.ctap.framing import INIT_PACKET, KEEPALIVE, REPORT_SIZE
from sk_provider.device_side.ctaphid import KEEPALIVE_INTERVAL
from sk_provider.device_side.hid import HidServer
from sk_provider.device_side.loop import Loop
from sk_provider.device_side.udp import UdpServer
from sk_provider.device_side.unix import UnixServer
from sk_provider.virtual_key.key import VirtualKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Self

    from sk_provider.authenticator.engine import Authenticator
    from sk_provider.authenticator.event import Event
    from sk_provider.authenticator.power_up import OnKeepalive
    from sk_provider.authenticator.presence import PresenceRequest
    from sk_provider.device_side.job import Job
    from sk_provider.device_side.loop import Server

_BRIDGE = os.path.join(os.path.dirname(__file__), "bridge.py")
_TICK = 0.01
_END_PATIENCE = 10.0
_SEND_PATIENCE = 3.0


class Unplugged(Exception):
    """The token is gone: whatever carries its messages must break off as if it had been pulled out."""


class Token:
    """A software authenticator, from its making to close() or the end of a with statement.

    It is reached in one of these ways, all of which end when it is unplugged:

    - unix_path(): CTAPHID reports of 64 bytes, one after another, on a Unix stream socket;
    - bridge(): the same, or whole messages, on the standard streams of a program;
    - terminal(): the same at a terminal; carry(): on other file descriptors, such as each connection to a TCP port;
    - udp_address(): one report in each datagram;
    - call(): messages, for a framing of your own; start() for what serves by device_side.job.

    What a test may set, at any time:

    comes_after: seconds until somebody touches it, None for never. seconds: how long each command takes. is_silent:
    nothing is answered; is_sparing: no keep-alives are sent. answer: what each command is answered with instead, if not
    None. dies_at: how many more commands it takes until the one on whose coming it is unplugged, None for none. spoil:
    returns what is sent instead of a report.

    What a test may look at: commands: what has come, a CTAPHID command and data each; cancellations: how many were
    cancelled; is_blinking: whether it waits for somebody; folder: the path, a short str, of a folder of its own.
    """

    def __init__(self) -> None:
        self.comes_after: float | None = 0.0
        self.seconds = 0.0
        self.is_silent = False
        self.is_sparing = False
        self.answer: bytes | None = None
        self.dies_at: int | None = None
        self.spoil: Callable[[bytes], list[bytes]] = lambda report: [report]
        self.commands: list[tuple[int, bytes]] = []
        self.cancellations = 0
        self.is_blinking = False
        self.folder = tempfile.mkdtemp(prefix="pysk-")
        self._is_unplugged = threading.Event()
        self._at_the_end: list[Callable[[], object]] = []
        self._servers: list[Server] = []
        self._loop = Loop()
        self._key = _Key(self, Store.create(os.path.join(self.folder, "store")), self._loop.wake)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def unix_path(self) -> str:
        """Return the path of a Unix stream socket at which it answers reports."""
        path = os.path.join(self.folder, f"socket{len(self._servers)}")
        self._add(_UnixServer(path, self._key, self._loop))
        return path

    def bridge(self, *, messages: bool = False) -> list[str]:
        """Return the command of a program on whose standard streams it answers, as `pysk serve` does.

        messages: as at stdio:messages, instead of reports as at stdio:.
        """
        return [sys.executable, "-I", _BRIDGE, self.unix_path(), *(["messages"] if messages else [])]

    def udp_address(self) -> tuple[str, int]:
        """Return the host and port at which it answers datagrams of a report each."""
        server = _UdpServer("127.0.0.1", 0, self._key, self._loop, lambda: None)
        self._add(server)
        host, port = server.name[4:].rsplit(":", 1)
        return host, int(port)

    def terminal(self, *, is_numbered: bool = False) -> str:
        """Return the path of a terminal, as of a serial line, at which it answers reports. is_numbered: see carry()."""
        end, other = os.openpty()
        tty.setraw(other)
        # Without anybody at the other end, nothing could be read at this one.
        self.at_the_end(lambda: os.close(other))
        self.carry(end, is_numbered=is_numbered)
        return os.ttyname(other)

    def carry(self, reader: int, writer: int | None = None, *, is_numbered: bool = False) -> None:
        """Answer reports on file descriptors, from now on, in a thread that is there anyway.

        It closes them once it is unplugged, or the other end is. (So give it what socket.detach() returns.)

        writer: the reader, if None. is_numbered: whether a byte, the report's number, comes before each that is read.
        """
        self._add(
            _DescriptorServer(
                self._key, self._loop, reader, reader if writer is None else writer, 1 if is_numbered else 0
            )
        )

    def at_the_end(self, function: Callable[[], object]) -> None:
        """Have a function called, in another thread, once it is unplugged: one that breaks a connection off."""
        self._at_the_end.append(function)

    def start(self, caller: object, command: int, data: bytes) -> Job:
        """See device_side.job.PluggedIn."""
        return self._key.start(caller, command, data)

    def call(
        self,
        command: int,
        data: bytes,
        cancelled: Callable[[], bool] = lambda: False,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """Carry out a CTAPHID command, 0x03 MSG or 0x10 CBOR, and return the response.

        cancelled: returns whether the client has cancelled it; on_keepalive: is called with the status of each
        keep-alive that is due.

        Raises Unplugged.
        """
        job = self._key.start(self, command, data)
        due = time.monotonic() + KEEPALIVE_INTERVAL
        while not self._is_unplugged.wait(_TICK):
            if cancelled():
                job.cancel()
            if self.is_silent or self._loop.is_stopping():
                continue
            if job.response is not None:
                return job.response
            if on_keepalive is not None and not self.is_sparing and time.monotonic() >= due:
                due += KEEPALIVE_INTERVAL
                on_keepalive(job.status)
        raise Unplugged

    def unplug(self) -> None:
        """Break every connection off, in the middle of whatever is said."""
        self._loop.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join(_END_PATIENCE)

    def close(self) -> None:
        """Unplug it, and remove its folder."""
        self.unplug()
        self._key.close()
        self._loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _add(self, server: Server) -> None:
        self._servers.append(server)
        self._loop.wake()

    def _serve(self) -> None:
        self._loop.run(self._servers)
        for server in self._servers:
            server.close()
        for function in self._at_the_end:
            function()
        # Only now does what it does come to an end, so that nobody hears of that.
        self._is_unplugged.set()

    def _take(self, command: int, data: bytes) -> None:
        self.commands.append((command, data))
        if self.dies_at is not None:
            self.dies_at -= 1
            if self.dies_at < 0:
                self.unplug()

    def _sent(self, report: bytes) -> list[bytes]:
        """Return what is sent in the stead of a report."""
        is_keepalive = report[4] == KEEPALIVE | INIT_PACKET
        if self._loop.is_stopping() or self.is_silent or (self.is_sparing and is_keepalive):
            return []
        return self.spoil(report)

    def _wait(self, seconds: Callable[[], float | None], is_over: Callable[[], bool]) -> None:
        """Wait for so many seconds, which may change meanwhile, None for ever."""
        began = time.monotonic()
        while (limit := seconds()) is None or time.monotonic() < began + limit:
            if is_over() or self._is_unplugged.wait(_TICK):
                return

    def _touch(self, _request: PresenceRequest, event: Event | None) -> int:
        def is_over() -> bool:
            return event is not None and event.is_set()

        self.is_blinking = True
        self._wait(lambda: self.comes_after, is_over)
        self.is_blinking = False
        return CANCELLED if is_over() or self._is_unplugged.is_set() else GRANTED


class _Key(VirtualKey):
    """The software authenticator, to which things happen as its token says."""

    def __init__(self, token: Token, store: Store, wake: Callable[[], None]) -> None:
        self._token = token
        super().__init__(store, token._touch, profiles.profile(profiles.DEFAULT), lambda _: None, wake)  # noqa: SLF001

    def start(self, caller: object, command: int, data: bytes) -> Job:
        """See VirtualKey."""
        self._token._take(command, data)  # noqa: SLF001
        return super().start(caller, command, data)

    def answer(
        self,
        authenticator: Authenticator,
        caller: object,
        command: int,
        data: bytes,
        cancelled: Event,
        on_keepalive: OnKeepalive | None,
    ) -> bytes:
        """See VirtualKey."""
        token = self._token
        token._wait(lambda: None if token.is_silent else token.seconds, cancelled.is_set)  # noqa: SLF001
        instead = token.answer
        response = (
            super().answer(authenticator, caller, command, data, cancelled, on_keepalive)
            if instead is None
            else instead
        )
        token.cancellations += cancelled.is_set()
        return response


class _UnixServer(UnixServer):
    def __init__(self, path: str, key: _Key, loop: Loop) -> None:
        self._token = key._token  # noqa: SLF001
        super().__init__(path, key, loop)

    def send(self, report: bytes, peer: Any) -> None:
        """See HidServer."""
        for each in self._token._sent(report):  # noqa: SLF001
            super().send(each, peer)


class _UdpServer(UdpServer):
    def __init__(self, host: str, port: int, key: _Key, loop: Loop, power_cycle: Callable[[], None]) -> None:
        self._token = key._token  # noqa: SLF001
        super().__init__(host, port, key, loop, power_cycle)

    def send(self, report: bytes, peer: Any) -> None:
        """See HidServer."""
        for each in self._token._sent(report):  # noqa: SLF001
            super().send(each, peer)


class _DescriptorServer(HidServer[int]):
    """Reports one after another on two file descriptors."""

    def __init__(self, key: _Key, loop: Loop, reader: int, writer: int, before: int) -> None:
        """before: how many bytes come before each report that is read."""
        super().__init__(key)
        self._before = before
        self.name = f"descriptors {reader} and {writer}"
        self._token = key._token  # noqa: SLF001
        self._loop = loop
        self._reader, self._writer = reader, writer
        self._is_open = True
        self._received = b""
        for descriptor in (reader, writer):
            os.set_blocking(descriptor, False)
        loop.watch(reader, self._readable)

    def send(self, report: bytes, peer: int) -> None:  # noqa: ARG002 - there is one peer
        """See HidServer; who does not read loses what comes."""
        for each in self._token._sent(report):  # noqa: SLF001
            try:
                self._send(each)
            except OSError:
                return

    def _send(self, data: bytes) -> None:
        while data and self._is_open and select.select([], [self._writer], [], _SEND_PATIENCE)[1]:
            data = data[os.write(self._writer, data) :]

    def _readable(self) -> None:
        try:
            data = os.read(self._reader, self._before + REPORT_SIZE - len(self._received))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.forget(self._reader)
            self.close()
            return
        self._received += data
        if len(self._received) == self._before + REPORT_SIZE:
            report, self._received = self._received[self._before :], b""
            self.receive(report, self._reader)

    def close(self) -> None:
        """Close the descriptors, whose numbers may be others' after that."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.unwatch(self._reader)
        for descriptor in {self._reader, self._writer}:
            os.close(descriptor)
