"""Trying an authenticator, in the test's own process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from support.answering import Liar
from support.drawer import Drawer
from support.faulty import with_bad_signature
from support.soft_token import PIN, Device, Person

from sk_provider import trial
from sk_provider.authenticator import presence
from sk_provider.authenticator.profiles import PROFILES
from sk_provider.authenticator.store import Store
from sk_provider.config import Configuration, Use
from sk_provider.ctap import EDDSA, ES256, commands
from sk_provider.errors import (
    AuthenticatorError,
    DeviceNotFound,
    PinInvalid,
    PinNotSet,
    PresenceDenied,
    Unsupported,
)
from sk_provider.operation import Operation
from sk_provider.transports import soft
from sk_provider.trial import Trial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.transport_api import Channel

BOTH = ["ed25519-sk", "ecdsa-sk"]
ADDRESS = "unix:/token"


class Table:
    """Where the tests put a token down.

    asked: how often a PIN was asked for; announced: steps before they began; milliseconds: what steps took; clock: the
    time that it is, in seconds, which passes only by what happens.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known_keys = folder / "known_keys"
        self.asked = 0
        self.name: str | None = None
        self.announced: list[tuple[str, str]] = []
        self.milliseconds: list[float] = []
        self.clock = 1000.0
        self.drawer = Drawer()
        self.drawer.put_in_place_of("unix", monkeypatch)
        monkeypatch.setattr(trial, "time", self)

    def monotonic(self) -> float:
        return self.clock

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds

    def try_out(self, channel: Channel, pin: str = PIN) -> list[tuple[str | None, str]]:
        def ask() -> str:
            self.asked += 1
            self.pass_time(100)
            return pin

        self.drawer.channels["/token"] = channel
        configuration = Configuration()
        configuration.known_keys = str(self.known_keys)
        # A key that nobody keeps wants no passphrase, and nobody is asked for one.
        configuration.add_rule("seals_key_handles", [], True)
        configuration.settle(Use())
        operation = Operation(60, tell=lambda _: None)
        tried = Trial(
            configuration,
            operation,
            ask_for_pin=ask,
            announce=lambda key_type, step: self.announced.append((key_type, step)),
        )
        steps = []
        for step in tried.run(ADDRESS):
            steps.append(step)
            # Whatever time the person has taken, the next step has all of it.
            operation._deadline = 0.0
            self.pass_time(10)
        assert tried.description is not None
        assert (tried.description.address, tried.description.transport) == (ADDRESS, "unix")
        self.name = tried.description.name
        self.milliseconds = [step.milliseconds for step in steps]
        return [(step.key_type, step.name) for step in steps]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(tmp_path, monkeypatch)


def new_token(folder: Path, name: str = "fido2.1") -> Device:
    return Device(Store.create(str(folder / "store")), Person(), name)


def expected(*key_types: str) -> list[tuple[str | None, str]]:
    done: list[tuple[str | None, str]] = [(None, "open")]
    return done + [(key_type, step) for key_type in key_types for step in ("enroll", "sign", "verify")]


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "always-uv"])
def test_each_profile_is_tried_with_the_keys_that_it_has_and_keeps_nothing(
    table: Table, tmp_path: Path, name: str
) -> None:
    token = new_token(tmp_path, name)
    key_types = ["ecdsa-sk"] if name in ("u2f", "es256-only") else BOTH
    assert table.try_out(token) == expected(*key_types)
    assert table.asked == 0
    assert table.announced == [(key_type, step) for key_type in key_types for step in ("enroll", "sign")]
    # One touch for each key, and one for each signature.
    assert len(token.person.requests) == 2 * len(key_types)
    assert not token.store.read().credentials
    assert not table.known_keys.exists()
    assert not any(may_create for _, may_create in table.drawer.opened[:1])


@pytest.mark.parametrize("name", ["fido2.0", "pin-for-create", "always-uv"])
def test_a_pin_is_asked_for_once_where_the_token_wants_one(table: Table, tmp_path: Path, name: str) -> None:
    token = new_token(tmp_path, name)
    token.set_pin()
    assert table.try_out(token) == expected(*BOTH)
    assert table.asked == 1


def test_no_pin_is_asked_for_where_the_token_does_without(table: Table, tmp_path: Path) -> None:
    token = new_token(tmp_path)
    token.set_pin()
    assert table.try_out(token) == expected(*BOTH)
    assert table.asked == 0


def test_a_wrong_pin_is_told_and_tried_once(table: Table, tmp_path: Path) -> None:
    token = new_token(tmp_path, "always-uv")
    token.set_pin()
    with pytest.raises(PinInvalid, match="wrong PIN, 7 tries left"):
        table.try_out(token, "wrong")
    assert table.asked == 1


def test_a_pin_that_is_wanted_and_not_set_is_told(table: Table, tmp_path: Path) -> None:
    with pytest.raises(PinNotSet, match="pysk pin set unix:/token"):
        table.try_out(new_token(tmp_path, "always-uv"))
    assert table.asked == 0


def test_a_refused_touch_ends_it(table: Table, tmp_path: Path) -> None:
    token = new_token(tmp_path)
    token.person.answer = presence.DENIED
    with pytest.raises(PresenceDenied):
        table.try_out(token)
    assert len(token.person.requests) == 1


def test_a_key_type_that_was_not_announced_is_left_out_where_it_is_refused(table: Table, tmp_path: Path) -> None:
    token = new_token(tmp_path, "es256-only")

    def conceal(request: bytes, answer: dict[int, object]) -> None:
        if request[0] == commands.GET_INFO:
            answer.pop(0x0A)

    assert table.try_out(Liar(token, conceal)) == expected("ecdsa-sk")


def test_a_key_type_that_is_announced_and_refused_is_told(table: Table, tmp_path: Path) -> None:
    token = new_token(tmp_path, "es256-only")

    def boast(request: bytes, answer: dict[int, object]) -> None:
        if request[0] == commands.GET_INFO:
            answer[0x0A] = [{"alg": algorithm, "type": "public-key"} for algorithm in (EDDSA, ES256)]

    with pytest.raises(Unsupported, match="does not support this type of key"):
        table.try_out(Liar(token, boast))


def test_a_touch_takes_time_and_the_entering_of_a_pin_does_not(table: Table, tmp_path: Path) -> None:
    token = new_token(tmp_path, "always-uv")
    token.set_pin()
    token.person.meanwhile = lambda: table.pass_time(2)
    table.try_out(token)
    assert table.asked == 1
    assert table.milliseconds == [0.0, *(2000.0, 2000.0, 0.0) * 2]


def test_the_token_is_let_go_after_each_step(table: Table, tmp_path: Path) -> None:
    token = new_token(tmp_path)
    closed: list[Device] = []
    token.close = lambda: closed.append(token)  # type: ignore[method-assign]
    table.try_out(token)
    assert len(closed) == len(table.drawer.opened) == 5


def test_a_u2f_token_is_named_by_what_it_calls_itself(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.try_out(new_token(tmp_path, "u2f"))
    assert table.name == "U2F security key"
    monkeypatch.setattr(table.drawer, "name", lambda location: f"Key at {location}", raising=False)
    table.try_out(new_token(tmp_path, "u2f"))
    assert table.name == "Key at /token"


@pytest.mark.parametrize("name", ["fido2.1", "u2f"])
def test_a_signature_that_is_not_by_the_key_is_told(table: Table, tmp_path: Path, name: str) -> None:
    token = new_token(tmp_path, name)
    answer = token.call

    def spoil(cmd: int, data: bytes = b"", *more: object) -> bytes:
        return with_bad_signature(cmd, data, answer(cmd, data, *more))

    token.call = spoil  # type: ignore[assignment,method-assign]
    with pytest.raises(AuthenticatorError, match="not by the key that the authenticator has just made"):
        table.try_out(token)


def test_a_token_that_is_not_there_is_not_made(table: Table) -> None:
    with pytest.raises(DeviceNotFound):
        table.try_out(DeviceNotFound("there is none", "make one"))  # type: ignore[arg-type]  # the drawer raises it
    assert table.drawer.opened == [("/token", False)]


def test_a_software_authenticator_that_was_not_made_yet_is_one_that_ends_with_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(soft, "home_directory", lambda: str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    configuration = Configuration()
    configuration.add_rule("presence", [], "auto")
    configuration.settle(Use())
    tried = Trial(configuration, Operation(60), ask_for_pin=lambda: "", announce=lambda *_: None)
    assert [step.key_type for step in tried.run("soft:") if step.name == "verify"] == BOTH
    assert tried.description is not None
    assert tried.description.address.startswith(f"soft:{scratch}/")
    assert list(scratch.iterdir()) == []
    assert not home.exists()
