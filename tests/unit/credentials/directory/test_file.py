"""A directory that is a file: what a line of it may be, whose the file must be, and how it is changed."""

from __future__ import annotations

import os
import posix
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import HOSTILE_TEXTS, lines_of, record

from sk_provider.api import ALGORITHM_ECDSA, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.config import Configuration
from sk_provider.credentials.directory import file, local_file, settings
from sk_provider.credentials.directory.record import Record
from sk_provider.errors import DirectoryError

SETTINGS = settings.of(Configuration())
ALICE = record(comment="the blue token")
STRICT = record(
    application="example.com",
    algorithm=ALGORITHM_ECDSA,
    key_handle=b"another",
    flags=FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION,
)
BOB = record("bob", key_handle=b"bob's")


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o644)
    return f"file:{path}"


def look_up(url: str, user: str = "alice") -> tuple[list[str], list[str]]:
    """Return the lines of the records, and the sentences."""
    told: list[str] = []
    return [file.line_of(each) for each in file.look_up(url, user, SETTINGS, told.append)], told


def lines(*records: Record) -> list[str]:
    return [file.line_of(each) for each in records]


def test_a_users_records_are_found_as_they_were_written(tmp_path: Path) -> None:
    url = write(tmp_path / "keys", "# keys", "", *lines(ALICE, BOB, STRICT))
    assert look_up(url) == (lines(ALICE, STRICT), [])
    assert look_up(url, "bob") == (lines(BOB), [])
    assert look_up(url, "carol") == ([], [])
    assert look_up(url, "#") == ([], [])


def test_a_line_is_as_the_page_has_it(tmp_path: Path) -> None:
    line = file.line_of(STRICT)
    assert line.split()[:3] == ["alice", "verify-required", "sk-ecdsa-sha2-nistp256@openssh.com"]
    url = write(tmp_path / "keys", "\t " + line.replace(" ", "  \t") + "   \r", file.line_of(ALICE))
    assert look_up(url) == (lines(STRICT, ALICE), [])


def test_all_files_of_a_folder_are_read(tmp_path: Path) -> None:
    for name, each in {"a": STRICT, "b": ALICE, ".c": BOB, "d~": BOB}.items():
        write(tmp_path / name, file.line_of(each))
    assert look_up(f"file:{tmp_path}") == (lines(STRICT, ALICE), [])
    assert look_up(f"file://{tmp_path}", "bob") == ([], [])


@pytest.mark.parametrize("field", range(1, 5))
def test_a_line_that_is_no_record_costs_only_itself_and_is_told(field: int, tmp_path: Path) -> None:
    words = file.line_of(ALICE).split()
    words[field] = "non-sense"
    found, (sentence,) = look_up(write(tmp_path / "keys", " ".join(words), file.line_of(STRICT)))
    assert found == lines(STRICT)
    assert sentence.startswith(f"{tmp_path}/keys line 1: ")
    assert ", and is left out; " in sentence


FIELDS = st.one_of(HOSTILE_TEXTS, st.sampled_from([*file.line_of(ALICE).split(), *file.line_of(STRICT).split()]))


@given(st.lists(FIELDS, max_size=7), st.sampled_from([" ", "\t", ""]))
def test_a_line_of_whatever_content_is_a_record_or_is_refused(fields: list[str], space: str) -> None:
    assert all(line.isprintable() for line in lines_of(lambda: file.parse(space.join(fields))))


@given(st.binary(max_size=300))
def test_a_file_of_whatever_bytes_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("file") / "keys"
    path.write_bytes(content + b"\nalice " + content + b"\n" + file.line_of(ALICE).encode() + b"\n")
    found, told = look_up(f"file:{path}")
    assert found[-1:] == lines(ALICE)
    assert all(sentence.isprintable() for sentence in told)


def test_what_others_can_write_is_not_read(tmp_path: Path) -> None:
    url = write(tmp_path / "keys", file.line_of(ALICE))
    (tmp_path / "keys").chmod(0o664)
    with pytest.raises(DirectoryError, match="can be written by others; it must belong"):
        look_up(url)


def test_what_others_can_execute_is_read(tmp_path: Path) -> None:
    url = write(tmp_path / "keys", file.line_of(ALICE))
    (tmp_path / "keys").chmod(0o755)
    assert look_up(url) == (lines(ALICE), [])


def test_roots_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "geteuid", lambda: 12345)
    assert list(local_file.lines("/etc/passwd"))


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(0o644)
    os.truncate(path, local_file.MAX_SIZE)
    with pytest.raises(DirectoryError, match="line 1 is too long"):
        list(local_file.lines(str(path)))


def test_no_file_is_locked_after_it_was_changed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    file.add(f"file:{tmp_path}/keys", ALICE, SETTINGS)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_not_read(tmp_path: Path) -> None:
    url = write(tmp_path / "keys", file.line_of(ALICE))
    os.chown(tmp_path / "keys", 12345, -1)
    with pytest.raises(DirectoryError, match="can be written by others"):
        look_up(url)


def test_what_is_no_file_with_an_end_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "long").write_text("alice " + "x" * (1 << 17))
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    for location, said in {
        f"{tmp_path}/fifo": "is not a regular file",
        f"{tmp_path}/folder": "folder/inner is not a regular file",
        f"{tmp_path}/long": "line 1 is too long for a record; correct that line",
        f"{tmp_path}/sparse": "is larger than 64 MB",
        f"{tmp_path}/none": "does not exist",
        "keys": "is not an absolute path",
        "/\0": "is not an absolute path",
    }.items():
        with pytest.raises(DirectoryError, match=said):
            look_up(f"file:{location}")


def test_a_record_is_added_replaced_and_removed_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    url = write(path, "# by hand", "alice broken", file.line_of(BOB))
    path.chmod(0o640)
    file.add(url, ALICE, SETTINGS)
    file.add(url, STRICT, SETTINGS)
    renamed = record(comment="another comment")
    file.add(url, renamed, SETTINGS)
    others = ["# by hand", "alice broken", file.line_of(BOB)]
    assert path.read_text().splitlines() == [*others, *lines(STRICT, renamed)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not file.remove(url, "bob", ALICE.handle_digest(), SETTINGS)
    assert file.remove(url, "alice", ALICE.handle_digest(), SETTINGS)
    assert file.remove(url, "alice", STRICT.handle_digest(), SETTINGS)
    assert path.read_text().splitlines() == others
    assert os.listdir(tmp_path) == ["keys"]


def test_a_record_is_replaced_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    bobs = record("bob")
    url = write(path, "# by hand", file.line_of(bobs), *lines(ALICE, STRICT))
    path.chmod(0o640)
    (tmp_path / "link").symlink_to("keys")
    sealed = record(key_handle=b"sealed", comment=ALICE.comment)
    assert bobs.handle_digest() == ALICE.handle_digest()
    assert file.replace(f"file:{tmp_path}/link", ALICE.handle_digest(), sealed, SETTINGS)
    assert path.read_text().splitlines() == ["# by hand", file.line_of(bobs), *lines(sealed, STRICT)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (tmp_path / "link").is_symlink()
    assert not file.replace(url, ALICE.handle_digest(), sealed, SETTINGS)
    # Another key's handle is not given to this one.
    assert not file.replace(url, STRICT.handle_digest(), sealed, SETTINGS)
    assert path.read_text().splitlines()[2:] == lines(sealed, STRICT)


def test_a_record_is_replaced_in_each_file_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "all", *lines(ALICE, BOB))
    write(tmp_path / "alice", *lines(STRICT, ALICE))
    sealed = record(key_handle=b"sealed")
    assert file.replace(f"file:{tmp_path}", ALICE.handle_digest(), sealed, SETTINGS)
    assert (tmp_path / "all").read_text().splitlines() == lines(sealed, BOB)
    assert (tmp_path / "alice").read_text().splitlines() == lines(STRICT, sealed)


def test_whoever_reads_while_a_record_is_replaced_sees_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = write(tmp_path / "keys", *lines(ALICE))
    seen: list[tuple[list[str], list[str]]] = []
    monkeypatch.setattr(posix, "fsync", lambda _descriptor: seen.append(look_up(url)))
    sealed = record(key_handle=b"sealed")
    assert file.replace(url, ALICE.handle_digest(), sealed, SETTINGS)
    assert (seen, look_up(url)) == ([(lines(ALICE), [])], (lines(sealed), []))


def test_a_new_file_can_be_read_by_whom_sshd_asks(tmp_path: Path) -> None:
    file.add(f"file:{tmp_path}/keys", ALICE, SETTINGS)
    assert look_up(f"file:{tmp_path}/keys") == (lines(ALICE), [])
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o644


def test_in_a_folder_each_user_has_a_file(tmp_path: Path) -> None:
    url = f"file:{tmp_path}"
    write(tmp_path / "all", *lines(ALICE, BOB))
    file.add(url, ALICE, SETTINGS)
    assert (tmp_path / "alice").read_text().splitlines() == lines(ALICE)
    assert (tmp_path / "all").read_text().splitlines() == lines(BOB)
    assert file.remove(url, "alice", ALICE.handle_digest(), SETTINGS)
    assert look_up(url) == ([], [])


def test_whoever_reads_a_folder_meanwhile_sees_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file:{tmp_path}"
    file.add(url, ALICE, SETTINGS)
    seen: list[tuple[list[str], list[str]]] = []
    monkeypatch.setattr(posix, "fsync", lambda _descriptor: seen.append(look_up(url)))
    file.add(url, STRICT, SETTINGS)
    assert seen == [(lines(ALICE), [])]
    assert look_up(url) == (lines(ALICE, STRICT), [])


@pytest.mark.parametrize("user", ["a b", "#a", "../x", ".x", "x~"])
def test_a_user_whose_name_would_be_another_record_or_another_file_has_no_room(user: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DirectoryError):
        file.add(f"file:{tmp_path}/folder", record(user), SETTINGS)
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    write(tmp_path / "keys")
    (tmp_path / "link").symlink_to("keys")
    file.add(f"file:{tmp_path}/link", ALICE, SETTINGS)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "keys").read_text().splitlines() == lines(ALICE)
