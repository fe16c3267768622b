"""What an authenticator may say in the list of its resident keys, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.answering import Liar, Scripted
from support.soft_token import EDDSA, ES256, PIN, Device, Person, credential_id

from sk_provider.api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    FLAG_USER_VERIFICATION,
    ResidentKey,
    ResidentRequest,
)
from sk_provider.authenticator.store import Store
from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.credentials import known_keys
from sk_provider.credentials.public_key import public_key_bytes
from sk_provider.ctap import cbor, commands, status
from sk_provider.errors import AuthenticatorError, PinInvalid, PinNotSet, PinRequired, Unsupported
from sk_provider.operation import Operation
from sk_provider.resident import load_resident_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Lie = Callable[[int, dict[int, object]], None]

APPLICATION = "ssh:"
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


@pytest.mark.parametrize(
    "application",
    [
        "ssh:a\nssh-ed25519 AAAA an attacker",
        "ssh:a\r",
        "ssh:\x1b]0;a\x07",
        "ssh:\u202ea",
        "ssh:a/../../.ssh/x",
    ],
)
def test_an_application_that_could_be_a_line_or_a_path_of_its_own_is_left_out(
    device: Device, monkeypatch: pytest.MonkeyPatch, application: str
) -> None:
    device.make_resident("ssh:a/b..c")
    device.make_resident(application)
    keys, (line,) = load(device, nothing, monkeypatch)
    assert [key.application for key in keys] == ["ssh:a/b..c"]
    assert "could be a line or a path" in line
    assert line.isprintable()


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
    with pytest.raises(AuthenticatorError, match="does not end"):
        load(device, lengthen, monkeypatch)


@pytest.mark.parametrize("total", [0, -1])
def test_an_empty_list_is_none(device: Device, total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(_subcommand: int, answer: dict[int, object]) -> None:
        if TOTAL_RPS in answer:
            answer[TOTAL_RPS] = total

    device.make_resident("ssh:")
    assert load(device, empty, monkeypatch) == ([], [])


def listed(
    device: Device, monkeypatch: pytest.MonkeyPatch, pin: str | None = PIN, known: str | None = None
) -> tuple[list[ResidentKey], Scripted]:
    """Return the keys of a token and the channel to it, which is closed."""
    channel = Scripted({}, device)
    monkeypatch.setattr(selection, "open_for_management", lambda *_: Token(channel, "unix:/token"))
    configuration = Configuration()
    configuration.known_keys = known
    try:
        return load_resident_keys(ResidentRequest(pin, None), configuration, Operation(30)), channel
    finally:
        assert channel.times_closed == 1


@pytest.mark.parametrize(
    ("algorithm", "cose", "level", "flags"),
    [
        (ALGORITHM_ECDSA, ES256, 3, FLAG_USER_VERIFICATION),
        (ALGORITHM_ECDSA, ES256, 2, 0),
        (ALGORITHM_ED25519, EDDSA, 1, 0),
        (ALGORITHM_ED25519, EDDSA, 3, FLAG_USER_VERIFICATION),
    ],
)
def test_a_key_is_told_as_it_was_enrolled(
    device: Device, algorithm: int, cose: int, level: int, flags: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = device.make_resident(APPLICATION, b"alice", algorithm=cose, extensions={"credProtect": level})
    assert made.auth_data.credential_data is not None
    known = str(tmp_path / "known_keys")
    ((key,), _) = listed(device, monkeypatch, known=known)
    assert (key.algorithm, key.application, key.flags) == (algorithm, APPLICATION, flags)
    assert (key.key_handle, key.user_id) == (credential_id(made), b"alice")
    assert key.public_key == public_key_bytes(made.auth_data.credential_data.public_key, cose)
    assert known_keys.recall(known, APPLICATION, key.key_handle) == (algorithm, key.public_key)


def test_a_token_that_verifies_by_itself_needs_no_pin_to_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(Store.create(str(tmp_path / "verifying")), Person(), "uv")
    device.make(options={"rk": True, "uv": True}, extensions={"credProtect": 3})
    device.person.requests.clear()
    ((key,), channel) = listed(device, monkeypatch, None)
    assert key.flags == 0
    assert len(device.person.requests) == 1
    assert commands.GET_PIN_TOKEN not in [each[2] for each in channel.parameters(commands.CLIENT_PIN)]


def test_a_pin_that_is_wanted_is_told_as_no_host_asks_after_this_call(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PinRequired, match="the authenticator requires its PIN to list its keys") as caught:
        listed(device, monkeypatch, None)
    assert not caught.value.is_question
    with pytest.raises(PinInvalid):
        listed(device, monkeypatch, "9999")


def test_a_token_without_a_pin_or_without_a_list_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = Device(Store.create(str(tmp_path / "without")), Person())
    with pytest.raises(PinNotSet, match="the authenticator has no PIN; set one with: pysk pin set unix:/token"):
        listed(without, monkeypatch, None)
    u2f = Device(Store.create(str(tmp_path / "u2f")), Person(), "u2f")
    with pytest.raises(Unsupported, match="cannot list its resident keys"):
        listed(u2f, monkeypatch)


def test_a_token_without_keys_lists_none(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(device, monkeypatch)[0] == []


def test_keys_of_several_tokens_are_not_remembered(
    device: Device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = credential_id(device.make_resident(APPLICATION))
    token = Token(Scripted({}, device), "unix:/token")
    token.is_the_only_one = False
    monkeypatch.setattr(selection, "open_for_management", lambda *_: token)
    configuration = Configuration()
    configuration.known_keys = str(tmp_path / "known_keys")
    (key,) = load_resident_keys(ResidentRequest(PIN, None), configuration, Operation(30))
    assert key.key_handle == made
    assert known_keys.recall(configuration.known_keys, APPLICATION, made) is None


def test_a_failure_ends_the_listing(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Scripted({commands.CREDENTIAL_MANAGEMENT: bytes([status.NOT_ALLOWED])}, device)
    monkeypatch.setattr(selection, "open_for_management", lambda *_: Token(channel, "unix:/token"))
    with pytest.raises(AuthenticatorError, match="does not allow that"):
        load_resident_keys(ResidentRequest(PIN, None), Configuration(), Operation(30))
    assert channel.times_closed == 1
