"""How a person is told of a touch where a program has more rights than they have, and where no notice can be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.traced import sentence_of, trace_into

from sk_provider import touch_notices
from sk_provider.api import MAJOR_SIGNING_ASKS, ResidentRequest
from sk_provider.asking import notices
from sk_provider.config import Configuration
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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


class Shown:
    """What stands in for the notices: how they were shown, or what they raise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.ways: list[tuple[tuple[str, ...], list[str]]] = []
        self.told: list[str] = []
        self.traced: list[str] = []
        self.error = error
        self.configuration = Configuration()
        self.operation = Operation(60, tell=self.told.append)
        self.operation.trace = trace_into(self.traced)
        self.operation.notify = lambda _calls: None
        monkeypatch.setattr(notices, "show", self.show)

    def show(
        self,
        _notice: object,
        ways: tuple[str, ...],
        command: list[str],
        _api_major: int,
        trace: Callable[[str], object],
    ) -> None:
        self.ways.append((ways, command))
        trace("desktop: told there")
        if self.error is not None:
            raise self.error

    def tell(self) -> None:
        request = ResidentRequest(None, None)
        touch_notices.show(["touch it"], request, self.configuration, self.operation, MAJOR_SIGNING_ASKS)


def test_a_program_with_more_rights_tells_of_a_touch_on_the_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch)
    shown.configuration.notices, shown.configuration.notice_command = ("desktop", "terminal"), ["/bin/true"]
    shown.tell()
    shown.configuration.trusts_environment = False
    shown.tell()
    shown.configuration.notices = ("desktop",)
    shown.tell()
    assert shown.ways == [(("desktop", "terminal"), ["/bin/true"]), (("terminal",), [])]
    assert [sentence_of(line) for line in shown.traced] == ["Notify desktop: told there"] * 2
    assert shown.told == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            notices.CannotTell("/x cannot be started"),
            "/x cannot be started, so that no notice is shown; correct Notify in pysk_config",
        ),
        (
            ValueError("a secret"),
            "no notice can be shown (ValueError); write `Notify no` in pysk_config to do without",
        ),
    ],
)
def test_a_notice_that_cannot_be_shown_is_told_and_is_the_last(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    shown = Shown(monkeypatch, error)
    shown.configuration.notices = ("desktop",)
    shown.tell()
    assert shown.told == [told]
    assert shown.operation.notify is None
