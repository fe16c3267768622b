"""Who asks for a PIN in a program that has more rights than whoever started it, and what an askpass may do."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from sk_provider.asking import pins
from sk_provider.operation import Operation

NOBODY = 65534


@pytest.mark.parametrize("way", ["askpass", "pinentry"])
def test_a_program_with_more_rights_starts_no_other_to_ask(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    program.chmod(0o700)
    monkeypatch.setattr(pins, "PINENTRY", str(program))
    for name, value in (("SSH_ASKPASS", str(program)), ("DISPLAY", ":0")):
        monkeypatch.setitem(os.environ, name, value)
    question = pins.Question("a purpose", "usb:", "", 60)
    with pytest.raises(pins.CannotAsk, match="this program has more rights than you"):
        pins.ask(way, question, Operation(60), trusts_environment=False)
    assert not (tmp_path / "ran").exists()


def ask_by(program: Path, monkeypatch: pytest.MonkeyPatch, event: Operation) -> str | None:
    for name, value in (("SSH_ASKPASS", str(program)), ("DISPLAY", ":0")):
        monkeypatch.setitem(os.environ, name, value)
    question = pins.Question("a purpose", "usb:", "", 60)
    return pins.ask("askpass", question, event, trusts_environment=True)


@pytest.mark.parametrize("end", ["", "\\n", "\\r\\n", "\\nand more\\n"])
def test_a_line_of_an_askpass_ends_as_ssh_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\nprintf '1234{end}'\n")
    program.chmod(0o700)
    assert ask_by(program, monkeypatch, Operation(60)) == "1234"


class Over(Operation):
    """One that is over once something has been waited for."""

    def is_set(self) -> bool:
        return True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a program that has its rights")
def test_an_askpass_that_cannot_be_ended_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="pysk-") as name:
        os.chmod(name, 0o755)
        program = Path(name) / "askpass"
        shutil.copy(str(shutil.which("yes")), program)
        program.chmod(0o4755)
        child = os.fork()
        if child == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            try:
                os._exit(0 if ask_by(program, monkeypatch, Over(60)) is None else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
