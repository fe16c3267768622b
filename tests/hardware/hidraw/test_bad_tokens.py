"""The provider on a token on /dev/hidraw that falls silent, answers nonsense or floods it: how each ends."""

from __future__ import annotations

import pytest
from support.openssh import Person, assert_signs, enrolled, provider_lines
from support.plugged import NEVER, NotingServer, Plugged
from support.processes import in_time

from sk_provider.authenticator.profiles import DEFAULT
from sk_provider.authenticator.store import Store
from sk_provider.ctap.framing import INIT, INIT_PACKET, KEEPALIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.terminal import Done

    from sk_provider.device_side.job import PluggedIn
    from sk_provider.device_side.loop import Loop

TIMEOUT_S = 2
CANCEL_S = 0.5  # for a token to confirm that it gave up


class SpoilingServer(NotingServer):
    """Sends what is made of each report, while there is something to make of it."""

    def __init__(self, plugged_in: PluggedIn, loop: Loop) -> None:
        self.spoil: Callable[[bytes], list[bytes]] | None = None
        super().__init__(plugged_in, loop)

    def send(self, report: bytes, peer: str) -> None:
        for each in [report] if self.spoil is None else self.spoil(report):
            super().send(each, peer)


def is_first_of(command: int, report: bytes) -> bool:
    return report[4] == command | INIT_PACKET


@pytest.mark.parametrize(
    ("spoil", "presence", "deadline_s", "sentence"),
    [
        pytest.param(
            lambda report: [report] if is_first_of(INIT, report) else [],
            "auto",
            # As long as a touch, for which it may wait
            TIMEOUT_S + CANCEL_S,
            f"nobody answered within {TIMEOUT_S} seconds; try again and touch the authenticator",
            id="silence",
        ),
        pytest.param(
            lambda report: [report if is_first_of(INIT, report) else report[:4] + b"\xff" * 60],
            "auto",
            CANCEL_S,
            "the authenticator announced an impossible message; unplug it, plug it in and try again",
            id="garbage",
        ),
        pytest.param(
            # As many as the bus can carry
            lambda report: [report] * (40 if is_first_of(KEEPALIVE, report) else 1),
            NEVER,
            TIMEOUT_S + CANCEL_S,
            f"nobody answered within {TIMEOUT_S} seconds; try again and touch the authenticator",
            id="flood",
        ),
    ],
)
def test_a_bad_token_is_given_up_in_time_and_the_next_operation_works(
    person: Person, spoil: Callable[[bytes], list[bytes]], presence: str, deadline_s: float, sentence: str
) -> None:
    Store.create(str(person.store))
    with Plugged(SpoilingServer, person.store, DEFAULT) as plugged:
        key = enrolled(person)
        plugged.server.spoil, plugged.presence = spoil, presence
        person.config.write_text(f"Timeout {TIMEOUT_S}\n")

        def sign() -> tuple[Done, Path]:
            plugged.server.messages.clear()
            return person.sign(key)

        done, _ = in_time(deadline_s, sign)
        assert done.status != 0
        assert provider_lines(done.errors) == [f"libpysk: {sentence}"]
        assert plugged.server.messages == ["init", "get", "cancel"]
        plugged.server.spoil, plugged.presence = None, "auto"
        person.config.write_text("")
        assert_signs(person, key)
