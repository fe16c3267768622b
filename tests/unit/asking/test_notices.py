"""A notice by a program of the person's, or on a terminal."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from support.serve import wait_until

from sk_provider import operation as operations
from sk_provider import touch_notices
from sk_provider.api import ResidentRequest
from sk_provider.asking import notices
from sk_provider.config import Configuration
from sk_provider.operation import Operation

CALL = "touch usb:\x1b[2J"
PURPOSE = "login as root\nat <b>&amp;"
LINE = "touch usb:?[2J: login as root?at <b>&amp;"


def make(folder: Path, end: str) -> list[str]:
    """Return the command of a program that notes what it is told and its number, and goes on so."""
    program = folder / "notify"
    program.write_text(f"""#!/bin/sh
printf '%s\\n' "$@" "$PYSK_CALL" "$PYSK_PURPOSE" "$PWD" "$(cat | wc -c)" >'{folder}/told'
grep SigBlk /proc/self/status >>'{folder}/told'
echo $$ >'{folder}/new'
mv '{folder}/new' '{folder}/number'
{end}
""")
    program.chmod(0o700)
    return [str(program), "an argument; of no shell"]


def started(folder: Path) -> int:
    number = folder / "number"
    wait_until(number.exists, "the start of the program")
    return int(number.read_text())


def is_there(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_a_program_is_told_in_words_and_ended_with_all_it_started(tmp_path: Path) -> None:
    command = make(tmp_path, f"sleep 600 & echo $! >'{tmp_path}/child'; wait")
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        withdraw = notices.show(notices.Notice(CALL, PURPOSE, 60), (), command, 10, print)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    number = started(tmp_path)
    wait_until((tmp_path / "child").exists, "its child")
    wait_until(lambda: bool((tmp_path / "child").read_text()), "its child's number")
    child = int((tmp_path / "child").read_text())
    assert withdraw is not None
    withdraw()
    wait_until(lambda: not is_there(number), "its end, without a zombie")
    wait_until(lambda: not is_there(child) or "Z" in Path(f"/proc/{child}/stat").read_text(), "the end of its child")
    told = (tmp_path / "told").read_text().splitlines()
    assert told[:4] == [command[1], LINE, "touch usb:?[2J", "login as root?at <b>&amp;"]
    assert told[4:6] == ["/", "0"]
    assert int(told[6].split()[1], 16) == 0


def test_a_program_that_has_ended_leaves_no_zombie(tmp_path: Path) -> None:
    withdraw = notices.show(notices.Notice(CALL, PURPOSE, 60), (), make(tmp_path, "exit 1"), 10, print)
    number = started(tmp_path)
    assert withdraw is not None
    withdraw()
    wait_until(lambda: not is_there(number), "its end, without a zombie")


def test_one_that_is_told_to_end_and_does_not_keeps_nobody_waiting(tmp_path: Path) -> None:
    withdraw = notices.show(
        notices.Notice(CALL, PURPOSE, 60), (), make(tmp_path, "trap '' TERM; exec sleep 600"), 10, print
    )
    number = started(tmp_path)
    assert withdraw is not None
    withdraw()
    assert is_there(number)
    os.kill(number, signal.SIGKILL)
    wait_until(lambda: not is_there(number), "its end, without a zombie")


def configured(*command: str) -> Configuration:
    configuration = Configuration()
    configuration.notices, configuration.notice_command = (), list(command)
    return configuration


def test_a_program_that_is_missing_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_NOTICE_AFTER", 0.0)
    told: list[str] = []
    operation = Operation(60, tell=told.append)
    configuration = configured("/nothing/at/all")

    def notify(calls: list[str]) -> notices.Withdraw | None:
        return touch_notices.show(calls, ResidentRequest(None, None), configuration, operation, 10)

    operation.notify = notify
    for _ in range(2):
        operation.await_person("usb:", lambda: "touch usb:")
        assert not operation.is_set()
        operation.person_came("usb:")
    (sentence,) = told
    assert sentence.startswith("/nothing/at/all cannot be started (No such file or directory), so that no notice is")


def test_a_program_with_more_rights_than_its_user_starts_none(tmp_path: Path) -> None:
    configuration = configured(*make(tmp_path, ""))
    configuration.trusts_environment = False
    request = ResidentRequest(None, None)
    assert touch_notices.show(["touch usb:"], request, configuration, Operation(60), 10) is None
    assert not (tmp_path / "told").exists()


def test_several_that_wait_have_one_notice_which_the_last_withdraws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_NOTICE_AFTER", 0.0)
    shown: list[list[str]] = []
    withdrawn: list[int] = []
    is_being_shown, may_go_on = threading.Event(), threading.Event()

    def notify(calls: list[str]) -> notices.Withdraw:
        number = len(shown)
        shown.append(calls)
        is_being_shown.set()
        assert may_go_on.wait(60)
        return lambda: withdrawn.append(number)

    operation = Operation(60)
    operation.notify = notify
    operation.await_person("a", lambda: "touch a")
    first = threading.Thread(target=operation.is_set)
    first.start()
    assert is_being_shown.wait(60)
    # Others look, and begin to wait, while the notice is on its way.
    operation.await_person("b", lambda: "touch b")
    operation.is_set()
    # All have come, and one waits anew.
    operation.person_came("a")
    operation.person_came("b")
    operation.await_person("a", lambda: "touch a")
    may_go_on.set()
    operation.is_set()
    first.join(60)
    assert shown == [["touch a"], ["touch a"]]
    assert withdrawn == [0]
    operation.person_came("a")
    assert withdrawn == [0, 1]
