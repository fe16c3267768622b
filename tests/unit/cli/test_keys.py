"""pysk keys with an authenticator that keeps no more of an application than its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from support.answering import Liar
from support.soft_token import PIN, Device, Person, credential_id

from sk_provider.authenticator.store import Store
from sk_provider.cli.keys import keys
from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.credentials import key_handle
from sk_provider.ctap import commands

RP = 3
LONG = "ssh:" + "a long name " * 4
KEPT = 32


def shorten(request: bytes, answer: dict[int, object]) -> None:
    rp = answer.get(RP)
    if request[0] == commands.CREDENTIAL_MANAGEMENT and isinstance(rp, dict):
        rp["id"] = rp["id"][:KEPT]


def test_a_key_of_a_shortened_application_can_be_listed_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(Store.create(str(tmp_path / "store")), Person())
    device.set_pin(PIN)
    key = key_handle.digest(credential_id(device.make_resident(LONG, b"alice")))
    monkeypatch.setattr(selection, "open_for_management", lambda *_: Token(Liar(device, shorten), "unix:/liar"))
    listed = CliRunner().invoke(keys, ["list"], input=f"{PIN}\n")
    assert listed.stdout.splitlines()[-1] == f"{key}  ecdsa-sk  none  -  {LONG[:KEPT]}...  alice  name of 616c696365"
    assert CliRunner().invoke(keys, ["delete", "--yes", key], input=f"{PIN}\n").exit_code == 0
    assert CliRunner().invoke(keys, ["list"], input=f"{PIN}\n").stdout == ""
