"""Files that are made whole or not at all, also where no file can have two names."""

from __future__ import annotations

import errno
import os
import posix
from pathlib import Path

import pytest

from sk_provider.credentials import whole_file


@pytest.fixture(params=[None, errno.EPERM, errno.EOPNOTSUPP], ids=["links", "FAT", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is not None:

        def link(_path: str, _other: str) -> None:
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(posix, "link", link)


@pytest.mark.usefixtures("links")
def test_new_files_are_made_and_none_that_is_there_is_replaced(tmp_path: Path) -> None:
    first, second, third = (f"{tmp_path}/{name}" for name in ("first", "second", "third"))
    whole_file.put_all([(first, b"1", 0o600), (second, b"2", 0o644)], [])
    assert [Path(path).read_bytes() for path in (first, second)] == [b"1", b"2"]
    assert [Path(path).stat().st_mode & 0o777 for path in (first, second)] == [0o600, 0o644]
    assert [Path(path).stat().st_nlink for path in (first, second)] == [1, 1]
    with pytest.raises(FileExistsError) as found:
        whole_file.put_all([(third, b"3", 0o600), (second, b"other", 0o600)], [])
    assert found.value.filename == second
    assert sorted(os.listdir(tmp_path)) == ["first", "second"]
    assert Path(second).read_bytes() == b"2"
    whole_file.put_all([(third, b"3", 0o600), (second, b"other", 0o600)], [second])
    assert [Path(path).read_bytes() for path in (second, third)] == [b"other", b"3"]
    assert sorted(os.listdir(tmp_path)) == ["first", "second", "third"]


@pytest.mark.usefixtures("links")
def test_a_link_to_nothing_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        whole_file.put_all([(f"{tmp_path}/link", b"1", 0o600)], [])
    assert os.listdir(tmp_path) == ["link"]


def test_what_a_killed_process_of_the_same_number_has_left_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / f".file.{os.getpid()}").write_bytes(b"a part")
    whole_file.check(str(path))
    whole_file.replace(str(path), b"whole")
    assert path.read_bytes() == b"whole"


def test_a_file_is_replaced_whose_name_is_as_long_as_there_can_be(tmp_path: Path) -> None:
    path = tmp_path / (255 * "n")
    path.write_bytes(b"old")
    whole_file.check(str(path))
    whole_file.replace(str(path), b"new")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {path.name: b"new"}
