"""Serving a real authenticator at a Unix socket: one client at a time, through the gate of share.py."""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading

from . import selection
from .authenticator.job import Job
from .authenticator.servers.unix import UnixServer
from .ctap import framing, status
from .errors import Interrupted, SecurityKeyError, printable
from .operation import Operation
from .share import Gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .authenticator.servers.loop import Loop
    from .config import Configuration
    from .transports import Channel

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
_COMMAND_LINE_SHOWN = 120
_END_PATIENCE = 5.0
"""Seconds in which the last command must end, once it is cancelled."""


class SharedAuthenticator:
    """Stands for the authenticator behind a HID interface: see servers.hid.PluggedIn.

    Its commands run in a thread of its own, one after the other. The authenticator itself is open only while there is
    a client, so that this machine's own programs can use it in between.
    """

    def __init__(self, address: str | None, configuration: Configuration, say: Callable[[str], None]) -> None:
        """Look at the authenticator once. Raises SecurityKeyError if there is none, or it cannot be used."""
        self.spoils = False
        self.wake: Callable[[], None] = lambda: None
        self._address = address
        self._configuration = configuration
        self._say = say
        self._client = ""
        self._gate: Gate | None = None
        self._channel: Channel | None = None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        channel = self._open()
        self.capabilities = channel.capabilities
        channel.close()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def begin(self, client: str) -> None:
        """Note who the next commands come from."""
        self._client = client

    def end(self) -> None:
        """Let the authenticator go, once what was begun has ended."""
        self._jobs.put(Job(framing.CANCEL, b""))

    def start(self, command: int, data: bytes) -> Job:
        """Hand over a CTAPHID MSG or CBOR command; its job gets the response."""
        job = Job(command, data)
        self._jobs.put(job)
        return job

    def count_packet(self) -> None:
        """See PluggedIn."""

    def wink(self) -> None:
        """Tell the person what the client wants shown."""
        self._tell("winks")

    def close(self) -> None:
        """End the thread, and let the authenticator go."""
        self._jobs.put(None)
        self._thread.join(_END_PATIENCE)

    def _tell(self, what: str) -> None:
        self._say(printable(f"{self._client} {what}"))

    def _open(self) -> Channel:
        operation = Operation(self._configuration.timeout)
        return selection.open_for_management(self._address, self._configuration, operation)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.command == framing.CANCEL:
                self._let_go()
                continue
            job.response = self._answer(job)
            self.wake()
        self._let_go()

    def _let_go(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = self._gate = None

    def _answer(self, job: Job) -> bytes:
        def on_keepalive(keepalive_status: int) -> None:
            job.status = keepalive_status
            self.wake()

        try:
            if self._gate is None:
                self._channel = self._open()
                self._gate = Gate(self._channel, self._tell)
        except SecurityKeyError as error:
            self._tell(f"cannot be served: {error}")
            return bytes([status.OTHER]) if job.command == framing.CBOR else b"\x6f\x00"
        return self._gate.call(job.command, job.data, _UntilCancelled(job, self._configuration), on_keepalive)


class _UntilCancelled:
    """The event of one job: its client has cancelled it or is gone, or the person does not come."""

    def __init__(self, job: Job, configuration: Configuration) -> None:
        self._job = job
        self._operation = Operation(configuration.timeout)

    def is_set(self) -> bool:
        return self._job.cancelled.is_set() or self._operation.is_set()

    def reason(self) -> SecurityKeyError:
        if self._job.cancelled.is_set():
            return Interrupted("the client gave up", "nothing is to be done")
        return self._operation.reason()


class SharingServer(UnixServer):
    """A socket for one client, which it can name."""

    def __init__(self, path: str, shared: SharedAuthenticator, loop: Loop) -> None:
        """Listen on path, see UnixServer."""
        super().__init__(path, shared, loop, max_clients=1)
        self._shared = shared

    def welcome(self, client: socket.socket) -> None:
        """Note the client's process: for a forwarded socket that is the ssh that forwards it."""
        process, _, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        self._shared.begin(f"process {process} ({_command_line(process)})")

    def forget(self, peer: socket.socket) -> None:
        """Drop the client, and let the authenticator go."""
        super().forget(peer)
        self._shared.end()


def _command_line(process: int) -> str:
    try:
        descriptor = os.open(f"/proc/{process}/cmdline", os.O_RDONLY)
    except OSError:
        return "gone"
    try:
        words = os.read(descriptor, 4096).rstrip(b"\0").split(b"\0")
    finally:
        os.close(descriptor)
    return b" ".join(words).decode(errors="replace")[:_COMMAND_LINE_SHOWN]
