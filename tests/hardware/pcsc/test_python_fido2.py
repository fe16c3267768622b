"""python-fido2 over pcscd as a client of the software authenticator."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from threading import Event

import pytest
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import Ctap1
from fido2.ctap2 import ClientPin, CredentialManagement, Ctap2
from fido2.pcsc import CtapPcscDevice
from support.serve import serve, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HASH = bytes(32)
RP = {"id": "ssh:", "name": "ssh"}
USER = {"id": b"u" * 32, "name": "openssh"}
ALGORITHMS: list[Mapping[str, object]] = [{"type": "public-key", "alg": -7}]
GET_INFO = b"\x04"


def devices() -> list[CtapPcscDevice]:
    return list(CtapPcscDevice.list_devices("Virtual PCD"))


@contextmanager
def card(*options: str, presence: str = "auto") -> Iterator[CtapPcscDevice]:
    """Put a card into the reader, and open it."""
    with serve(*options, "vpcd:", presence=presence):
        wait_until(devices, "the card's being seen")
        with closing(devices()[0]) as device:
            yield device


def test_card_appears_with_its_server_and_goes_with_it() -> None:
    assert devices() == []
    with card() as device:
        assert device.get_atr() == bytes.fromhex("3b80800101")
    wait_until(lambda: not devices(), "the card's removal")


@pytest.mark.parametrize("extended", [False, True])
def test_credential_signs_with_short_and_with_extended_apdus(extended: bool) -> None:
    with card() as device:
        device.use_ext_apdu = extended
        ctap2 = Ctap2(device)
        exclude: list[Mapping[str, object]] = [{"type": "public-key", "id": os.urandom(200)} for _ in range(4)]
        made = ctap2.make_credential(HASH, RP, USER, ALGORITHMS, exclude_list=exclude)
        assert made.auth_data.credential_data is not None
        allow: list[Mapping[str, object]] = [{"type": "public-key", "id": made.auth_data.credential_data.credential_id}]
        assertion = ctap2.get_assertion("ssh:", HASH, allow)
        assertion.verify(HASH, made.auth_data.credential_data.public_key)


def test_pin_and_credential_management_work() -> None:
    with card() as device:
        ctap2 = Ctap2(device)
        client_pin = ClientPin(ctap2)
        client_pin.set_pin("123456")
        pin_token = client_pin.get_pin_token("123456", ClientPin.PERMISSION.CREDENTIAL_MGMT)
        management = CredentialManagement(Ctap2(device), client_pin.protocol, pin_token)
        assert management.enumerate_rps() == []


def test_u2f_credential_signs() -> None:
    with card() as device:
        registration = Ctap1(device).register(HASH, HASH)
        registration.verify(HASH, HASH)
        signature = Ctap1(device).authenticate(HASH, HASH, registration.key_handle)
        signature.verify(HASH, HASH, registration.public_key)


def test_token_with_u2f_alone_is_found() -> None:
    with card("--profile", "u2f") as device:
        assert Ctap1(device).get_version() == "U2F_V2"
        with pytest.raises(CtapError):
            device.call(0x10, GET_INFO)


def test_touch_that_takes_long_is_announced_and_awaited() -> None:
    with card(presence="after:1500") as device:
        told: list[int] = []
        Ctap2(device).selection(on_keepalive=told.append)
        assert told[-1] == STATUS.UPNEEDED


def test_touch_can_be_cancelled() -> None:
    with card(presence="after:20000") as device:
        event = Event()

        def on_keepalive(status: int) -> None:
            if status == STATUS.UPNEEDED:
                event.set()

        with pytest.raises(CtapError) as caught:
            Ctap2(device).selection(event=event, on_keepalive=on_keepalive)
        assert caught.value.code == CtapError.ERR.KEEPALIVE_CANCEL
        assert device.call(0x10, GET_INFO)[0] == 0


def test_reader_that_knows_no_keepalives_waits_for_the_touch() -> None:
    with card(presence="after:500") as device:
        device.use_nfcctap_getresponse = False
        assert Ctap2(device).make_credential(HASH, RP, USER, ALGORITHMS).fmt == "packed"


def test_power_cut_by_the_reader_is_a_power_cycle() -> None:
    with card() as device:
        client_pin = ClientPin(Ctap2(device))
        client_pin.set_pin("123456")
        for _ in range(3):
            with pytest.raises(CtapError) as caught:
                client_pin.get_pin_token("wrong!")
        assert caught.value.code == CtapError.ERR.PIN_AUTH_BLOCKED
        device.close()  # pyscard has the reader switch the card off
        device.connect()  # type: ignore[no-untyped-call]
        assert ClientPin(Ctap2(device)).get_pin_token("123456")


def test_card_of_a_dead_token_is_removed() -> None:
    with serve("vpcd:", fault="dies-after:9") as served:

        def is_dead() -> bool:
            devices()  # packets
            return served.process.poll() is not None

        wait_until(is_dead, "the death")
        wait_until(lambda: not devices(), "the card's removal")
