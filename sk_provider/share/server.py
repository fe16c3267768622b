"""Serving a real authenticator at a Unix socket: clients take turns, each through a gate of its own (gate.py)."""

from __future__ import annotations

import functools
import os
import socket
import struct
import time

from sk_provider.client import selection
from sk_provider.ctap.status import StatusError
from sk_provider.device_side.ctaphid import CtapHid
from sk_provider.device_side.job import Job, cancellation, failure
from sk_provider.device_side.unix import UnixListener
from sk_provider.device_side.worker import Worker
from sk_provider.errors import Interrupted, SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.reporting import printable

from .gate import ANSWERED, GOES_ON, Gate, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sk_provider.client.token import Token
    from sk_provider.config import Configuration
    from sk_provider.device_side.loop import Loop
    from sk_provider.device_side.worker import OnKeepalive

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
_COMMAND_LINE_SHOWN = 120
_IDLE_PATIENCE = 10.0
"""Seconds in which a client must get something from the person, or its turn ends."""
_SHOWING_PATIENCE = 2.0
"""Seconds in which what a client asks for must be shown, or it is refused."""


class SharedAuthenticator:
    """The authenticator, and whose turn it is: a client's lasts from its first command until it goes, or is idle.

    Idle is also who asks for nothing but what costs the person nothing, or what is refused: a turn is not to be held
    by that. No command that is worked on is ended, however long the person takes for it.

    The authenticator itself is open only while there is a turn, so that this machine's own programs can use it in
    between. All methods are for the main thread.
    """

    def __init__(
        self,
        address: str | None,
        configuration: Configuration,
        show: Callable[[str, float], None],
        loop: Loop,
    ) -> None:
        """Look at the authenticator once, until the loop is to stop.

        show: shows the person a line, within so many seconds, or raises OSError.

        Raises SecurityKeyError if there is none, or it cannot be used.
        """
        self._address = address
        self._configuration = configuration
        self._show = show
        self._turn: _Client | None = None
        self._turn_jobs: list[Job] = []  # the commands of the client whose turn it is that have not been counted
        self._turn_ends: float | None = None  # None until the turn's first command is answered
        self._going_on_ends: float | None = None  # until when GOES_ON prolongs the turn; None before the first one
        self._waiting: dict[_Client, Job] = {}  # the one that waits for the longest time first
        self._has_told_of_waiting = False
        self._gate: Gate | None = None
        self._channel: Token | None = None
        operation = Operation(configuration.timeout, loop.is_stopping)
        token = self._open(operation)
        try:
            token.get_info(operation)  # which shows what it speaks, whatever it announces
        except StatusError:
            pass  # in its own way
        finally:
            self.capabilities = token.capabilities
            token.close()
        self._worker = Worker(loop.wake)

    def start(self, client: _Client, command: int, data: bytes) -> Job:
        """Hand over a CTAPHID MSG or CBOR command; its job gets the response once the client has had its turn."""
        job = Job(command, data)
        if self._turn is None or self._turn is client:
            self._begin(client, job)
        else:
            # Once in a turn, however many clients ask: what they want touched in it must stay in sight.
            if not self._has_told_of_waiting:
                self._has_told_of_waiting = True
                self._try_to_tell(client, f"waits until {self._turn.name} has ended")
            self._waiting[client] = job
        return job

    def end(self, client: _Client) -> None:
        """Let the authenticator go, once what the client had begun has ended, and let another have its turn."""
        self._waiting.pop(client, None)
        if self._turn is client:
            self._end_turn(client)

    def is_served(self, client: _Client) -> bool:
        """Return whether it is a client's turn, or it waits for one."""
        return self._turn is client or client in self._waiting

    def tick(self, now: float) -> None:
        """Answer those who wait no longer, as they have cancelled, and end the turn of a client that is idle."""
        for client, job in list(self._waiting.items()):
            if job.cancelled.is_set():
                del self._waiting[client]
                job.response = cancellation(job.command)
        for job in list(self._turn_jobs):
            if job.response is not None:
                self._turn_jobs.remove(job)
                self._prolong_turn(outcome(job.command, job.data, job.response), now)
        if self._turn is not None and not self._turn_jobs and self._turn_ends is not None and now >= self._turn_ends:
            self._end_turn(self._turn)

    def deadline(self) -> float | None:
        """Return when tick is to be called at the latest, if nothing else happens before."""
        is_working = any(job.response is None for job in self._turn_jobs)
        return None if is_working else self._turn_ends

    def close(self) -> None:
        """Let the authenticator go, once the last command has ended."""
        self._worker.do(self._let_go, lambda _what: None)
        self._worker.close()

    def _begin(self, client: _Client, job: Job) -> None:
        self._turn = client
        self._turn_jobs.append(job)
        self._worker.start(job, functools.partial(self._answer, client), functools.partial(self._tell_of_error, client))

    def _prolong_turn(self, outcome: int, now: float) -> None:
        """Set when the turn ends, by what its last command has come to: ANSWERED, GOES_ON or NOTHING."""
        idle_ends = now + _IDLE_PATIENCE
        if self._turn_ends is None:
            self._turn_ends = idle_ends
        if outcome == ANSWERED:
            self._turn_ends, self._going_on_ends = idle_ends, None
        elif outcome == GOES_ON:
            if self._going_on_ends is None:
                self._going_on_ends = now + self._configuration.timeout
            self._turn_ends = max(self._turn_ends, min(idle_ends, self._going_on_ends))

    def _end_turn(self, client: _Client) -> None:
        self._turn, self._turn_jobs = None, []
        self._turn_ends, self._going_on_ends = None, None
        self._has_told_of_waiting = False
        self._worker.do(self._let_go, functools.partial(self._tell_of_error, client))
        if self._waiting:
            following = next(iter(self._waiting))
            self._begin(following, self._waiting.pop(following))

    def _tell(self, client: _Client, what: str, seconds: float = _SHOWING_PATIENCE) -> None:
        self._show(printable(f"{client.name} {what}"), seconds)

    def _tell_of_error(self, client: _Client, what: str) -> None:
        self._tell(client, f"has met an error ({what})")

    def _try_to_tell(self, client: _Client, what: str) -> None:
        """Tell what lets nothing through, so that it need not be known, and nobody waits for it."""
        try:
            self._tell(client, what, 0)
        except OSError:
            pass

    def _open(self, operation: Operation) -> Token:
        return selection.open_for_management(self._address, self._configuration, operation)

    def _let_go(self) -> None:
        channel, self._channel, self._gate = self._channel, None, None
        if channel is not None:
            channel.close()

    def _answer(
        self, client: _Client, command: int, data: bytes, cancelled: threading.Event, on_keepalive: OnKeepalive | None
    ) -> bytes:
        operation = Operation(self._configuration.timeout, cancelled.is_set)
        if self._gate is None:
            try:
                self._channel = self._open(operation)
            except Interrupted:
                return cancellation(command)
            except SecurityKeyError as error:
                self._tell(client, f"cannot be served: {error}")
                return failure(command)
            self._gate = Gate(self._channel, lambda what: self._tell(client, what))
        return self._gate.call(command, data, operation, on_keepalive)


class _Client:
    """One connection: the name of who made it, and a HID interface of its own."""

    def __init__(self, name: str, shared: SharedAuthenticator) -> None:
        self.name = name
        self.hid = CtapHid(
            shared.capabilities,
            lambda: shared.capabilities,
            lambda _caller, command, data: shared.start(self, command, data),  # all channels are one client's
            lambda: None,  # whoever may send WINK at any time is not to fill the screen with it
        )


class SharingServer:
    """A socket for clients that it can name. See loop.Server."""

    def __init__(self, path: str, shared: SharedAuthenticator, loop: Loop) -> None:
        """Listen on path, see UnixListener."""
        self._shared = shared
        self._clients: dict[socket.socket, _Client] = {}
        self._listener = UnixListener(path, loop, self)
        self.name = self._listener.name

    def welcome(self, peer: socket.socket) -> None:
        """Note the client's process: for a forwarded socket that is the ssh that forwards it."""
        process, _, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        self._clients[peer] = _Client(f"process {process} ({_command_line(process)})", self._shared)

    def may_give_way(self, peer: socket.socket) -> bool:
        """See Clients: a client that has asked for nothing, or whose turn is over."""
        return not self._shared.is_served(self._clients[peer])

    def receive(self, untrusted_report: bytes, peer: socket.socket) -> None:
        """Take a report, and answer what can be answered at once."""
        self._send(self._clients[peer].hid.receive(untrusted_report, time.monotonic()), peer)

    def forget(self, peer: socket.socket) -> None:
        """Cancel what the client had begun, and end its turn."""
        client = self._clients.pop(peer)
        client.hid.clear()
        self._shared.end(client)

    def tick(self, now: float) -> None:
        """Send what is due."""
        self._shared.tick(now)
        for peer, client in list(self._clients.items()):
            self._send(client.hid.tick(now), peer)

    def deadline(self) -> float | None:
        """Return when tick is to be called at the latest, by the monotonic clock."""
        deadlines = [self._shared.deadline(), *(client.hid.deadline() for client in self._clients.values())]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def clear(self) -> None:
        """Forget all that was begun."""
        for client in self._clients.values():
            client.hid.clear()

    def close(self) -> None:
        """Let the clients go and remove the socket."""
        self._listener.close()

    def _send(self, reports: list[bytes], peer: socket.socket) -> None:
        for report in reports:
            self._listener.send(report, peer)


def _command_line(process: int) -> str:
    try:
        descriptor = os.open(f"/proc/{process}/cmdline", os.O_RDONLY)
        try:
            words = os.read(descriptor, 4096).rstrip(b"\0").split(b"\0")
        finally:
            os.close(descriptor)
    except OSError:  # also of a process that ends after the opening
        return "gone"
    return b" ".join(words).decode(errors="replace")[:_COMMAND_LINE_SHOWN]
