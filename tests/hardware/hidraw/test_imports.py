"""What a signature by a token that is plugged in loads and opens: it is what a person waits for."""

from __future__ import annotations

from support.openssh import enrolled
from support.watched import Watched, assert_lean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def test_a_signature_without_a_pin_loads_nothing_heavy_and_opens_no_module(token: str, tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    person = watched.person(tmp_path)
    person.config.write_text("")
    told = watched.sign(person, enrolled(person))
    assert "sk_provider.transports.usb" in told.modules
    assert_lean(told)
    assert watched.module_files(told) == []
