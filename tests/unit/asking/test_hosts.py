"""Which programs tell a person themselves that a touch is waited for."""

from __future__ import annotations

import posix

import pytest

from sk_provider import api
from sk_provider.asking import hosts

NEWEST = 0x000A0000


@pytest.mark.parametrize(
    ("name", "major", "has_terminal", "has_askpass", "tells"),
    [
        ("ssh", NEWEST, True, False, True),
        ("ssh", NEWEST, False, True, True),
        ("ssh", NEWEST, False, False, False),
        ("ssh", api.MAJOR_SIGNING_ASKS - 1, True, True, False),
        ("ssh-keygen", NEWEST, True, False, True),
        ("ssh-keygen", NEWEST, False, True, False),
        (hosts.AGENT, NEWEST, False, True, True),
        (hosts.AGENT, NEWEST, True, False, False),
        ("ssh-add", NEWEST, True, True, False),
        ("sshd", NEWEST, True, True, False),
        (None, NEWEST, True, True, False),
    ],
)
def test_who_tells_of_a_touch(
    monkeypatch: pytest.MonkeyPatch, name: str | None, major: int, has_terminal: bool, has_askpass: bool, tells: bool
) -> None:
    monkeypatch.setattr(hosts, "program", lambda: name)
    monkeypatch.setattr(posix, "isatty", lambda _descriptor: has_terminal)
    monkeypatch.setitem(posix.environ, b"SSH_ASKPASS", b"/bin/true" if has_askpass else b"/nothing")
    monkeypatch.setitem(posix.environ, b"DISPLAY", b":9")
    monkeypatch.setitem(posix.environ, b"SSH_ASKPASS_REQUIRE", b"")
    assert hosts.tells_of_touches(major) is tells
