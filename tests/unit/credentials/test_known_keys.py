"""The file of public keys that were seen: whatever is wrong with it means that nothing is known."""

from __future__ import annotations

import fcntl
import os
import posix
import resource
from pathlib import Path

import pytest

from sk_provider.credentials import known_keys, whole_file

KEY = ("ssh:", b"key handle", 1, bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "share/pysk/known_keys")


def recall(path: str, application: str = "ssh:", key_handle: bytes = b"key handle") -> tuple[int, bytes] | None:
    return known_keys.recall(path, application, key_handle)


def test_a_key_is_recalled_by_its_application_and_handle(path: str) -> None:
    assert recall(path) is None
    known_keys.remember(path, [KEY])
    assert recall(path) == KEY[2:]
    assert recall(path, "ssh:other") is None
    assert recall(path, key_handle=b"another") is None
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert b"key handle" not in Path(path).read_bytes()


def test_the_newest_word_about_a_key_counts(path: str) -> None:
    known_keys.remember(path, [KEY, (*KEY[:2], 0, bytes(65))])
    known_keys.remember(path, [KEY])
    assert recall(path) == KEY[2:]


def test_the_file_does_not_grow_for_ever(path: str) -> None:
    known_keys.remember(path, [("ssh:", number.to_bytes(2, "big"), 1, bytes(32)) for number in range(600)])
    assert len(Path(path).read_text().splitlines()) == 501
    assert recall(path, key_handle=(599).to_bytes(2, "big")) is not None
    assert recall(path, key_handle=(0).to_bytes(2, "big")) is None


@pytest.mark.parametrize(
    "content",
    [b"\n", b"ssh-ed25519 AAAA somebody\n", b"\xff\xfe", b"# libpysk: public keys of security keys, version 2\n"],
)
def test_a_file_of_another_kind_is_left_alone(path: str, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True)
    Path(path).write_bytes(content)
    known_keys.remember(path, [KEY])
    assert Path(path).read_bytes() == content
    assert recall(path) is None


@pytest.mark.parametrize("line", ["", "x", "{name} x y", "{name} 1 zz", "{name} 1", "{name} 1 00 11"])
def test_a_damaged_line_is_no_key(path: str, line: str) -> None:
    known_keys.remember(path, [KEY])
    header, whole = Path(path).read_text().splitlines()
    Path(path).write_text(f"{header}\n{line.format(name=whole.split()[0])}\n")
    assert recall(path) is None


def test_a_file_that_others_can_write_is_not_believed(path: str) -> None:
    known_keys.remember(path, [KEY])
    os.chmod(path, 0o620)
    assert recall(path) is None
    os.chmod(path, 0o600)
    os.chown(path, 65534, -1)
    assert recall(path) is None


def test_a_link_and_a_fifo_are_not_followed(path: str, tmp_path: Path) -> None:
    known_keys.remember(path, [KEY])
    link, fifo = str(tmp_path / "link"), str(tmp_path / "fifo")
    os.symlink(path, link)
    os.mkfifo(fifo)
    for other in (link, fifo, str(tmp_path)):
        assert recall(other) is None
        known_keys.remember(other, [KEY])
    assert os.path.islink(link)


def test_what_cannot_be_written_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    known_keys.remember(str(tmp_path / "file/known_keys"), [KEY])
    known_keys.remember(None, [KEY])
    assert known_keys.recall(None, "ssh:", b"key handle") is None


@pytest.mark.parametrize("path", ["/known_keys", "/missing/share/known_keys"])
def test_a_file_at_the_root_and_below_a_missing_top_folder_is_made(path: str, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        # Any root but the machine's, of which a test makes nothing.
        remembered = None
        try:
            os.chroot(tmp_path)
            known_keys.remember(path, [KEY])
            remembered = recall(path)
        finally:
            os._exit(remembered != KEY[2:])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_top_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        failed = True
        try:
            os.chmod(tmp_path, 0o555)
            os.chroot(tmp_path)
            os.setuid(65534)
            known_keys.remember("/missing/known_keys", [KEY])
            failed = False
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("path", ["/a\0b/known_keys", "/\ud800/known_keys"])
def test_a_path_that_no_file_can_have_is_no_error(path: str) -> None:
    assert recall(path) is None
    known_keys.remember(path, [KEY])


def test_an_empty_file_is_none(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    os.close(os.open(path, os.O_CREAT, 0o600))
    assert recall(path) is None
    known_keys.remember(path, [KEY])
    assert recall(path) == KEY[2:]


@pytest.mark.parametrize("size", [0, 100], ids=["nothing fits", "a part fits"])
def test_what_cannot_be_written_whole_leaves_the_old_file_and_nothing_else(path: str, size: int) -> None:
    known_keys.remember(path, [KEY])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        known_keys.remember(path, [("ssh:other", *KEY[1:])])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(os.path.dirname(path)) == ["known_keys"]
    assert recall(path) == KEY[2:]


def test_the_file_is_on_the_disk_before_it_has_its_name(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []
    fsync = posix.fsync

    def watch(descriptor: int) -> None:
        fsync(descriptor)
        seen.append((os.fstat(descriptor).st_size, os.path.exists(path)))

    monkeypatch.setattr(posix, "fsync", watch)
    known_keys.remember(path, [KEY])
    assert seen == [(os.stat(path).st_size, False)]


def test_what_several_remember_at_the_same_time_is_all_remembered(path: str) -> None:
    children, keys = range(4), range(10)
    start, begin = os.pipe()
    for child in children:
        if os.fork() == 0:
            try:
                os.close(begin)
                os.read(start, 1)
                for key in keys:
                    known_keys.remember(path, [("ssh:", bytes([child, key]), *KEY[2:])])
            finally:
                os._exit(0)
    os.close(start)
    os.close(begin)
    for _ in children:
        os.wait()
    missing = [(child, key) for child in children for key in keys if not recall(path, key_handle=bytes([child, key]))]
    assert missing == []


def test_one_that_keeps_the_lock_for_ever_does_not_keep_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_file, "_LOCK_PATIENCE", 0.1)
    os.makedirs(os.path.dirname(path))
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        known_keys.remember(path, [KEY])
    finally:
        os.close(folder)
    assert recall(path) == KEY[2:]
