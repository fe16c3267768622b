"""Which keys of a directory authenticators are taken to hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.records import record

from sk_provider.api import SEALED_MARK
from sk_provider.authenticator.store import Store
from sk_provider.client import discovery, holders
from sk_provider.config import Configuration
from sk_provider.errors import CredentialNotFound, Interrupted, StoreUnusable
from sk_provider.operation import Operation
from sk_provider.transports import nfc

KEY = record()
NOBODY = "unix:/nonexistent"


def configured(*addresses: str) -> Configuration:
    configuration = Configuration()
    configuration.add_rule("devices", [], list(addresses))
    return configuration


def test_a_card_that_somebody_would_have_to_bring_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nfc, "discover", lambda _location: [])
    monkeypatch.setattr(nfc, "open", lambda *_, **_named: pytest.fail("it was waited for"))
    for addresses in (["nfc:"], ["nfc:", NOBODY]):
        assert discovery.discover_connected(addresses, Configuration()) == []
    assert holders.may_be_held([KEY], None, configured("nfc:"), Operation(30)) == [KEY]
    assert holders.count_connected("nfc:", Configuration(), Operation(30)) == 0


def test_a_key_whose_handle_tells_of_a_store_that_cannot_be_used_may_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnusable("the store is open to others", "close it")

    monkeypatch.setattr(discovery, "open_marked", refuse)
    assert holders.may_be_held([KEY], None, configured(NOBODY), Operation(30)) == [KEY]


def test_a_key_of_a_store_that_is_elsewhere_is_looked_for_at_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CredentialNotFound("another store's", "name it")

    monkeypatch.setattr(discovery, "open_marked", refuse)
    assert holders.may_be_held([KEY], None, configured(NOBODY), Operation(30)) == [KEY]


def test_a_key_that_there_is_no_time_to_ask_for_may_be_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Store.create(str(tmp_path / "store"))
    configuration = configured(f"soft:{tmp_path}/store")
    assert holders.may_be_held([KEY], None, configuration, Operation(30)) == []
    monkeypatch.setattr(holders, "_PATIENCE", 0)
    assert holders.may_be_held([KEY], None, configuration, Operation(30)) == [KEY]


def test_an_interrupted_operation_asks_nobody() -> None:
    operation = Operation(30)
    operation.call_off()
    with pytest.raises(Interrupted):
        holders.may_be_held([KEY], None, configured(NOBODY), operation)


def test_a_key_whose_handle_is_sealed_may_be_held_by_any(tmp_path: Path) -> None:
    Store.create(str(tmp_path / "store"))
    sealed = record(key_handle=SEALED_MARK + bytes(100))
    assert holders.may_be_held([KEY, sealed], None, configured(f"soft:{tmp_path}/store"), Operation(30)) == [sealed]
