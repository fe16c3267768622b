"""What one client has begun, such as a list that took the PIN, no other goes on with, and none ends, wherever it is."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest
from fido2.ctap2 import ClientPin, Ctap2
from support.card import SELECT, reader
from support.serve import Served, connect_udp, connect_unix, open_device, serve

from sk_provider.ctap.apdu import CLA_CTAP2, INS_NFCCTAP_MSG
from sk_provider.ctap.cbor import decode, encode
from sk_provider.ctap.commands import (
    CREDENTIAL_MANAGEMENT,
    DELETE_CREDENTIAL,
    ENUMERATE_CREDENTIALS_BEGIN,
    ENUMERATE_CREDENTIALS_NEXT,
    ENUMERATE_RPS_BEGIN,
    ENUMERATE_RPS_NEXT,
    GET_ASSERTION,
    GET_INFO,
    GET_NEXT_ASSERTION,
)
from sk_provider.ctap.framing import CBOR, INIT, MSG, split_message
from sk_provider.ctap.status import NOT_ALLOWED, SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from fido2.hid import CtapHidDevice

HASH = bytes(32)
PIN = "123456"
PERMISSION = ClientPin.PERMISSION
RP_IDS = ("ssh:", "ssh:first", "ssh:second")
USERS = (b"alice", b"bob")
ALGORITHMS: list[Any] = [{"type": "public-key", "alg": -7}]
U2F_VERSION = b"\0\x03\0\0\0\0\0"

NEXT_RP = bytes([CREDENTIAL_MANAGEMENT]) + encode({1: ENUMERATE_RPS_NEXT})
NEXT_CREDENTIAL = bytes([CREDENTIAL_MANAGEMENT]) + encode({1: ENUMERATE_CREDENTIALS_NEXT})
NEXT_ASSERTION = bytes([GET_NEXT_ASSERTION])


class Client:
    """A client with a channel of its own."""

    def __init__(self, device: CtapHidDevice) -> None:
        self.device = device

    def call(self, request: bytes) -> tuple[int, Any]:
        answer = self.device.call(CBOR, request)
        return answer[0], decode(answer[1:]) if len(answer) > 1 else None

    def manage(self, subcommand: int, *arguments: Any) -> tuple[int, Any]:
        """Begin or do something with the PIN."""
        pin = ClientPin(Ctap2(self.device))
        token = pin.get_pin_token(PIN, PERMISSION.CREDENTIAL_MGMT)
        message = bytes([subcommand]) + b"".join(encode(each) for each in arguments)
        parameters = {1: subcommand, 3: pin.protocol.VERSION, 4: pin.protocol.authenticate(token, message)}
        if arguments:
            parameters[2] = arguments[0]
        return self.call(bytes([CREDENTIAL_MANAGEMENT]) + encode(parameters))


class Place:
    """A token with resident keys and a PIN, which is served at several addresses."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self._served = served
        self._stack = stack

    def client(self, scheme: str) -> Client:
        path = next(name for name in self._served.names if name.startswith("unix:"))
        connected = connect_udp(self._served.address) if scheme == "udp" else connect_unix(path.removeprefix("unix:"))
        return Client(self._stack.enter_context(closing(open_device(connected))))


@pytest.fixture
def place(sockets: Path) -> Iterator[Place]:
    with serve("udp:127.0.0.1:0", f"unix:{sockets}/token") as served, ExitStack() as stack:
        place = Place(served, stack)
        ctap2 = Ctap2(place.client("udp").device)
        pin = ClientPin(ctap2)
        pin.set_pin(PIN)
        for rp_id in RP_IDS:
            for user in USERS:
                token = pin.get_pin_token(PIN, PERMISSION.MAKE_CREDENTIAL, rp_id)
                ctap2.make_credential(
                    HASH, {"id": rp_id}, {"id": user}, ALGORITHMS, options={"rk": True},
                    pin_uv_param=pin.protocol.authenticate(token, HASH), pin_uv_protocol=pin.protocol.VERSION,
                )  # fmt: skip
        yield place


def begin(client: Client, following: bytes) -> None:
    """Have a client begin what the next request goes on with."""
    if following == NEXT_RP:
        status, first = client.manage(ENUMERATE_RPS_BEGIN)
    elif following == NEXT_CREDENTIAL:
        client.manage(ENUMERATE_RPS_BEGIN)
        _, rp = client.call(NEXT_RP)
        status, first = client.manage(ENUMERATE_CREDENTIALS_BEGIN, {1: rp[4]})
    else:
        status, first = client.call(bytes([GET_ASSERTION]) + encode({1: RP_IDS[0], 2: HASH}))
    assert status == SUCCESS
    assert first


@pytest.mark.parametrize(
    "following", [NEXT_RP, NEXT_CREDENTIAL, NEXT_ASSERTION], ids=["RPs", "credentials", "assertions"]
)
def test_nobody_else_goes_on_with_what_a_client_has_begun_nor_ends_it(place: Place, following: bytes) -> None:
    client = place.client("udp")
    others = [place.client("udp"), place.client("unix")]
    begin(client, following)
    for other in others:
        assert other.call(following) == (NOT_ALLOWED, None)
        assert other.call(bytes([GET_INFO]))[0] == SUCCESS
        assert other.device.call(MSG, U2F_VERSION)[-2:] == b"\x90\0"
    status, second = client.call(following)
    assert status == SUCCESS
    assert second


def test_each_client_goes_on_with_its_own(place: Place) -> None:
    clients = [place.client("udp"), place.client("udp"), place.client("unix")]
    for client in clients:
        begin(client, NEXT_RP)
    for _ in range(len(RP_IDS) - 1):
        assert [client.call(NEXT_RP)[0] for client in clients] == [SUCCESS] * len(clients)
    assert [client.call(NEXT_RP)[0] for client in clients] == [NOT_ALLOWED] * len(clients)


def test_another_command_of_the_same_client_ends_what_it_has_begun(place: Place) -> None:
    client = place.client("udp")
    begin(client, NEXT_ASSERTION)
    assert client.call(bytes([GET_INFO]))[0] == SUCCESS
    assert client.call(NEXT_ASSERTION) == (NOT_ALLOWED, None)


def test_a_channel_that_is_brought_back_to_its_beginning_goes_on_with_nothing(place: Place) -> None:
    client = place.client("unix")
    begin(client, NEXT_ASSERTION)
    (init,) = split_message(client.device._channel_id, INIT, b"12345678")
    client.device._connection.write_packet(init)
    assert client.device._connection.read_packet()[4] == init[4]
    assert client.call(NEXT_ASSERTION) == (NOT_ALLOWED, None)


def test_what_is_no_longer_so_is_listed_to_nobody(place: Place) -> None:
    client, other = place.client("udp"), place.client("unix")
    begin(client, NEXT_CREDENTIAL)
    rp_id_hash = other.manage(ENUMERATE_RPS_BEGIN)[1][4]
    credential = other.manage(ENUMERATE_CREDENTIALS_BEGIN, {1: rp_id_hash})[1][7]
    assert other.manage(DELETE_CREDENTIAL, {2: credential})[0] == SUCCESS
    assert client.call(NEXT_CREDENTIAL) == (NOT_ALLOWED, None)


def test_a_new_credential_ends_every_list(place: Place) -> None:
    client, other = place.client("udp"), place.client("unix")
    begin(client, NEXT_CREDENTIAL)
    ctap2 = Ctap2(other.device)
    pin = ClientPin(ctap2)
    token = pin.get_pin_token(PIN, PERMISSION.MAKE_CREDENTIAL, RP_IDS[0])
    ctap2.make_credential(
        HASH, {"id": RP_IDS[0]}, {"id": USERS[0]}, ALGORITHMS, options={"rk": True},
        pin_uv_param=pin.protocol.authenticate(token, HASH), pin_uv_protocol=pin.protocol.VERSION,
    )  # fmt: skip
    assert client.call(NEXT_CREDENTIAL) == (NOT_ALLOWED, None)


def test_a_new_pin_ends_every_list(place: Place) -> None:
    client, other = place.client("udp"), place.client("unix")
    begin(client, NEXT_RP)
    ClientPin(Ctap2(other.device)).change_pin(PIN, PIN[::-1])
    assert client.call(NEXT_RP) == (NOT_ALLOWED, None)


def test_a_card_goes_on_with_nothing_that_was_begun_elsewhere_or_before_it_was_selected() -> None:
    assertion = bytes([GET_ASSERTION]) + encode({1: RP_IDS[0], 2: HASH})
    refused = bytes([NOT_ALLOWED]) + b"\x90\0"
    with reader("udp:127.0.0.1:0") as card, closing(open_device(connect_udp(card.served.address))) as device:
        for user in USERS:
            Ctap2(device).make_credential(HASH, {"id": RP_IDS[0]}, {"id": user}, ALGORITHMS, options={"rk": True})
        card.ask(SELECT)
        assert device.call(CBOR, assertion)[0] == SUCCESS
        assert card.ask(apdu(NEXT_ASSERTION)) == refused
        assert device.call(CBOR, NEXT_ASSERTION)[0] == SUCCESS
        assert card.ask(apdu(assertion))[0] == SUCCESS
        assert card.ask(apdu(NEXT_ASSERTION))[0] == SUCCESS
        assert card.ask(apdu(assertion))[0] == SUCCESS
        card.ask(SELECT)
        assert card.ask(apdu(NEXT_ASSERTION)) == refused


def apdu(request: bytes) -> bytes:
    return bytes([CLA_CTAP2, INS_NFCCTAP_MSG, 0, 0, len(request)]) + request + b"\0"
