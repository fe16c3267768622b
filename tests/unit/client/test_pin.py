"""PINs: which are sent, what proves them, and what a token's refusal means."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from fido2.ctap import CtapError
from fido2.ctap2 import ClientPin, Ctap2
from support.answering import Liar, Scripted, answer
from support.soft_token import CLIENT_DATA_HASH, PIN, Device, Permission, Person, credential_id, descriptor

from sk_provider.api import ALGORITHM_ECDSA, FLAG_USER_PRESENCE, SignRequest
from sk_provider.authenticator.store import Store
from sk_provider.client import pin
from sk_provider.client.token import Token
from sk_provider.ctap import cbor, commands, status
from sk_provider.errors import (
    PinBlocked,
    PinInvalid,
    PinNotSet,
    PinRequired,
    PresenceDenied,
    SecurityKeyError,
    Unsupported,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.transport_api import Channel

RP_ID = "ssh:"
WRONG = "9999"
UV_ATTEMPTS = 0x11  # the member of getInfo's answer
CHANGE = "the authenticator requires its PIN to be changed first; change it with: pysk pin change unix:/token"
SET = "set one with: pysk pin set unix:/token"


def make_device(folder: Path, profile: str = "fido2.1") -> Device:
    return Device(Store.create(str(folder / "store")), Person(), profile)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    device = make_device(tmp_path)
    device.set_pin()
    return device


class Client:
    """What asks a token about PINs, and what the person is told."""

    def __init__(self, channel: Channel) -> None:
        self.told: list[str] = []
        self.operation = Operation(30, tell=self.told.append)
        self.token = Token(channel, "unix:/token")
        self.ctap2: Ctap2 = self.token.open_client(self.operation)

    def get(self, text: str = PIN, permissions: int = Permission.GET_ASSERTION) -> tuple[ClientPin, bytes]:
        return pin.get_token(self.ctap2, text, permissions, RP_ID, self.token)

    def verify(self, permissions: int = Permission.GET_ASSERTION) -> tuple[ClientPin, bytes]:
        return pin.get_uv_token(self.ctap2, permissions, RP_ID, self.token, self.operation)

    def refusal(self, text: str = PIN) -> SecurityKeyError:
        with pytest.raises(SecurityKeyError) as caught:
            self.get(text)
        return caught.value

    def refusal_to_verify(self) -> SecurityKeyError:
        with pytest.raises(SecurityKeyError) as caught:
            self.verify()
        return caught.value


@pytest.mark.parametrize("text", ["1234", 63 * "a", 31 * "\u00e9" + "a", 4 * "\U0001f600"])
def test_a_pin_has_at_least_4_characters_and_at_most_63_bytes(text: str) -> None:
    assert pin.normalize(text) == text


@pytest.mark.parametrize("text", ["123", "", "\u00e9\u00e9\u00e9", "e\u0301e\u0301e\u0301"])
def test_a_shorter_pin_is_no_pin(text: str) -> None:
    with pytest.raises(PinInvalid, match="the PIN is too short: it must have at least 4 characters; try again"):
        pin.normalize(text)


@pytest.mark.parametrize("text", [64 * "a", 32 * "\u00e9"])
def test_a_longer_pin_is_no_pin(text: str) -> None:
    with pytest.raises(PinInvalid, match="the PIN is too long: it must have at most 63 bytes; try again"):
        pin.normalize(text)


def test_a_pin_may_have_to_be_longer() -> None:
    assert pin.normalize("123456", 6) == "123456"
    with pytest.raises(PinInvalid, match="the PIN is too short: it must have at least 6 characters"):
        pin.normalize("12345", 6)


def test_a_pin_is_sent_in_normalization_form_c() -> None:
    assert pin.normalize("e\u0301" * 4) == "\u00e9" * 4 == unicodedata.normalize("NFC", "e\u0301" * 4)


def test_bytes_that_are_no_text_are_no_pin() -> None:
    with pytest.raises(PinInvalid, match="the PIN is not UTF-8 text; correct it"):
        pin.normalize("123\udc80")


def test_a_pins_token_is_good_for_its_application_and_its_permissions(device: Device) -> None:
    client = Client(device)
    handle = credential_id(device.make())
    client_pin, token = client.get()
    proof: dict[str, Any] = {
        "pin_uv_param": client_pin.protocol.authenticate(token, CLIENT_DATA_HASH),
        "pin_uv_protocol": client_pin.protocol.VERSION,
    }
    allowed = [descriptor(handle)]
    signed = client.ctap2.get_assertion(RP_ID, CLIENT_DATA_HASH, allowed, **proof)
    assert signed.auth_data.flags & 4
    client_pin, token = client.get()
    proof["pin_uv_param"] = client_pin.protocol.authenticate(token, CLIENT_DATA_HASH)
    with pytest.raises(CtapError):
        client.ctap2.get_assertion("ssh:other", CLIENT_DATA_HASH, allowed, **proof)
    with pytest.raises(CtapError):
        device.make(**proof)


def test_a_pin_that_no_token_can_have_costs_no_try(device: Device) -> None:
    client = Client(device)
    assert str(client.refusal("123")) == "the PIN is too short: it must have at least 4 characters; try again"
    assert device.store.read().pin_retries == 8


def test_a_pin_that_this_token_cannot_have_costs_no_try(device: Device) -> None:
    def lie(request: bytes, told: dict[int, Any]) -> None:
        if request[0] == commands.GET_INFO:
            told[0x0D] = 6

    assert (
        str(Client(Liar(device, lie)).refusal("12345"))
        == "the PIN is too short: it must have at least 6 characters; try again"
    )
    assert device.store.read().pin_retries == 8


def test_the_tries_that_are_left_are_told(device: Device) -> None:
    client = Client(device)
    error = client.refusal(WRONG)
    assert (type(error), str(error)) == (PinInvalid, "wrong PIN, 7 tries left; try again")
    with device.store.transaction() as state:
        state.pin_retries = 2
    assert str(client.refusal(WRONG)) == "wrong PIN, 1 try left; try again"
    client.get()
    assert device.store.read().pin_retries == 8


def test_a_pin_that_is_blocked_by_the_last_try_is_told(device: Device) -> None:
    with device.store.transaction() as state:
        state.pin_retries = 1
    client = Client(device)
    for text in (WRONG, PIN):
        error = client.refusal(text)
        assert type(error) is PinBlocked
        assert error.happened == "the PIN is blocked for good"


def test_a_pin_that_is_blocked_until_the_next_power_up_is_told(device: Device) -> None:
    client = Client(device)
    kinds = [type(client.refusal(WRONG)) for _ in range(3)]
    assert kinds == [PinInvalid, PinInvalid, PinBlocked]
    error = client.refusal()
    assert type(error) is PinBlocked
    assert "after three wrong tries" in str(error)


def test_a_third_wrong_pin_may_be_refused_as_a_wrong_one(device: Device) -> None:
    # The tries tell that none counts until the token starts anew.
    def lie(request: bytes, told: dict[int, Any]) -> None:
        if request[0] == commands.CLIENT_PIN and cbor.decode(request[1:])[2] == commands.GET_PIN_RETRIES:
            told[4] = True

    error = Client(Liar(device, lie)).refusal(WRONG)
    assert type(error) is PinBlocked
    assert "after three wrong tries" in str(error)


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"clientPin": False}, PinNotSet, f"the authenticator has no PIN; {SET}"),
        ({"clientPin": False, "uv": False}, PinNotSet, f"the authenticator has no PIN; {SET}"),
        (
            {"clientPin": False, "uv": True},
            PinNotSet,
            "the authenticator has no PIN; leave the PIN empty: the authenticator verifies you itself",
        ),
        ({}, Unsupported, "the authenticator does not support PINs; leave the PIN empty"),
    ],
)
def test_a_pin_is_not_sent_where_there_is_none(
    options: dict[str, bool], kind: type[SecurityKeyError], sentence: str
) -> None:
    channel = Scripted({commands.GET_INFO: answer({1: ["FIDO_2_1"], 3: bytes(16), 4: options, 6: [1]})})
    error = Client(channel).refusal()
    assert (type(error), str(error)) == (kind, sentence)
    assert channel.parameters(commands.CLIENT_PIN) == []


def test_a_pin_that_must_be_changed_is_not_sent(device: Device) -> None:
    with device.store.transaction() as state:
        state.force_pin_change = True
    channel = Scripted({}, device)
    error = Client(channel).refusal()
    assert (type(error), str(error)) == (PinBlocked, CHANGE)
    assert channel.parameters(commands.CLIENT_PIN) == []


def test_a_pin_that_must_be_changed_may_be_told_by_its_refusal(device: Device) -> None:
    class Refusing(Scripted):
        def call(self, cmd: int, data: bytes = b"", *arguments: Any) -> bytes:
            if data[0] == commands.CLIENT_PIN and cbor.decode(data[1:])[2] == commands.GET_TOKEN_USING_PIN:
                return bytes([self.code])
            return super().call(cmd, data, *arguments)

        code = status.PIN_POLICY_VIOLATION

    channel = Refusing({}, device)
    assert str(Client(channel).refusal()) == CHANGE
    channel.code = status.NOT_ALLOWED
    assert "does not allow that" in str(Client(channel).refusal())


def test_a_pin_protocol_that_is_not_known_is_told() -> None:
    info = answer({1: ["FIDO_2_1"], 3: bytes(16), 4: {"clientPin": True}, 6: [77]})
    error = Client(Scripted({commands.GET_INFO: info})).refusal()
    assert type(error) is Unsupported
    assert "a PIN protocol that libpysk does not know" in str(error)


@pytest.fixture
def verifying(tmp_path: Path) -> Device:
    return make_device(tmp_path, "uv")


def test_one_gesture_verifies_the_person_for_an_application_and_permissions(verifying: Device) -> None:
    client = Client(verifying)
    client_pin, token = client.verify(Permission.MAKE_CREDENTIAL)
    proof: dict[str, Any] = {
        "pin_uv_param": client_pin.protocol.authenticate(token, CLIENT_DATA_HASH),
        "pin_uv_protocol": client_pin.protocol.VERSION,
    }
    assert verifying.make(**proof).auth_data.flags & 4
    client_pin, token = client.verify(Permission.MAKE_CREDENTIAL)
    proof["pin_uv_param"] = client_pin.protocol.authenticate(token, CLIENT_DATA_HASH)
    with pytest.raises(CtapError):
        verifying.make("ssh:other", **proof)
    assert client.told == []


class Unrecognised:
    """Refuses each verification by the token itself, and counts them; has a PIN with tries, or none."""

    def __init__(self, device: Device, preferred: int | None, code: int = status.UV_INVALID) -> None:
        self.capabilities = device.capabilities
        self.tries = 0
        self.succeeds_at = 0
        self._device = device
        self._preferred = preferred
        self._code = code

    def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
        if data[0] == commands.CLIENT_PIN and cbor.decode(data[1:])[2] == commands.GET_TOKEN_USING_UV:
            self.tries += 1
            if self.tries != self.succeeds_at:
                return bytes([self._code])
        response = self._device.call(cmd, data, event, on_keepalive)
        if data[0] != commands.GET_INFO:
            return response
        info = cbor.decode(response[1:])
        info.pop(UV_ATTEMPTS, None)
        return answer(info if self._preferred is None else {**info, UV_ATTEMPTS: self._preferred})

    def close(self) -> None:
        """Nothing to let go."""


@pytest.mark.parametrize(("preferred", "tries"), [(None, 1), (0, 1), (1, 1), (3, 3), (5, 5), (6, 5), (100, 5)])
def test_whoever_is_not_recognised_tries_as_often_as_the_token_prefers(
    verifying: Device, preferred: int | None, tries: int
) -> None:
    channel = Unrecognised(verifying, preferred)
    client = Client(channel)
    error = client.refusal_to_verify()
    assert type(error) is PresenceDenied
    assert channel.tries == tries
    assert client.told == (tries - 1) * ["the authenticator did not recognise you; try again"]


def test_whoever_is_recognised_later_is_verified(verifying: Device) -> None:
    channel = Unrecognised(verifying, 3)
    channel.succeeds_at = 2
    client = Client(channel)
    client.verify()
    assert channel.tries == 2
    assert len(client.told) == 1


@pytest.mark.parametrize("code", [status.UV_INVALID, status.UV_BLOCKED])
def test_the_pin_is_asked_for_where_the_person_is_not_recognised(verifying: Device, code: int) -> None:
    verifying.set_pin()
    client = Client(Unrecognised(verifying, 1, code))
    error = client.refusal_to_verify()
    assert (type(error), str(error)) == (PinRequired, "the authenticator did not recognise you; enter its PIN instead")
    with verifying.store.transaction() as state:
        state.force_pin_change = True
    assert str(Client(Unrecognised(verifying, 1, code)).refusal_to_verify()) == CHANGE


def test_no_pin_is_asked_for_where_there_is_none_or_where_it_would_not_help(verifying: Device) -> None:
    error = Client(Unrecognised(verifying, 1, status.UV_BLOCKED)).refusal_to_verify()
    assert type(error) is PinBlocked
    verifying.set_pin()
    channel = Unrecognised(verifying, 3, status.OPERATION_DENIED)
    error = Client(channel).refusal_to_verify()
    assert type(error) is PresenceDenied
    assert "was not confirmed" in str(error)
    assert channel.tries == 1


def request_of(key_handle: bytes) -> SignRequest:
    return SignRequest(ALGORITHM_ECDSA, CLIENT_DATA_HASH, RP_ID, key_handle, FLAG_USER_PRESENCE, PIN, None)


def test_an_assertion_is_authorized_for_its_message(device: Device) -> None:
    token = Token(device, "unix:/token")
    request = request_of(credential_id(device.make()))
    authorization = pin.authorize_assertion(token, PIN, request, Operation(30))
    assertion = token.get_assertion(request, Operation(30), uv=False, pin_uv_auth=authorization)
    assert assertion.flags == 5


def test_u2f_knows_no_pins(tmp_path: Path) -> None:
    token = Token(make_device(tmp_path, "u2f"), "unix:/token")
    assert pin.authorize_assertion(token, PIN, request_of(b"key"), Operation(30)) is None


def test_tries_are_counted_in_words() -> None:
    assert [pin.tries_left(number) for number in (0, 1, 2)] == ["0 tries left", "1 try left", "2 tries left"]
