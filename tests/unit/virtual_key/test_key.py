from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from support.serve import wait_until

from sk_provider.authenticator.presence import GRANTED
from sk_provider.authenticator.profiles import profile
from sk_provider.authenticator.store import STATE_FILE, Store
from sk_provider.ctap import status
from sk_provider.ctap.framing import CBOR
from sk_provider.virtual_key import key as key_module
from sk_provider.virtual_key.key import VirtualKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESET = b"\x07"
TOGGLE_ALWAYS_UV = bytes.fromhex("0da10102")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def key(tmp_path: Path, said: list[str]) -> Iterator[VirtualKey]:
    store = Store.create(str(tmp_path / "store"))
    key = VirtualKey(store, lambda _request, _event: GRANTED, profile("fido2.1"), said.append, lambda: None)
    yield key
    key.close()


def call(key: VirtualKey, request: bytes) -> int:
    job = key.start(None, CBOR, request)
    wait_until(lambda: job.response is not None, "the answer")
    assert job.response is not None
    return job.response[0]


def test_reset_is_allowed_for_ten_seconds_after_power_up_alone(
    key: VirtualKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(key_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    key.power_up()
    clock.now += 9
    assert call(key, RESET) == status.SUCCESS
    clock.now += 2
    assert call(key, RESET) == status.NOT_ALLOWED
    key.power_up()
    assert call(key, RESET) == status.SUCCESS


def test_what_is_announced_is_told_from_the_store_of_the_moment(key: VirtualKey) -> None:
    assert key.announced() == 0x04
    assert call(key, TOGGLE_ALWAYS_UV) == status.SUCCESS
    assert key.announced() == 0x0C
    assert key.capabilities == 0x04


def test_a_store_that_cannot_be_read_is_told_and_ends_nothing(key: VirtualKey, said: list[str], tmp_path: Path) -> None:
    os.unlink(tmp_path / "store" / STATE_FILE)
    assert key.announced() == 0x04
    assert said == [f"there is no store at {tmp_path}/store; restore it from a backup or begin with a new one"]
