"""Where the authenticator keeps what must survive: one directory with one file, replaced as a whole by each change."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time

from sk_provider.ctap import sha256
from sk_provider.ctap.cbor import CborError
from sk_provider.errors import StoreUnusable

from .state import NewerFormat, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .event import Event

STATE_FILE = "state"
NEW_STATE_FILE = "state.new"
LOCK_FILE = "lock"

MAX_STATE_SIZE = 64 << 20
LOCK_PATIENCE = 20.0  # seconds; the lock is never held while a person is awaited


class StoreMissing(StoreUnusable):
    """There is no store where one is looked for."""


class Store:
    """A store that exists, by its path; nothing is held open between calls.

    path: the directory, absolute.
    store_id: 16 bytes that stay the same for the store's life.
    """

    __slots__ = ("_kind", "path", "store_id")

    def __init__(self, path: str, store_id: bytes, kind: type[State]) -> None:
        self.path = path
        self.store_id = store_id
        self._kind = kind

    @classmethod
    def open(cls, path: str, kind: type[State] = State) -> Store:
        """Open the store at a path, creating nothing.

        kind: what it holds.

        Raises StoreMissing if there is none, and StoreUnusable if it cannot be read, is damaged, written by a newer
        libpysk, or open to others.
        """
        path = os.path.abspath(path)
        return cls(path, _read(path, kind).store_id, kind)

    @classmethod
    def create(cls, path: str, new: Callable[[], State] = State.new, kind: type[State] = State) -> Store:
        """Create a store at a path, or open the one that is there.

        Of several processes that do so at once, one creates it. A crash at any moment leaves no store or a whole one.

        path: a directory, which is made (0700, parents too) if need be; one that exists must be empty.
        new: makes the state of a store that is created, under its lock. The rest as in open().

        Raises StoreUnusable as open() does, and if the directory holds other files or cannot be written.
        """
        path = os.path.abspath(path)
        try:
            _make_directories(path)
        except OSError as error:
            raise _cannot("created", path, error) from error
        directory = _Directory(path)
        try:
            names = set(os.listdir(directory.fd))
            if STATE_FILE not in names and names - {LOCK_FILE, NEW_STATE_FILE}:
                raise StoreUnusable(f"{path} is no store and holds other files", "name an empty or a new directory")
            directory.lock()
            try:
                state = directory.read_state(kind)
            except StoreMissing:
                state = new()
                os.fchmod(directory.fd, 0o700)
                directory.write_state(state.to_bytes())
                _synchronise(os.path.dirname(path))
        except OSError as error:
            raise _cannot("created", path, error) from error
        finally:
            directory.close()
        return cls(path, state.store_id, kind)

    @classmethod
    def find(cls, path: str, kind: type[State] = State) -> Store | None:
        """Open the store at a path, or return None if there is none; kind as in open().

        Raises StoreUnusable as open() does.
        """
        try:
            return cls.open(path, kind)
        except StoreMissing:
            return None

    def read(self) -> State:
        """Return the state as it is at this moment.

        Raises StoreUnusable as open() does.
        """
        return _read(self.path, self._kind)

    def transaction(self, event: Event | None = None) -> Transaction:
        """Begin a change, in a with statement, whose value is the state, to be modified in place.

        The lock is held for the statement's duration. At its end the state is on the disk for good, or, if an exception
        leaves the statement, nothing is changed.

        event: ends the waiting for the lock once it is set.

        Raises StoreUnusable as open() does, if another process holds the lock for long or until event is set, or if the
        state cannot be written; then the store holds the old state or the new one, whole: the new one if it has taken
        the old one's place and only its lasting there cannot be made sure of. So nothing may be given away on the
        strength of a change before it is written, and what a change ends in RAM is to end before, too.
        """
        return Transaction(self.path, event, self._kind)


class Transaction:
    """A change of the state, from reading to writing, under the lock."""

    __slots__ = ("_directory", "_event", "_kind", "_state")

    _state: State

    def __init__(self, path: str, event: Event | None, kind: type[State]) -> None:
        self._directory = _Directory(path)
        self._kind = kind
        self._event = event

    def __enter__(self) -> State:
        try:
            if not self._directory.has_state():  # a store that is gone is not brought back by its lock
                raise _missing(self._directory.path)
            self._directory.lock(self._event)
            self._state = self._directory.read_state(self._kind)
        except BaseException:
            self._directory.close()
            raise
        return self._state

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.write()
        finally:
            self._directory.close()

    def write(self) -> None:
        """Put the state as it is now on the disk for good, and go on; Store.transaction() says how that may fail."""
        after = self._state.to_bytes()
        digest = sha256(after)
        if digest != self._directory.digest:
            self._directory.write_state(after)
            self._directory.digest = digest


class _Directory:
    """The open directory of a store, and its lock once that is held."""

    __slots__ = ("_lock_fd", "digest", "fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        # SHA-256 of the state that was read to be changed: of its bytes, no more copies are kept than need be
        self.digest = b""
        self._lock_fd = -1
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise _missing(path) from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise StoreUnusable(
                    f"the store {path} is not a directory of its own", "name a directory, and not by a link"
                ) from error
            raise _cannot("read", path, error) from error
        try:
            self._check(os.fstat(self.fd), path, 0o022)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for fd in (self._lock_fd, self.fd):
            if fd >= 0:
                os.close(fd)

    def lock(self, event: Event | None = None) -> None:
        """Wait for the lock of the store, no longer than until event is set, and hold it until close."""
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                self._lock_fd = self._open(LOCK_FILE, os.O_RDWR | os.O_CREAT)
            except OSError as error:
                raise _cannot("locked", self.path, error) from error
            while True:
                try:
                    fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline or (event is not None and event.is_set()):
                        raise StoreUnusable(
                            f"the store {self.path} is in use by another process", "try again"
                        ) from None
                    time.sleep(0.003)
                except OSError as error:  # a file system that has no locks, as NFS without what keeps them
                    raise _cannot("locked", self.path, error) from error
            try:
                if os.path.samestat(os.fstat(self._lock_fd), os.stat(LOCK_FILE, dir_fd=self.fd)):
                    self._remove_new_state()  # which a process that died may have left
                    return
            except FileNotFoundError:
                pass
            os.close(self._lock_fd)  # a lock on a file that was removed meanwhile excludes nobody
            self._lock_fd = -1

    def has_state(self) -> bool:
        try:
            os.stat(STATE_FILE, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def read_state(self, kind: type[State]) -> State:
        try:
            fd = self._open(STATE_FILE, os.O_RDONLY)
        except FileNotFoundError:
            raise _missing(self.path) from None
        except OSError as error:
            raise _cannot("read", self.path, error) from error
        try:
            buffer = bytearray(min(os.fstat(fd).st_size, MAX_STATE_SIZE) + 1)
            content = memoryview(buffer)
            size = 0
            while size < len(buffer) and (read := os.readv(fd, [content[size:]])):
                size += read
        except OSError as error:
            raise _cannot("read", self.path, error) from error
        finally:
            os.close(fd)
        try:
            if self._lock_fd >= 0:
                self.digest = sha256(content[:size])
            return kind.from_bytes(content[:size])
        except CborError:
            raise StoreUnusable(
                f"the store {self.path} is damaged or not a store", "restore it from a backup"
            ) from None
        except NewerFormat:
            raise StoreUnusable(
                f"the store {self.path} was written by a newer libpysk", "upgrade this one to use it"
            ) from None
        finally:
            content[:] = bytes(len(content))

    def write_state(self, content: bytes) -> None:
        """Replace the state; the lock is held."""
        try:
            fd = self._open(NEW_STATE_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(fd, left) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(NEW_STATE_FILE, STATE_FILE, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            os.fsync(self.fd)
        except OSError as error:
            self._remove_new_state()
            raise _cannot("written", self.path, error) from error

    def _remove_new_state(self) -> None:
        try:
            os.unlink(NEW_STATE_FILE, dir_fd=self.fd)
        except OSError:
            return  # not there, or about to be reported by the next step

    def _open(self, name: str, flags: int) -> int:
        # O_NONBLOCK: a FIFO in the place of a file must not hang us.
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=self.fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise StoreUnusable(f"{self.path}/{name} is not a file", "restore the store from a backup")
            self._check(status, f"{self.path}/{name}", 0o077)
        except BaseException:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def _check(status: os.stat_result, name: str, forbidden: int) -> None:
        if status.st_uid not in (0, os.geteuid()):
            raise StoreUnusable(f"{name} belongs to another user", "name a store of your own")
        if stat.S_IMODE(status.st_mode) & forbidden:
            import shlex

            raise StoreUnusable(f"{name} is open to other users", f"run: chmod go-rwx {shlex.quote(name)}")


def _cannot(what: str, path: str, error: OSError) -> StoreUnusable:
    return StoreUnusable(f"the store {path} cannot be {what}: {error.strerror}", "correct that and try again")


def _missing(path: str) -> StoreMissing:
    return StoreMissing(f"there is no store at {path}", "restore it from a backup or begin with a new one")


def _read(path: str, kind: type[State]) -> State:
    directory = _Directory(path)
    try:
        return directory.read_state(kind)
    finally:
        directory.close()


def _make_directories(path: str) -> None:
    """Make the directory (0700) and those above it, and see to it that they survive a power cut."""
    parent = os.path.dirname(path)
    if not os.path.lexists(parent):
        _make_directories(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    _synchronise(parent)


def _synchronise(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
