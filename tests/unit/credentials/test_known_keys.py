"""The file of public keys that were seen: whatever is wrong with it means that nothing is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sk_provider.credentials import known_keys

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
    [b"", b"ssh-ed25519 AAAA somebody\n", b"\xff\xfe", b"# libpysk: public keys of security keys, version 2\n"],
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
