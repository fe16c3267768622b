"""What pysk prints for people at a terminal, for pipes and for programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("KEY", "USER")
ROWS = [["1b78a8da", "alice"], ["16861f87", "a [bold]name[/bold] :smile:"]]


def program(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        sys.executable, "-I", "-c",
        f"from sk_provider.cli.output import print_table; print_table({list(columns)!r}, {[list(r) for r in rows]!r})",
    ]  # fmt: skip


def piped(rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> str:
    return subprocess.run(
        program(columns, rows), capture_output=True, encoding="utf-8", check=True, timeout=60,
        env={"LANG": "C.UTF-8"},
    ).stdout  # fmt: skip


def screen(folder: Path, rows: Sequence[Sequence[str]], **variables: str) -> str:
    environment = {"LANG": "C.UTF-8", "TERM": "xterm", "COLUMNS": "60", **variables}
    done = terminal.run(program(COLUMNS, rows), environment=environment, folder=folder)
    assert (done.status, done.errors) == (0, "")
    return done.screen


def without_style(text: str) -> list[str]:
    """Return the lines without the sequences that steer a terminal, and without the blanks around them."""
    lines = [line.strip() for line in re.sub("\x1b\\[[0-9;]*m", "", text).splitlines()]
    return [line for line in lines if line]


def test_a_pipe_gets_a_line_for_each_row_and_no_head() -> None:
    assert piped(ROWS) == "1b78a8da  alice\n16861f87  a [bold]name[/bold] :smile:\n"
    assert piped([]) == ""


def test_a_pipe_gets_as_many_columns_whatever_spaces_are_in_one() -> None:
    rows = [["1b78a8da", " a  name \t", "-"], ["nfc:a  reader", "alice", "set"]]
    # The first is typed as it is.
    assert piped(rows) == "1b78a8da  a name ?  -\nnfc:a  reader  alice  set\n"


def test_a_terminal_gets_a_table_with_a_head(tmp_path: Path) -> None:
    head, _, *lines = without_style(screen(tmp_path, ROWS))
    assert head.split() == list(COLUMNS)
    # What looks like markup or the name of a picture is neither.
    assert [re.split("  +", line) for line in lines] == ROWS
    assert "\x1b[1m" in screen(tmp_path, ROWS)


def test_what_is_wider_than_the_terminal_is_folded_and_not_lost(tmp_path: Path) -> None:
    fingerprint = "SHA256:7Gl4H39JKpl0d9onx1BsifNT9uwNufiZ7pbX0bMB77g"
    shown = screen(tmp_path, [["1b78a8da73c3b4c9", fingerprint]], COLUMNS="40")
    lines = without_style(shown)
    assert all(len(line) <= 40 for line in lines)
    assert "".join(line.split()[-1] for line in lines[2:]) == fingerprint


def test_what_people_type_stays_in_one_piece_beside_what_is_folded(tmp_path: Path) -> None:
    row = ["1b78a8da73c3b4c9", *["much that stands beside it"] * 4]
    command = program([f"Column {number}" for number in range(len(row))], [row])
    environment = {"LANG": "C.UTF-8", "TERM": "xterm", "COLUMNS": "50"}
    shown = terminal.run(command, environment=environment, folder=tmp_path).screen
    assert row[0] in shown
    assert all(len(line) <= 50 for line in without_style(shown))


@pytest.mark.parametrize("address", ["unix:/home/alice/token", "unix:/home/alice/a/folder/far/away/token.sock"])
def test_no_column_is_lost_beside_what_people_type(tmp_path: Path, address: str) -> None:
    row = [address, "pysk software authenticator", "ready", "ed25519-sk ecdsa-sk", "100 left", "8 tries"]
    command = program(["Address", "Model", "Status", "Keys", "Resident", "PIN"], [row])
    environment = {"LANG": "C.UTF-8", "TERM": "xterm", "COLUMNS": "80"}
    head, _, *lines = without_style(terminal.run(command, environment=environment, folder=tmp_path).screen)
    assert head.split()[-1] == "PIN"
    assert lines[0].endswith("8 tries")


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=["dumb", "no color"])
def test_no_colour_is_shown_where_none_is_wanted(tmp_path: Path, variables: dict[str, str]) -> None:
    assert not re.search("\x1b\\[3[0-9]", screen(tmp_path, ROWS, **variables))
    assert "alice" in screen(tmp_path, ROWS, **variables)


def test_what_could_steer_a_terminal_or_end_a_line_is_replaced(tmp_path: Path) -> None:
    hostile = [["1b78a8da", "a\x1b[2Jb\nc\x07\u202ed"]]
    assert piped(hostile) == "1b78a8da  a?[2Jb?c??d\n"
    shown = screen(tmp_path, hostile)
    assert "a?[2Jb?c??d" in shown
    assert "\x1b[2J" not in shown


def test_json_is_ascii_whatever_is_in_it() -> None:
    data = [{"name": "zoë\x1b[2J\u202e", "size": 3, "none": None}]
    code = f"from sk_provider.cli.output import print_json; print_json({data!r})"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=True,
        timeout=60,
    )  # fmt: skip
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout
    assert json.loads(done.stdout) == data
