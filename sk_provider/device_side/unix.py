"""CTAPHID reports on a Unix stream socket that only its owner can open: 64 bytes each, without any framing."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from contextlib import contextmanager

from sk_provider.ctap.framing import REPORT_SIZE

from .errors import ServeError
from .hid import HidServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from .job import PluggedIn
    from .loop import Loop

    class Clients(Protocol):
        """Who is told what the clients of a socket do."""

        def welcome(self, peer: socket.socket) -> None:
            """Take note of a new client."""

        def may_give_way(self, peer: socket.socket) -> bool:
            """Return whether a client, that waits for nothing, may be dropped where there is no room for another."""

        def receive(self, untrusted_report: bytes, peer: socket.socket) -> None:
            """Take a report of 64 bytes."""

        def forget(self, peer: socket.socket) -> None:
            """Take note that a client is gone."""


MAX_CLIENTS = 64
READ_SIZE = 64 * REPORT_SIZE
LOCK_PATIENCE = 3.0
"""Seconds for others to let go of the socket's folder, which a server locks for a moment alone."""
LOCK_TICK = 0.02


class UnixServer(HidServer[socket.socket]):
    """Serves any number of clients at once, each with channels of its own."""

    def __init__(self, path: str, plugged_in: PluggedIn, loop: Loop) -> None:
        """Listen on path, see UnixListener."""
        super().__init__(plugged_in)
        self._listener = UnixListener(path, loop, self)
        self.name = self._listener.name

    def send(self, report: bytes, peer: socket.socket) -> None:
        """Send one report; a client that does not read what it is sent is dropped."""
        self._listener.send(report, peer)

    def welcome(self, peer: socket.socket) -> None:
        """See Clients: what a client gets of its own, it gets by its first report."""

    def may_give_way(self, peer: socket.socket) -> bool:
        """See Clients: one that has sent nothing yet."""
        return peer not in self._peers.values()

    def close(self) -> None:
        """Let the clients go and remove the socket."""
        self._listener.close()


class UnixListener:
    """The socket and its clients' reports, whatever becomes of them."""

    def __init__(self, path: str, loop: Loop, clients: Clients) -> None:
        """Listen on path (absolute), in the place of a socket that nobody serves any more.

        Raises ServeError if the path is somebody else's, is being served, or cannot be made.
        """
        self.name = f"unix:{path}"
        self._path = path
        self._loop = loop
        self._clients = clients
        self._pending: dict[socket.socket, bytearray] = {}  # by client, what has come of the next report
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with _directory_locked(path, loop.is_stopping):
                _remove_stale(path)
                umask = os.umask(0o177)
                try:
                    self._listener.bind(path)
                finally:
                    os.umask(umask)
                self._inode = _inode(path)
            self._listener.listen()
        except OSError as error:
            self._listener.close()
            raise ServeError(
                f"{self.name} cannot be served ({error.strerror or error})", "choose another path"
            ) from error
        except ServeError:
            self._listener.close()
            raise
        loop.watch(self._listener.fileno(), self._accept)

    def send(self, report: bytes, peer: socket.socket) -> None:
        """Send one report; a client that does not read what it is sent is dropped."""
        try:
            taken = peer.send(report)
        except OSError:
            taken = 0
        if taken != len(report):
            self._drop(peer)

    def close(self) -> None:
        """Let the clients go and remove the socket, unless another took its place.

        Whoever locks the folder for long is no server, so that it is not to be waited for.
        """
        for client in list(self._pending):
            self._drop(client)
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        try:
            with _directory_locked(self._path, lambda: False):
                self._remove()
        except ServeError:
            self._remove()
        except OSError:
            pass  # the folder is gone

    def _remove(self) -> None:
        try:
            if _inode(self._path) == self._inode:
                os.unlink(self._path)
        except OSError:
            pass  # it is gone already

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it left before we came
            return
        if len(self._pending) >= MAX_CLIENTS:
            # Those that came first, and want nothing: whoever opens connections and is silent keeps nobody out.
            silent = next((each for each in self._pending if self._clients.may_give_way(each)), None)
            if silent is None:
                client.close()
                return
            self._drop(silent)
        client.setblocking(False)
        self._clients.welcome(client)
        self._pending[client] = bytearray()
        self._loop.watch(client.fileno(), lambda: self._readable(client))

    def _readable(self, client: socket.socket) -> None:
        try:
            untrusted_data = client.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            untrusted_data = b""
        if not untrusted_data:
            self._drop(client)
            return
        pending = self._pending[client]
        pending += untrusted_data
        while len(pending) >= REPORT_SIZE and client in self._pending:
            report = bytes(pending[:REPORT_SIZE])
            del pending[:REPORT_SIZE]
            self._clients.receive(report, client)

    def _drop(self, client: socket.socket) -> None:
        if client not in self._pending:
            return
        del self._pending[client]
        self._loop.unwatch(client.fileno())
        client.close()
        self._clients.forget(client)


@contextmanager
def _directory_locked(path: str, is_stopping: Callable[[], bool]) -> Iterator[None]:
    """Keep other servers from looking for stale sockets in path's directory at the same time.

    Raises ServeError if another program, which may be anybody's, does not let go of it.
    """
    directory = os.path.dirname(path)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE
        while not _lock(fd):
            if is_stopping() or time.monotonic() >= deadline:
                raise ServeError(
                    f"another program keeps {directory} locked", "choose a path in a folder that only you can open"
                )
            time.sleep(LOCK_TICK)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _inode(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that ended without doing so itself. Raises ServeError if path is anything else."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise ServeError(f"{path} exists and is no socket of yours", "choose another path, or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        code = probe.connect_ex(path)
    if code != errno.ECONNREFUSED:
        raise ServeError(f"{path} is being served by another process", "end that one, or choose another path")
    os.unlink(path)
