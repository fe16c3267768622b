"""What an authenticator may say in the list of its resident keys, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.answering import Liar
from support.soft_token import PIN, Device, Person, credential_id

from sk_provider.api import FLAG_USER_VERIFICATION, ResidentKey, ResidentRequest
from sk_provider.authenticator.store import Store
from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import cbor, commands
from sk_provider.errors import AuthenticatorError
from sk_provider.operation import Operation
from sk_provider.resident import load_resident_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Lie = Callable[[int, dict[int, object]], None]

LONG = "ssh:" + "a long name " * 4
RP, RP_ID_HASH, TOTAL_RPS, USER, CREDENTIAL_ID, PUBLIC_KEY, TOTAL_CREDENTIALS = 3, 4, 5, 6, 7, 8, 9


@pytest.fixture
def device(tmp_path: Path) -> Device:
    device = Device(Store.create(str(tmp_path / "store")), Person())
    device.set_pin(PIN)
    return device


def load(device: Device, lie: Lie, monkeypatch: pytest.MonkeyPatch) -> tuple[list[ResidentKey], list[str]]:
    """Return the keys that the host is told of, and what the person is told; lie: takes the subcommand."""

    def change(request: bytes, answer: dict[int, object]) -> None:
        if request[0] == commands.CREDENTIAL_MANAGEMENT:
            lie(cbor.decode(request[1:])[1], answer)

    told: list[str] = []
    monkeypatch.setattr(selection, "open_for_management", lambda *_: Token(Liar(device, change), "unix:/liar"))
    keys = load_resident_keys(ResidentRequest(PIN, None), Configuration(), Operation(30, tell=told.append))
    return keys, told


def nothing(_subcommand: int, _answer: dict[int, object]) -> None:
    pass


def of_first_credential(member: int, value: object) -> Lie:
    def lie(subcommand: int, answer: dict[int, object]) -> None:
        if subcommand == commands.ENUMERATE_CREDENTIALS_BEGIN:
            answer[member] = value

    return lie


def test_the_keys_of_ssh_are_listed_and_no_others(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = credential_id(device.make_resident("ssh:work", b"alice", extensions={"credProtect": 3}))
    device.make_resident("example.com")
    (key,), told = load(device, nothing, monkeypatch)
    assert (key.application, key.user_id, key.key_handle) == ("ssh:work", b"alice", ours)
    assert key.flags == FLAG_USER_VERIFICATION
    assert told == []


def shorten(_subcommand: int, answer: dict[int, object]) -> None:
    """Tell no more of an RP ID than its beginning."""
    rp = answer.get(RP)
    if isinstance(rp, dict):
        rp["id"] = rp["id"][:32]


def test_a_shortened_application_is_left_out_and_told(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.make_resident(LONG)
    device.make_resident("ssh:")
    (key,), (sentence,) = load(device, shorten, monkeypatch)
    assert key.application == "ssh:"
    assert LONG[:32] in sentence


@pytest.mark.parametrize("public_key", [5, {}, {3: -48}, {3: [1]}, {1: 2, 3: -7, -1: 1, -2: 5, -3: 5}, {1: 2, 3: -7}])
def test_a_credential_that_nobody_can_use_costs_only_itself(
    device: Device, public_key: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = credential_id(device.make_resident("ssh:", b"first"))
    device.make_resident("ssh:", b"second")
    (key,), _ = load(device, of_first_credential(PUBLIC_KEY, public_key), monkeypatch)
    assert key.key_handle == first  # the newest is listed first


@pytest.mark.parametrize(
    ("member", "value"), [(CREDENTIAL_ID, {"id": b""}), (CREDENTIAL_ID, 5), (USER, {"id": "text"}), (USER, [])]
)
def test_a_damaged_entry_costs_only_itself_and_is_told(
    device: Device, member: int, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = credential_id(device.make_resident("ssh:", b"first"))
    device.make_resident("ssh:", b"second")
    (key,), (sentence,) = load(device, of_first_credential(member, value), monkeypatch)
    assert key.key_handle == first
    assert "damaged" in sentence


@pytest.mark.parametrize("rp_id", ["ssh:\0", "SSH:", 5, None])
def test_an_application_that_no_host_takes_is_not_listed(
    device: Device, rp_id: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(_subcommand: int, answer: dict[int, object]) -> None:
        if RP in answer:
            answer[RP] = {"id": rp_id}

    device.make_resident("ssh:")
    assert load(device, rename, monkeypatch) == ([], [])


@pytest.mark.parametrize("member", [TOTAL_RPS, TOTAL_CREDENTIALS])
@pytest.mark.parametrize("total", [1001, 1 << 40, "many"])
def test_a_list_without_an_end_is_an_error(
    device: Device, member: int, total: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lengthen(_subcommand: int, answer: dict[int, object]) -> None:
        if member in answer:
            answer[member] = total

    device.make_resident("ssh:")
    with pytest.raises(AuthenticatorError, match="has no end"):
        load(device, lengthen, monkeypatch)


@pytest.mark.parametrize("total", [0, -1])
def test_an_empty_list_is_none(device: Device, total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(_subcommand: int, answer: dict[int, object]) -> None:
        if TOTAL_RPS in answer:
            answer[TOTAL_RPS] = total

    device.make_resident("ssh:")
    assert load(device, empty, monkeypatch) == ([], [])
