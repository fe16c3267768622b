from __future__ import annotations

import base64
from pathlib import Path

import pytest

from sk_provider import config
from sk_provider.credentials import known_hosts

KEY = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)
OTHER = base64.b64encode(b"other").decode()
WRITTEN = base64.b64encode(KEY).decode()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"other ssh-ed25519 {OTHER}\nweb.example,192.0.2.1 ssh-ed25519 {WRITTEN} comment\n", "web.example"),
        (f"[web.example]:2222 ssh-ed25519 {WRITTEN}\nlater ssh-ed25519 {WRITTEN}\n", "[web.example]:2222"),
        (f"|1|c2FsdA==|aGFzaA== ssh-ed25519 {WRITTEN}\n", None),
        (f"|1|c2FsdA==|aGFzaA== ssh-ed25519 {WRITTEN}\nweb ssh-ed25519 {WRITTEN}\n", "web"),
        (f"@revoked web ssh-ed25519 {WRITTEN}\n", None),
        (f"# web {WRITTEN}\n", None),
        (f"*.example ssh-ed25519 {WRITTEN}\n", None),
        (f"web ssh-ed25519 {OTHER}\n", None),
        ("\n\x00\udcff\n", None),
        (None, None),
    ],
)
def test_a_server_is_named_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, name: str | None
) -> None:
    monkeypatch.setattr(config, "home_directory", lambda: str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    if text is not None:
        (tmp_path / ".ssh/known_hosts").write_text(text, errors="surrogateescape")
    assert known_hosts.name_of(KEY) == name
