"""Who asks for a PIN in a program that has more rights than whoever started it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sk_provider.asking import pins
from sk_provider.operation import Operation


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
