"""python-fido2's own transport for /dev/hidraw as a client of the software authenticator."""

from __future__ import annotations

import os
import time
from contextlib import closing
from threading import Event

import pytest
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import Ctap1
from fido2.ctap2 import ClientPin, CredentialManagement, Ctap2
from fido2.hid import CtapHidDevice, list_descriptors, open_connection
from fido2.hid.base import HidDescriptor
from support.serve import serve, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HASH = bytes(32)
RP = {"id": "ssh:", "name": "ssh"}
USER = {"id": b"u" * 32, "name": "openssh"}
ALGORITHMS: list[Mapping[str, object]] = [{"type": "public-key", "alg": -8}]


def descriptor_of(path: str) -> HidDescriptor:
    found: list[HidDescriptor] = list_descriptors()  # type: ignore[no-untyped-call]
    (descriptor,) = (descriptor for descriptor in found if descriptor.path == path)
    return descriptor


def open_hidraw(path: str) -> CtapHidDevice:
    return CtapHidDevice(descriptor_of(path), open_connection(descriptor_of(path)))  # type: ignore[no-untyped-call]


def test_descriptor_names_the_device(token: str) -> None:
    descriptor = descriptor_of(token)
    assert (descriptor.vid, descriptor.pid) == (0x1209, 0x0001)
    assert (descriptor.report_size_in, descriptor.report_size_out) == (64, 64)
    assert descriptor.product_name == "libpysk software authenticator"


def test_request_of_the_size_that_is_told_passes_however_fast_it_is_sent(token: str) -> None:
    with closing(open_hidraw(token)) as device:
        size = Ctap2(device).info.max_msg_size
        assert size == 1827
        data = os.urandom(size)
        for _ in range(5):
            assert device.ping(data) == data
        device.wink()


def test_longest_message_passes_at_the_pace_of_usb(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_hidraw(token)) as device:
        write_packet = device._connection.write_packet

        def write_slowly(packet: bytes) -> None:
            time.sleep(0.01)
            write_packet(packet)

        monkeypatch.setattr(device._connection, "write_packet", write_slowly)
        data = os.urandom(7609)
        assert device.ping(data) == data


def test_pin_and_credential_management_work(tmp_path: Path) -> None:
    with serve("--store", str(tmp_path / "store"), "uhid:") as served, closing(open_hidraw(served.names[0])) as device:
        ctap2 = Ctap2(device)
        client_pin = ClientPin(ctap2)
        client_pin.set_pin("123456")
        permissions = ClientPin.PERMISSION.MAKE_CREDENTIAL | ClientPin.PERMISSION.CREDENTIAL_MGMT
        pin_token = client_pin.get_pin_token("123456", permissions, "ssh:")
        ctap2.make_credential(
            HASH,
            RP,
            USER,
            ALGORITHMS,
            options={"rk": True},
            pin_uv_param=client_pin.protocol.authenticate(pin_token, HASH),
            pin_uv_protocol=client_pin.protocol.VERSION,
        )
        pin_token = client_pin.get_pin_token("123456", ClientPin.PERMISSION.CREDENTIAL_MGMT)
        management = CredentialManagement(Ctap2(device), client_pin.protocol, pin_token)
        (found,) = management.enumerate_rps()
        assert found[CredentialManagement.RESULT.RP]["id"] == "ssh:"


def test_u2f_works(token: str) -> None:
    with closing(open_hidraw(token)) as device:
        registration = Ctap1(device).register(HASH, HASH)
        registration.verify(HASH, HASH)


def test_touch_can_be_cancelled() -> None:
    with serve("uhid:", presence="after:20000") as served, closing(open_hidraw(served.names[0])) as device:
        event = Event()

        def on_keepalive(status: int) -> None:
            if status == STATUS.UPNEEDED:
                event.set()

        with pytest.raises(CtapError) as caught:
            Ctap2(device).selection(event=event, on_keepalive=on_keepalive)
        assert caught.value.code == CtapError.ERR.KEEPALIVE_CANCEL


def test_question_goes_when_nobody_has_the_device_open_any_more() -> None:
    with serve("uhid:", presence="after:20000") as served:
        device = open_hidraw(served.names[0])
        channel = device._channel_id.to_bytes(4, "big")
        device._connection.write_packet((channel + b"\x90\x00\x01\x0b").ljust(64, b"\0"))
        assert device._connection.read_packet()[4] == 0xBB
        device.close()
        with closing(open_hidraw(served.names[0])) as again:
            event = Event()
            assert again._do_call(0x10, b"\x04", event, None)[0] == 0  # type: ignore[no-untyped-call]  # call() would wait


@pytest.mark.parametrize("ending", ["terminate", "kill"])
def test_device_is_gone_when_its_server_ends(ending: str) -> None:
    with serve("uhid:") as served:
        path = served.names[0]
        assert os.path.exists(path)
        getattr(served.process, ending)()
        wait_until(lambda: not os.path.exists(path), "the unplugging")


def test_dead_token_is_unplugged_under_its_client() -> None:
    with serve("uhid:", fault="dies-after:4") as served, closing(open_hidraw(served.names[0])) as device:
        with pytest.raises(OSError, match=r".*"):
            device.ping(b"x" * 100)
        wait_until(lambda: not os.path.exists(served.names[0]), "the unplugging")
