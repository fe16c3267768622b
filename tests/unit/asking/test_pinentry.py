"""What pinentry may do instead of answering."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sk_provider.asking import pinentry
from sk_provider.operation import Operation

# Answers every request as a pinentry does, notes what it is told, and ends as the test wants when it is asked.
PROGRAM = """#!/bin/sh
echo 'OK Pleased to meet you'
while read -r line; do
  printf '%s\\n' "$line" >>'{notes}'
  case $line in
    GETPIN) {answer} ;;
    OPTION*) echo 'ERR 83886254 Unknown option <Pinentry>' ;;
    *) echo OK ;;
  esac
done
"""


class Brief(Operation):
    """One whose time is over soon."""

    def restart(self) -> None:
        self._deadline = time.monotonic() + 0.3


def make(folder: Path, answer: str) -> tuple[str, Path]:
    """Return the path of a pinentry that answers so, and that of what it was told."""
    program, notes = folder / "pinentry", folder / "notes"
    program.write_text(PROGRAM.format(notes=notes, answer=answer))
    program.chmod(0o700)
    return str(program), notes


def ask(program: str, problem: str = "", event: Operation | None = None) -> str | None:
    return pinentry.get_pin(program, "login as root\n100% sure", problem, 60, event or Operation(60), "/dev/tty")


@pytest.mark.parametrize(
    ("answer", "pin"),
    [
        ("echo 'D 1234'; echo OK", "1234"),
        ("echo 'S PASSWORD_FROM_CACHE'; echo '# a comment'; echo 'D 12%2534%0A'; echo 'D é'; echo OK", "12%34\né"),
        ("echo OK", ""),
        ("echo 'INQUIRE QUALITY 12'; read answer; [ \"$answer\" = CAN ] && echo 'D 1234' && echo OK", "1234"),
        ("echo 'ERR 83886179 Operation cancelled <Pinentry>'", None),
        ("echo 'ERR 83886278 fully cancelled <Pinentry>'", None),
        ("echo 'ERR 83886142 Timeout <Pinentry>'", None),
    ],
)
def test_what_it_answers_is_the_pin_or_none(tmp_path: Path, answer: str, pin: str | None) -> None:
    assert ask(make(tmp_path, answer)[0]) == pin


def test_it_is_told_what_for_and_what_was_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("DISPLAY", ":9")
    program, notes = make(tmp_path, "echo OK")
    ask(program, "wrong PIN, 1 try left: the last one")
    assert notes.read_text().splitlines() == [
        "OPTION ttyname=/dev/tty",
        "OPTION ttytype=xterm",
        "OPTION display=:9",
        "SETTIMEOUT 60",
        "SETTITLE libpysk",
        "SETPROMPT PIN:",
        "SETDESC login as root%0A100%25 sure",
        "SETERROR wrong PIN, 1 try left: the last one",
        "GETPIN",
    ]


def test_no_variable_can_be_a_request_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm\nGETPIN")
    monkeypatch.delenv("DISPLAY", raising=False)
    program, notes = make(tmp_path, "echo 'D 1234'; echo OK")
    assert ask(program) == "1234"
    assert notes.read_text().splitlines().count("GETPIN") == 1


def test_it_is_told_what_is_wanted_if_that_is_no_pin(tmp_path: Path) -> None:
    program, notes = make(tmp_path, "echo OK")
    pinentry.get_pin(program, "login as root", "", 60, Operation(60), None, "Passphrase")
    assert "SETPROMPT Passphrase:" in notes.read_text().splitlines()


def test_no_text_can_be_a_request_of_its_own_or_longer_than_one_may_be(tmp_path: Path) -> None:
    program, notes = make(tmp_path, "echo OK")
    pinentry.get_pin(program, "a\r\nGETPIN\n" + "é" * 2000, "", 60, Operation(60), None)
    (described,) = [line for line in notes.read_bytes().splitlines() if line.startswith(b"SETDESC")]
    assert described.startswith("SETDESC a%0D%0AGETPIN%0Aééé".encode())
    assert len(described) <= 1000
    assert described.decode()


READS_NOTHING = """#!/usr/bin/python3
import fcntl, time
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 4096)
print("OK\\n" + "INQUIRE\\n" * 5000, flush=True)
time.sleep(600)
"""


def test_one_that_asks_without_reading_is_not_answered_for_ever(tmp_path: Path) -> None:
    program = tmp_path / "pinentry"
    program.write_text(READS_NOTHING)
    program.chmod(0o700)
    with pytest.raises(pinentry.PinentryFailed, match="does not speak as a pinentry does"):
        ask(str(program))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("exit 1", "does not speak as a pinentry does"),
        ("echo nonsense", "does not speak as a pinentry does"),
        ("echo 'ERR nonsense'", "does not speak as a pinentry does"),
        ("echo 'D %zz'; echo OK", "does not speak as a pinentry does"),
        ("yes 'D 1234567890'", "does not speak as a pinentry does"),
        ("yes | tr -d '\\n'", "does not speak as a pinentry does"),
        ("printf 'D \\377\\n'; echo OK", "not UTF-8"),
        ("echo 'ERR 83918950 Inappropriate ioctl for device <Pinentry>'", r"has failed \(error 32870\)"),
    ],
)
def test_one_that_gives_no_answer_has_failed(tmp_path: Path, answer: str, sentence: str) -> None:
    with pytest.raises(pinentry.PinentryFailed, match=sentence):
        ask(make(tmp_path, answer)[0])


def test_one_that_is_not_there_has_failed(tmp_path: Path) -> None:
    with pytest.raises(pinentry.PinentryFailed, match="cannot be started"):
        ask(str(tmp_path / "nothing"))


@pytest.mark.parametrize("answer", ["exec sleep 600", "echo D 12; exec sleep 600"])
def test_one_that_never_ends_is_ended_with_the_wait(tmp_path: Path, answer: str) -> None:
    program, _ = make(tmp_path, f"echo $$ >'{tmp_path}/number'; {answer}")
    assert ask(program, event=Brief(60)) is None
    assert not Path(f"/proc/{(tmp_path / 'number').read_text().strip()}").exists()


def test_it_finds_the_session_bus_where_the_environment_does_not_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/a/bus")
    program, _ = make(tmp_path, f"echo \"$DBUS_SESSION_BUS_ADDRESS\" >'{tmp_path}/bus'; echo OK")
    ask(program)
    assert (tmp_path / "bus").read_text() == "unix:path=/a/bus\n"
    assert os.environ["DBUS_SESSION_BUS_ADDRESS"] == "unix:path=/a/bus"
