"""Of several tokens one lies: that it holds a key, that it was touched, that it has signed. It gets no PIN."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from support.soft_token import PIN, Device, Person, credential_id

from sk_provider import credentials
from sk_provider.api import (
    ALGORITHM_ECDSA,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    ResidentRequest,
    SignRequest,
    SignResponse,
)
from sk_provider.authenticator.store import Store
from sk_provider.client import discovery
from sk_provider.client.discovery import Found
from sk_provider.config import Configuration
from sk_provider.credentials import known_keys
from sk_provider.credentials.public_key import public_key_bytes
from sk_provider.ctap import ES256, cbor, commands, framing, sha256, status
from sk_provider.errors import AuthenticatorError, CredentialNotFound, DeviceNotFound
from sk_provider.operation import Operation
from sk_provider.resident import load_resident_keys
from sk_provider.sign import sign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.transport_api import Channel, Event

    OnKeepalive = Callable[[int], None]
    Answer = Callable[[bytes, Event | None], bytes]

pytestmark = pytest.mark.slow

APPLICATION = "ssh:"
DIGEST = bytes(range(32))
PIN_TRIES = (commands.GET_PIN_TOKEN, commands.GET_TOKEN_USING_PIN)


class Recorded:
    """A channel that keeps what it is asked, and has a function answer CTAP2 commands."""

    def __init__(self, answer: Answer) -> None:
        self.capabilities = framing.CAPABILITY_CBOR
        self.requests: list[bytes] = []
        self._answer = answer

    def call(
        self, cmd: int, data: bytes = b"", event: Event | None = None, on_keepalive: OnKeepalive | None = None
    ) -> bytes:
        self.requests.append(data)
        if data[0] == commands.MAKE_CREDENTIAL and on_keepalive is not None:
            on_keepalive(framing.STATUS_UPNEEDED)
        return self._answer(data, event)

    def close(self) -> None:
        """Nothing to let go."""

    @property
    def got_a_pin(self) -> bool:
        return any(data[0] == commands.CLIENT_PIN and cbor.decode(data[1:])[2] in PIN_TRIES for data in self.requests)


class Drawer:
    """A transport with one channel in it, None where what was found cannot be opened."""

    def __init__(self, channel: Channel | None) -> None:
        self._channel = channel

    def discover(self, location: str) -> list[str]:
        return [location]

    def open(self, *_: object, may_create: bool) -> Channel:
        if self._channel is None:
            raise DeviceNotFound("it was unplugged", "plug it in")
        return self._channel


def honest(device: Device) -> Recorded:
    return Recorded(lambda data, _event: device.call(framing.CBOR, data))


def invented(data: bytes, event: Event | None) -> bytes:
    """Claim to hold every key, and to have signed; wait for a touch for ever; have a PIN like others."""
    if data[0] == commands.MAKE_CREDENTIAL:
        assert event is not None
        while not event.is_set():
            time.sleep(0.01)
        raise event.reason()
    if data[0] == commands.GET_ASSERTION:
        flags = 1 if cbor.decode(data[1:]).get(5, {}).get("up", True) else 0
        authenticator_data = sha256(APPLICATION.encode()) + bytes([flags | 4]) + bytes(4)
        return b"\0" + cbor.encode({2: authenticator_data, 3: bytes.fromhex("3006020101020101")})
    if data[0] == commands.GET_INFO:
        return b"\0" + cbor.encode({1: ["FIDO_2_0"], 3: bytes(16), 4: {"clientPin": True}, 6: [1]})
    return bytes([status.PIN_INVALID])


def claim_without_signature(data: bytes, event: Event | None) -> bytes:
    """Lie as invented() does, but sign with nothing at all."""
    if data[0] != commands.GET_ASSERTION:
        return invented(data, event)
    answer = cbor.decode(invented(data, event)[1:])
    return b"\0" + cbor.encode({**answer, 3: b""})


class Table:
    """What lies on the table: an honest token with a key, whatever lies beside it, and what is known of the key."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        person = Person()
        person.meanwhile = lambda: time.sleep(0.3)
        self.device = Device(Store.create(str(folder / "store")), person)
        made = self.device.make(APPLICATION)
        self.key_handle = credential_id(made)
        assert made.auth_data.credential_data is not None
        self.public_key = public_key_bytes(made.auth_data.credential_data.public_key, ES256)
        self.device.set_pin()
        self.holder = honest(self.device)
        self.configuration = Configuration()
        self.configuration.known_keys = str(folder / "known_keys")
        self.told: list[str] = []
        self._monkeypatch = monkeypatch

    def remember(self) -> None:
        key = (APPLICATION, self.key_handle, ALGORITHM_ECDSA, self.public_key)
        known_keys.remember(self.configuration.known_keys, [key])

    def put(self, *channels: Channel | None, cards: tuple[Channel, ...] | None = None) -> None:
        """Connect tokens; cards: those on the readers, None where readers are not looked for."""
        found = [
            Found("unix", Drawer(channel), f"/{number}") for number, channel in enumerate((*channels, *(cards or ())))
        ]
        self._monkeypatch.setattr(discovery, "discover", lambda *_: found[: len(channels)])
        self._monkeypatch.setattr(discovery, "may_have_more", lambda *_: cards is not None)
        self._monkeypatch.setattr(discovery, "discover_more", lambda: found[len(channels) :])

    def sign(
        self, *channels: Channel, pin: str | None = None, cards: tuple[Channel, ...] | None = None
    ) -> SignResponse:
        self.put(*channels, cards=cards)
        flags = FLAG_USER_PRESENCE | (FLAG_USER_VERIFICATION if pin else 0)
        request = SignRequest(ALGORITHM_ECDSA, DIGEST, APPLICATION, self.key_handle, flags, pin, None)
        return sign(request, self.configuration, Operation(30, tell=self.told.append))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(tmp_path, monkeypatch)


def test_a_pin_goes_to_the_touched_one_of_several_that_claim_the_key(table: Table) -> None:
    liar = Recorded(invented)
    assert table.sign(liar, table.holder, pin=PIN).flags & 4
    assert table.holder.got_a_pin
    assert not liar.got_a_pin
    assert table.told == ["2 authenticators may hold the key for ssh: (unix:/0, unix:/1); touch the one to use"]


def test_a_pin_goes_without_a_touch_to_the_one_that_proves_a_known_key(table: Table) -> None:
    table.remember()
    liar = Recorded(invented)
    assert table.sign(liar, table.holder, pin=PIN).flags & 4
    assert not liar.got_a_pin
    assert table.told == []


def test_a_claim_that_a_known_key_contradicts_is_none(table: Table) -> None:
    table.remember()
    with pytest.raises(CredentialNotFound):
        table.sign(Recorded(invented), Recorded(invented))
    assert table.sign(Recorded(invented), table.holder).flags & 1


def test_a_claim_without_a_signature_is_an_unusable_answer(table: Table) -> None:
    with pytest.raises(AuthenticatorError, match="no signature"):
        table.sign(Recorded(claim_without_signature), Recorded(claim_without_signature))


def test_a_claim_without_a_signature_gets_no_pin_where_the_key_is_known(table: Table) -> None:
    table.remember()
    liar = Recorded(claim_without_signature)
    with pytest.raises(CredentialNotFound):
        table.sign(liar, Recorded(invented), pin=PIN)
    assert not liar.got_a_pin
    assert table.sign(liar, table.holder).flags & 1


def test_a_recorded_claim_proves_nothing(table: Table) -> None:
    table.remember()
    table.sign(Recorded(invented), table.holder)
    (probe, *_) = [data for data in table.holder.requests if data[0] == commands.GET_ASSERTION]
    recorded = table.device.call(framing.CBOR, probe)
    with pytest.raises(CredentialNotFound):
        table.sign(Recorded(invented), Recorded(lambda *_: recorded))


def test_a_signature_that_is_not_the_known_keys_is_an_error(table: Table) -> None:
    def pass_probes_on(data: bytes, event: Event | None) -> bytes:
        is_probe = data[0] == commands.GET_ASSERTION and cbor.decode(data[1:]).get(5) == {"up": False}
        return table.device.call(framing.CBOR, data) if is_probe else invented(data, event)

    table.remember()
    with pytest.raises(AuthenticatorError, match="does not match the public key"):
        table.sign(Recorded(pass_probes_on), Recorded(invented))


@pytest.mark.parametrize("cards", [None, ()], ids=["no readers", "empty readers"])
def test_nothing_is_recalled_and_verified_where_there_is_one_token(
    table: Table, cards: tuple[Channel, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.remember()
    for name in ("known_keys", "signature"):
        monkeypatch.delitem(sys.modules, f"sk_provider.credentials.{name}", raising=False)
        monkeypatch.delattr(credentials, name, raising=False)
    assert table.sign(Recorded(invented), cards=cards).sig_r == bytes(31) + b"\1"
    assert table.sign(table.holder, pin=PIN, cards=cards).flags & 4
    assert not {"sk_provider.credentials.known_keys", "sk_provider.credentials.signature"} & set(sys.modules)


def test_a_card_proves_a_known_key_where_a_plugged_in_token_does_not_hold_it(table: Table, tmp_path: Path) -> None:
    table.remember()
    other, liar = honest(Device(Store.create(str(tmp_path / "other")), Person())), Recorded(invented)
    with pytest.raises(CredentialNotFound):
        table.sign(other, cards=(liar,))
    assert table.sign(other, pin=PIN, cards=(liar, table.holder)).flags & 4
    assert not other.got_a_pin
    assert not liar.got_a_pin
    assert table.told == []


def remembers_listed_keys(table: Table) -> bool:
    key_handle = credential_id(table.device.make_resident(APPLICATION, b"alice"))
    load_resident_keys(ResidentRequest(PIN, None), table.configuration, Operation(30, tell=table.told.append))
    return known_keys.recall(table.configuration.known_keys, APPLICATION, key_handle) is not None


def test_listed_keys_are_remembered_where_there_is_one_token_whether_or_not_there_are_readers(table: Table) -> None:
    table.put(table.holder, cards=())
    assert remembers_listed_keys(table)


def test_listed_keys_are_not_remembered_where_there_was_another_token(table: Table) -> None:
    table.put(Recorded(invented), table.holder)
    assert not remembers_listed_keys(table)
    table.put(None, cards=(table.holder,))
    assert not remembers_listed_keys(table)
