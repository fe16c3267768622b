"""The software authenticator in this process: where its store is, when it asks, and what wakes it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from fido2.ctap import CtapError
from fido2.ctap2 import ClientPin, Ctap2

from sk_provider import config
from sk_provider.asking import confirmation
from sk_provider.authenticator import presence
from sk_provider.authenticator.store import Store
from sk_provider.config import Configuration
from sk_provider.ctap import commands, framing, status
from sk_provider.errors import (
    ConfigurationError,
    CredentialNotFound,
    DeviceNotFound,
    Interrupted,
    PresenceDenied,
    StoreUnusable,
)
from sk_provider.operation import Operation
from sk_provider.transports import soft
from sk_provider.transports.soft import SoftChannel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GET_INFO = bytes([commands.GET_INFO])
MAKE: Any = (
    bytes(32),
    {"id": "ssh:", "name": "ssh:"},
    {"id": b"user", "name": "user"},
    [{"type": "public-key", "alg": -7}],
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (config, soft):
        monkeypatch.setattr(module, "home_directory", lambda: str(tmp_path))
    return tmp_path


def settings(how: str = "auto") -> Configuration:
    configuration = Configuration()
    configuration.presence = how
    return configuration


def open_store(location: str, how: str = "auto", *, may_create: bool = False, may_reset: bool = False) -> SoftChannel:
    return soft.open(location, settings(how), Operation(30), may_create=may_create, may_reset=may_reset)


def client(channel: SoftChannel) -> Ctap2:
    return Ctap2(channel)  # type: ignore[arg-type]  # it needs no more than a channel has


def make(channel: SoftChannel) -> bytes:
    made = client(channel).make_credential(*MAKE)
    assert made.auth_data.credential_data is not None
    return made.auth_data.credential_data.credential_id


def test_the_default_store_is_in_the_home(home: Path) -> None:
    assert soft.store_path("") == soft.default_store() == f"{home}/.local/share/pysk/soft"
    assert soft.store_path("~/store") == f"{home}/store"


def test_a_store_is_found_where_there_is_one_and_made_where_one_may_be(home: Path) -> None:
    path = str(home / "one store")
    for location in (path, ""):
        assert soft.discover(location) == []
        with pytest.raises(DeviceNotFound) as caught:
            open_store(location)
        assert caught.value.happened == f"there is no software authenticator in {soft.store_path(location)}"
        option = shlex.quote(f"soft:{location}")
        assert caught.value.remedy == f"enroll a key with -O device={option} to make one"
        assert soft.discover(location) == []
        channel = open_store(location, may_create=True)
        assert channel.capabilities & framing.CAPABILITY_CBOR
        channel.close()
        assert soft.discover(location) == [location]
        open_store(location).close()


def test_a_relative_path_is_none(home: Path) -> None:
    for call in (soft.discover, open_store):
        with pytest.raises(ConfigurationError, match="soft:store is not an absolute path; begin it with / or ~/"):
            call("store")


def test_a_key_is_signed_by_the_store_that_made_it_wherever_that_is(home: Path) -> None:
    named = str(home / "named")
    channel = open_store(named, may_create=True)
    key_handle = make(channel)
    for locations in ([named], [str(home / "none"), named]):
        held = soft.open_holder(key_handle, locations, settings(), Operation(30))
        assert held is not None
        assert held[0] == named
        assert Ctap2(held[1]).get_assertion(  # type: ignore[arg-type]  # as above
            "ssh:", bytes(32), [{"type": "public-key", "id": key_handle}]
        )
    with pytest.raises(CredentialNotFound, match=r"neither the default one \(soft:\) nor named by Device; name it"):
        soft.open_holder(key_handle, [], settings(), Operation(30))
    default = open_store("", may_create=True)
    with pytest.raises(CredentialNotFound):
        soft.open_holder(key_handle, [""], settings(), Operation(30))
    of_default = make(default)
    held = soft.open_holder(of_default, [named], settings(), Operation(30))
    assert held is not None
    assert held[0] == ""


def test_the_settings_that_are_missed_are_told_for_a_key_of_an_unknown_store(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = settings()
    monkeypatch.setattr(configuration, "aside", lambda: " (and more)")
    with pytest.raises(CredentialNotFound, match=r"nor named by Device \(and more\); name"):
        soft.open_holder(b"pysk", [], configuration, Operation(30))


def test_whether_a_person_is_asked_is_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[tuple[object, ...], dict[str, object]]] = []
    answers = [confirmation.CONFIRMED]

    def confirm(*arguments: object, **named: object) -> int:
        asked.append((arguments, named))
        return answers[0]

    monkeypatch.setattr(confirmation, "confirm", confirm)
    path = str(tmp_path / "store")
    make(open_store(path, may_create=True))
    with pytest.raises(
        PresenceDenied, match=r"refuses everything that needs a touch of soft: \(Presence deny\); change that"
    ):
        make(open_store(path, "deny"))
    assert asked == []
    channel = open_store(path, "ask")
    make(channel)
    ((question, event), named) = asked[0]
    assert "ssh:" in str(question)
    assert isinstance(event, Operation)
    assert named == {"purpose": "", "trusts_environment": True, "aside": ""}
    answers[0] = confirmation.REFUSED
    with pytest.raises(CtapError) as caught:
        make(channel)
    assert caught.value.code == status.OPERATION_DENIED
    answers[0] = confirmation.UNANSWERED
    with pytest.raises(CtapError) as caught:
        make(channel)
    assert caught.value.code == status.KEEPALIVE_CANCEL


def test_nobody_who_answers_in_time_ends_the_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "confirm", lambda *_, **__: confirmation.UNANSWERED)
    operation = Operation(30)
    channel = soft.open(str(tmp_path / "store"), settings("ask"), operation, may_create=True)
    client(channel)
    operation.call_off()
    with pytest.raises(Interrupted):
        make(channel)


def test_the_event_of_a_call_is_what_ends_the_question(tmp_path: Path) -> None:
    event = Operation(30)
    asked: list[object] = []

    def confirm(_question: str, event: object, **_named: object) -> int:
        asked.append(event)
        return confirmation.CONFIRMED

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(confirmation, "confirm", confirm)
        channel = soft.open(str(tmp_path / "store"), settings("ask"), Operation(30), may_create=True)
        client(channel).make_credential(*MAKE, event=event)  # type: ignore[arg-type]  # is_set() is all that it needs
    assert asked == [event]


def test_a_reset_is_allowed_where_it_is_said(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    Store.create(path)
    with pytest.raises(CtapError) as caught:
        client(open_store(path)).reset()
    assert caught.value.code == status.NOT_ALLOWED
    client(open_store(path, may_reset=True)).reset()


def test_a_start_of_the_machine_is_a_power_up(tmp_path: Path) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    assert soft.boot_id() == boot_id
    channel = open_store(str(tmp_path / "store"), may_create=True)
    assert channel._authenticator.power_up is not None
    before = len(list(Path("/proc/self/fd").iterdir()))
    soft.boot_id()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_pin_stays_blocked_until_the_machine_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "store")
    ClientPin(client(open_store(path, may_create=True))).set_pin("1234")
    codes = []
    for boot_id in (b"first", b"first", b"first", b"first", b"second"):
        monkeypatch.setattr(soft, "boot_id", lambda boot_id=boot_id: boot_id)
        with pytest.raises(CtapError) as caught:
            ClientPin(client(open_store(path))).get_pin_token("9999")
        codes.append(caught.value.code)
    wrong, blocked = status.PIN_INVALID, status.PIN_AUTH_BLOCKED
    assert codes == [wrong, wrong, blocked, blocked, wrong]


def test_without_a_boot_id_all_starts_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError

    monkeypatch.setattr("posix.open", refuse)
    assert soft.boot_id() == b"no boot id"


def test_a_store_that_cannot_be_read_is_told_unless_the_call_has_ended(tmp_path: Path) -> None:
    channel = open_store(str(tmp_path / "store"), may_create=True)
    (tmp_path / "store" / "state").write_bytes(b"")
    event = Operation(30)
    for each in (None, event):
        with pytest.raises(StoreUnusable):
            channel.call(framing.CBOR, GET_INFO, each)
    event.call_off()
    with pytest.raises(Interrupted):
        channel.call(framing.CBOR, GET_INFO, event)


def test_what_a_person_is_asked_is_granted_or_not() -> None:
    assert len({presence.GRANTED, presence.DENIED, presence.CANCELLED}) == 3
