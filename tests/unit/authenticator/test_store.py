from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from sk_provider.authenticator import store as store_module
from sk_provider.authenticator.state import FORMAT, State
from sk_provider.authenticator.store import Store, StoreMissing
from sk_provider.ctap.cbor import encode
from sk_provider.errors import StoreUnusable


def state_file(store: Store) -> Path:
    return Path(store.path, "state")


def listing(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def test_a_new_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        store = Store.create(str(tmp_path / "deep" / "er" / "store"))
    finally:
        os.umask(previous)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").rglob("*")}
    base = Path(store.path)
    assert modes == {base.parent: 0o700, base: 0o700, base / "state": 0o600, base / "lock": 0o600}
    assert len(store.store_id) == 16
    assert store.store_id == Store.open(store.path).store_id


def test_an_empty_folder_that_becomes_a_store_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o755)
    Store.create(str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_store_below_a_dangling_link_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "unmounted").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreUnusable, match="cannot be created: No such file or directory"):
        Store.create(str(tmp_path / "unmounted" / "store"))


def test_creating_a_store_again_opens_it(store: Store) -> None:
    before = listing(store.path)
    assert Store.create(store.path).store_id == store.store_id
    assert Store.create(store.path + "/").store_id == store.store_id
    assert listing(store.path) == before


def test_looking_for_a_store_creates_none(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    assert Store.find(path) is None
    with pytest.raises(StoreMissing, match="there is no store at"):
        Store.open(path)
    os.mkdir(path, 0o700)
    assert Store.find(path) is None
    with pytest.raises(StoreMissing):
        Store.open(path)
    assert not os.listdir(path)


def test_a_folder_with_other_files_does_not_become_a_store(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StoreUnusable, match="holds other files"):
        Store.create(str(tmp_path))
    assert listing(tmp_path) == {"letter.txt": b"dear"}


def test_a_store_that_was_removed_is_not_brought_back(store: Store) -> None:
    for name in os.listdir(store.path):
        os.unlink(f"{store.path}/{name}")
    with pytest.raises(StoreMissing), store.transaction():
        pass
    assert not os.listdir(store.path)
    with pytest.raises(StoreMissing):
        store.read()


def every_damage(content: bytes) -> Iterator[bytes]:
    yield b""
    yield from (content[:length] for length in range(1, len(content), 7))
    yield from (content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(0, len(content), 5))
    yield content + b"\0"
    yield b"\0" * len(content)
    yield b"pysk? no: just text\n"
    yield encode({"format": FORMAT})
    yield encode({"format": "1", "state": b"", "sha256": b""})
    yield encode([FORMAT])
    yield encode({"format": 0, "state": content, "sha256": hashlib.sha256(content).digest()})


def test_a_damaged_or_foreign_file_is_refused_and_left_alone(store: Store) -> None:
    whole = state_file(store).read_bytes()
    for damaged in every_damage(whole):
        state_file(store).write_bytes(damaged)
        for attempt in (lambda: Store.open(store.path), lambda: Store.create(store.path), store.read):
            with pytest.raises(StoreUnusable) as caught:
                attempt()
            assert store.path in str(caught.value)
            assert "\n" not in str(caught.value)
        with pytest.raises(StoreUnusable), store.transaction():
            pytest.fail("was read")
        assert listing(store.path) == {"state": damaged, "lock": b""}
    state_file(store).write_bytes(whole)
    assert Store.open(store.path).store_id == store.store_id


def test_a_newer_format_is_refused_with_what_to_do(store: Store) -> None:
    newer = encode({"format": FORMAT + 1, "anything": "else"})
    state_file(store).write_bytes(newer)
    with pytest.raises(StoreUnusable, match="newer libpysk; upgrade"):
        Store.open(store.path)
    with pytest.raises(StoreUnusable, match="newer libpysk"), store.transaction():
        pass
    assert state_file(store).read_bytes() == newer


@pytest.mark.parametrize("name", ["state", "lock", "."])
@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_what_others_could_write_is_refused(store: Store, name: str, mode: int) -> None:
    os.chmod(f"{store.path}/{name}", mode | (0o100 if name == "." else 0))
    with pytest.raises(StoreUnusable, match="open to other users; run: chmod go-rwx "), store.transaction():
        pass


def test_what_others_could_read_is_refused(store: Store) -> None:
    os.chmod(state_file(store), 0o640)
    with pytest.raises(StoreUnusable, match="open to other users"):
        Store.open(store.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["state", "."])
def test_what_belongs_to_another_user_is_refused(store: Store, name: str) -> None:
    os.chown(f"{store.path}/{name}", 12345, 12345)
    with pytest.raises(StoreUnusable, match="belongs to another user; name a store of your own"):
        Store.open(store.path)


def test_every_sentence_says_what_happened_and_what_to_do(store: Store, tmp_path: Path) -> None:
    told = []
    state, lock, folder = state_file(store), Path(store.path, "lock"), Path(store.path)
    content = state.read_bytes()

    def note(attempt: Callable[[], object]) -> None:
        with pytest.raises(StoreUnusable) as caught:
            attempt()
        told.append(str(caught.value).replace(store.path, "STORE").replace(str(tmp_path), "FOLDER"))

    note(lambda: Store.open(f"{tmp_path}/none"))
    note(lambda: Store.open("/proc/self/mem/store"))
    (tmp_path / "letter.txt").write_text("dear")
    note(lambda: Store.create(str(tmp_path)))
    note(lambda: Store.create("/proc/nowhere"))
    state.write_bytes(b"")
    note(store.read)
    state.write_bytes(encode({"format": FORMAT + 1}))
    note(store.read)
    state.chmod(0o640)
    note(store.read)
    state.unlink()
    note(store.read)
    state.mkdir()
    note(store.read)
    state.rmdir()
    state.symlink_to("elsewhere")
    note(store.read)
    state.unlink()
    state.touch(0o600)
    state.write_bytes(content)
    lock.unlink()
    lock.symlink_to("elsewhere")
    note(lambda: add_one(store.path))
    folder.chmod(0o777)
    note(store.read)
    assert told == [
        "there is no store at FOLDER/none; restore it from a backup or begin with a new one",
        "the store /proc/self/mem/store is not a directory of its own; name a directory, and not by a link",
        "FOLDER is no store and holds other files; name an empty or a new directory",
        "the store /proc/nowhere cannot be created: No such file or directory; correct that and try again",
        "the store STORE is damaged or not a store; restore it from a backup",
        "the store STORE was written by a newer libpysk; upgrade this one to use it",
        "STORE/state is open to other users; run: chmod go-rwx STORE/state",
        "there is no store at STORE; restore it from a backup or begin with a new one",
        "STORE/state is not a file; restore the store from a backup",
        "the store STORE cannot be read: Too many levels of symbolic links; correct that and try again",
        "the store STORE cannot be locked: Too many levels of symbolic links; correct that and try again",
        "STORE is open to other users; run: chmod go-rwx STORE",
    ]


def test_links_and_pipes_are_not_followed_or_waited_for(store: Store, tmp_path: Path) -> None:
    link = str(tmp_path / "link")
    os.symlink(store.path, link)
    for path in (link, link + "/"):
        with pytest.raises(StoreUnusable, match="not a directory of its own"):
            Store.open(path)
        with pytest.raises(StoreUnusable, match="not a directory of its own"):
            Store.create(path)
    os.rename(state_file(store), f"{store.path}/elsewhere")
    os.symlink("elsewhere", state_file(store))
    with pytest.raises(StoreUnusable, match="cannot be read"):
        Store.open(store.path)
    os.unlink(state_file(store))
    os.mkfifo(state_file(store), 0o600)
    with pytest.raises(StoreUnusable, match="is not a file"):
        Store.open(store.path)
    with pytest.raises(StoreUnusable, match="is not a file"), store.transaction():
        pass
    os.unlink(state_file(store))
    state_file(store).mkdir(0o700)
    with pytest.raises(StoreUnusable, match="is not a file"):
        Store.open(store.path)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreUnusable):
            Store.create(str(path))
        with pytest.raises(StoreUnusable):
            Store.open(str(path))


def test_an_exception_changes_nothing(store: Store) -> None:
    before = listing(store.path)

    class OtherError(Exception):
        pass

    def change() -> None:
        with store.transaction() as state:
            state.counter += 1
            raise OtherError

    with pytest.raises(OtherError):
        change()
    assert listing(store.path) == before


def test_nothing_is_written_when_nothing_changed(store: Store) -> None:
    before = state_file(store).stat()
    with store.transaction():
        pass
    assert state_file(store).stat().st_ino == before.st_ino
    assert state_file(store).stat().st_mtime_ns == before.st_mtime_ns


def test_what_a_killed_process_left_is_replaced(store: Store) -> None:
    Path(store.path, "state.new").write_bytes(b"half a sta")
    Path(store.path, "state.new").chmod(0)
    with store.transaction() as state:
        state.counter += 5
    assert store.read().counter == 5
    assert set(os.listdir(store.path)) == {"state", "lock"}


def test_a_lost_lock_file_comes_back(store: Store) -> None:
    os.unlink(f"{store.path}/lock")
    with store.transaction() as state:
        state.counter += 1
    assert set(os.listdir(store.path)) == {"state", "lock"}


def test_a_lock_that_is_never_released_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LOCK_PATIENCE", 0.1)
    fd = os.open(f"{store.path}/lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(StoreUnusable, match="in use by another process; try again"), store.transaction():
        pass
    assert store.read().counter == 0  # reading needs no lock
    os.close(fd)
    with store.transaction() as state:
        state.counter += 1


def test_a_file_system_without_locks_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreUnusable, match="cannot be locked: No locks available; "), store.transaction():
        pass
    assert os.listdir("/proc/self/fd") == before


def test_no_descriptor_is_left_open(store: Store) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with store.transaction() as state:
            state.counter += 1
        Store.open(store.path)
        Store.create(store.path)
        with pytest.raises(StoreUnusable):
            Store.open("/proc/nowhere")
    state_file(store).write_bytes(b"")
    with pytest.raises(StoreUnusable), store.transaction():
        pass
    assert os.listdir("/proc/self/fd") == before


def fail_at(call_number: int, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do something whose call_number-th call which may change the disk is done and yet ends in an error.

    Returns whether there were so many calls.
    """
    calls = 0

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            result = original(*args, **kwargs)
            if calls == call_number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return result

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "fsync", "rename"):
            patch.setattr(os, name, failing(getattr(os, name)))
        try:
            action()
        except StoreUnusable:
            assert calls == call_number
            return True
    assert calls < call_number
    return False


def test_an_error_at_any_call_leaves_the_state_before_or_after(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    number = 1
    counters = [0]
    while fail_at(number, lambda: add_one(store.path), monkeypatch):
        state = store.read()
        assert len(state.credentials) == state.counter
        assert set(os.listdir(store.path)) == {"state", "lock"}
        counters.append(state.counter)
        number += 1
    assert counters == [0, 0, 0, 1, 2]  # write, fsync, rename, and fsync of the directory
    assert store.read().counter == 3


# Crashes: what is on the disk when a process, or the power, ends at any call that changes something.

MUTATING = ("mkdir", "open", "write", "fsync", "rename", "unlink")


def add_one(store_path: str) -> None:
    with Store.open(store_path).transaction() as state:
        state.counter += 1
        state.credentials[b"id %d" % state.counter] = bytes(500)


def die_at(call_number: int, action: Callable[[], object]) -> bool:
    """Run an action in a child that dies right before its call_number-th call which may change the disk.

    Returns whether the child died there, and did not finish before.
    """
    child = os.fork()
    if child == 0:
        calls = 0

        def dying(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == call_number:
                    os._exit(77)
                return original(*args, **kwargs)

            return call

        try:
            for name in MUTATING:
                setattr(os, name, dying(getattr(os, name)))
            action()
        except BaseException:  # noqa: BLE001  # whatever it is, the child must not run pytest's code
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 77)
    return code == 77


def test_a_process_that_dies_at_any_call_leaves_the_state_before_or_after(store: Store) -> None:
    number = 1
    while die_at(number, lambda: add_one(store.path)):
        state = store.read()
        assert len(state.credentials) == state.counter
        number += 1
    assert number > 6
    before = store.read().counter
    add_one(store.path)
    assert store.read().counter == before + 1
    assert set(os.listdir(store.path)) == {"state", "lock"}


def test_a_process_that_dies_at_any_call_leaves_no_store_or_a_whole_one(tmp_path: Path) -> None:
    number = 1
    while True:
        path = str(tmp_path / str(number) / "store")
        died = die_at(number, lambda path=path: Store.create(path))  # type: ignore[misc]
        found = Store.find(path)
        created = Store.create(path)
        assert found is None or found.store_id == created.store_id
        if not died:
            break
        number += 1
    assert number > 8


class Disk:
    """What a power cut can leave of one directory: data that was synchronised, and any part of the other changes.

    A file's content is certain after fsync of the file, a name after fsync of the directory.
    """

    def __init__(self) -> None:
        self.names: dict[str, int] = {}  # on the disk for certain
        self.pending: list[tuple[str, ...]] = []  # changes of names that may be on the disk, or not
        self.contents: dict[int, bytes] = {}
        self.certain: dict[int, bytes] = {}
        self.inodes = 0

    def after_power_cut(self) -> Iterator[dict[str, bytes | None]]:
        """Each possible content of the directory; None where a file's content is uncertain."""
        for count in range(len(self.pending) + 1):
            for kept in combinations(self.pending, count):
                names = dict(self.names)
                for kind, *arguments in kept:
                    if kind == "create":
                        names[arguments[0]] = int(arguments[1])
                    elif kind == "unlink":
                        names.pop(arguments[0], None)
                    elif arguments[0] in names:
                        names[arguments[1]] = names.pop(arguments[0])
                yield {
                    name: self.contents[inode] if self.certain.get(inode) == self.contents[inode] else None
                    for name, inode in names.items()
                }


def record(
    monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], disk: Disk, check: Callable[[], None]
) -> None:
    """Perform an action on the real disk and on the model, and check after each call."""
    fds: dict[int, int] = {}
    directories: set[int] = set()
    names = dict(disk.names)  # as the running system sees them
    real = {name: getattr(os, name) for name in (*MUTATING, "close")}

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        fd: int = real["open"](path, flags, mode, dir_fd=dir_fd)
        if dir_fd is None:
            directories.add(fd)
            return fd
        if path not in names:
            disk.inodes += 1
            names[path] = disk.inodes
            disk.contents[disk.inodes] = b""
            disk.pending.append(("create", path, str(disk.inodes)))
        fds[fd] = names[path]
        check()
        return fd

    def write(fd: int, data: bytes) -> int:
        written: int = real["write"](fd, data)
        disk.contents[fds[fd]] += data[:written]
        check()
        return written

    def fsync(fd: int) -> None:
        real["fsync"](fd)
        if fd in directories:
            disk.names, disk.pending = dict(names), []
        else:
            disk.certain[fds[fd]] = disk.contents[fds[fd]]
        check()

    def rename(source: str, target: str, **kwargs: Any) -> None:
        real["rename"](source, target, **kwargs)
        names[target] = names.pop(source)
        disk.pending.append(("rename", source, target))
        check()

    def unlink(path: str, **kwargs: Any) -> None:
        real["unlink"](path, **kwargs)
        del names[path]
        disk.pending.append(("unlink", path))
        check()

    def close(fd: int) -> None:
        real["close"](fd)
        directories.discard(fd)

    with monkeypatch.context() as patch:
        for name, replacement in (
            ("open", open_),
            ("write", write),
            ("fsync", fsync),
            ("rename", rename),
            ("unlink", unlink),
            ("close", close),
        ):
            patch.setattr(os, name, replacement)
        action()


def test_a_power_cut_at_any_write_leaves_the_state_before_or_after(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    disk.inodes = 2
    disk.names = {"state": 1, "lock": 2}
    disk.contents = {1: state_file(store).read_bytes(), 2: b""}
    disk.certain = dict(disk.contents)
    seen: set[int] = set()

    def check() -> None:
        for folder in disk.after_power_cut():
            content = folder.get("state")
            assert content is not None
            seen.add(State.from_bytes(content).counter)

    record(monkeypatch, lambda: add_one(store.path), disk, check)
    assert seen == {0, 1}
    # Once the transaction has returned, there is no going back.
    assert [State.from_bytes(folder["state"] or b"").counter for folder in disk.after_power_cut()] == [1]


def test_a_power_cut_while_a_store_is_created_leaves_none_or_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()

    def check() -> None:
        for folder in disk.after_power_cut():
            if "state" in folder:
                assert folder["state"] is not None
                State.from_bytes(folder["state"])

    (tmp_path / "store").mkdir(0o700)
    record(monkeypatch, lambda: Store.create(str(tmp_path / "store")), disk, check)
    assert all("state" in folder for folder in disk.after_power_cut())
