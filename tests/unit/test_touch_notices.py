"""Who is told of a touch by a program that has more rights than whoever started it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sk_provider import touch_notices
from sk_provider.api import MAJOR_SIGNING_ASKS, ResidentRequest
from sk_provider.asking import notices
from sk_provider.config import Configuration
from sk_provider.operation import Operation


@pytest.mark.parametrize("trusts_environment", [True, False])
def test_a_program_with_more_rights_starts_no_other_to_tell_of_a_touch(
    trusts_environment: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(notices, "_run", lambda _notice, command: started.append(command))
    told: list[str] = []
    configuration = Configuration()
    configuration.trusts_environment = trusts_environment
    configuration.notices, configuration.notice_command = (), [str(tmp_path / "program"), "an argument"]
    operation = Operation(60, tell=told.append)
    touch_notices.show(["touch it"], ResidentRequest(None, None), configuration, operation, MAJOR_SIGNING_ASKS)
    assert started == ([configuration.notice_command] if trusts_environment else [])
    assert told == []
