"""What other users of the machine cannot do; the virtual machine is where a test may always be another user."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from contextlib import closing, contextmanager

import pytest
from fido2.ctap import CtapError
from fido2.ctap2 import ClientPin, Ctap2
from support.openssh import Person, provider_lines
from support.serve import REBOOT, REPORT_SIZE, Served, connect_udp, open_device, serve

from sk_provider.config import Configuration
from sk_provider.ctap import framing
from sk_provider.ctap.cbor import encode
from sk_provider.ctap.commands import CLIENT_PIN, GET_INFO, GET_KEY_AGREEMENT
from sk_provider.doctor import Account, devices
from sk_provider.errors import ConfigurationError, Interrupted
from sk_provider.operation import Operation
from sk_provider.transports import udp, usb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.serve import Served

NOBODY = 65534
PIN = "123456"
INIT = (b"\xff" * 4 + b"\x86\0\x08" + b"12345678").ljust(REPORT_SIZE, b"\0")
AFTERWARDS = b"what is answered after all that came before"
IP_PKTINFO = 8  # which Python's socket has from 3.12 on


@contextmanager
def another_user() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def bound_by_another_user(host: str, port: int = 0) -> socket.socket:
    with another_user():
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((host, port))
    return bound


@pytest.mark.parametrize(
    ("rules", "seen", "remedy"),
    [
        ((), ", and no udev rules for security keys are installed", "install them (Debian: "),
        (
            ("/etc/passwd",),
            ": only who is logged in at this machine's own screen may",
            "plug it in again while you are ",
        ),
    ],
)
def test_a_device_that_may_not_be_opened_is_told_by_the_doctor(
    token: str, monkeypatch: pytest.MonkeyPatch, rules: tuple[str, ...], seen: str, remedy: str
) -> None:
    monkeypatch.setattr(devices, "_RULES", rules)
    account = Account(os.environ, None, None)
    own = next(devices.check(account))
    assert (own.seen, own.remedy) == (f"you may open {token} ({usb.name(token)})", None)
    with another_user():
        finding = next(devices.check(account))
    assert finding.seen == f"you may not open {token} ({usb.name(token)}){seen}"
    assert finding.remedy is not None
    assert finding.remedy.startswith(remedy)


def assert_has_received_nothing(receiver: socket.socket) -> None:
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(REPORT_SIZE)


def test_a_socket_that_another_user_made_is_refused(person: Person) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, socket.socket(socket.AF_UNIX) as listener:
        os.chown(folder, NOBODY, -1)
        path = f"{folder}/socket"
        with another_user():
            listener.bind(path)
            listener.listen()
        done, _ = person.enroll("id", "ed25519-sk", f"device=unix:{path}")
    assert done.status != 0
    assert provider_lines(done.errors) == [f"libpysk: unix:{path} belongs to user {NOBODY}; use a socket of your own"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_another_user_has_is_refused(person: Person, host: str) -> None:
    with closing(bound_by_another_user(host)) as listening:
        address = f"udp:127.0.0.1:{listening.getsockname()[1]}"
        done, _ = person.enroll("id", "ed25519-sk", f"device={address}")
        assert done.status != 0
        assert provider_lines(done.errors) == [f"libpysk: {address} belongs to user {NOBODY}; use one of yours"]
        assert_has_received_nothing(listening)


def test_no_pin_goes_to_a_port_that_another_user_has_taken_over() -> None:
    operation = Operation(60)
    with serve("udp:127.0.0.1:0") as served:
        host, port = served.address
        channel = udp.open(f"{host}:{port}", Configuration(), operation, may_create=False)
    with closing(channel), closing(bound_by_another_user(host, port)) as taken_over:
        key_agreement = bytes([CLIENT_PIN]) + encode({1: 2, 2: GET_KEY_AGREEMENT})
        with pytest.raises(ConfigurationError, match=f"udp:{host}:{port} belongs to user {NOBODY}; use one of yours"):
            channel.call(framing.CBOR, key_agreement, operation)
        assert_has_received_nothing(taken_over)
        operation.call_off()
        with pytest.raises(Interrupted):
            channel.call(framing.CBOR, bytes([GET_INFO]), operation)
        assert taken_over.recv(REPORT_SIZE)[4:8] == b"\x90\0\x01\x04"


@pytest.fixture
def served() -> Iterator[Served]:
    with serve("udp:127.0.0.1:0") as served:
        yield served


def test_another_user_is_not_answered(served: Served) -> None:
    with closing(bound_by_another_user("127.0.0.1")) as other:
        other.sendto(INIT, served.address)
        with closing(open_device(connect_udp(served.address))) as device:
            # Nor on a channel that is another's.
            ping = struct.pack(">IBH", device._channel_id, framing.INIT_PACKET | framing.PING, 0).ljust(
                REPORT_SIZE, b"\0"
            )
            other.sendto(ping, served.address)
            assert device.ping(AFTERWARDS) == AFTERWARDS
        assert_has_received_nothing(other)


def test_another_user_cannot_reboot_the_token(served: Served) -> None:
    with (
        closing(bound_by_another_user("127.0.0.1")) as other,
        closing(connect_udp(served.address)) as own,
        closing(open_device(connect_udp(served.address))) as device,
    ):
        pin = ClientPin(Ctap2(device))
        pin.set_pin(PIN)
        for _ in range(3):
            with pytest.raises(CtapError):
                pin.get_pin_token("wrong!")
        other.sendto(REBOOT, served.address)
        with pytest.raises(CtapError) as caught:
            ClientPin(Ctap2(device)).get_pin_token(PIN)
        assert caught.value.code == CtapError.ERR.PIN_AUTH_BLOCKED
        own.send(REBOOT)
        assert ClientPin(Ctap2(device)).get_pin_token(PIN)


def test_another_user_who_sends_in_our_name_is_not_answered(served: Served) -> None:
    with closing(connect_udp(served.address)) as own, closing(open_device(connect_udp(served.address))) as device:
        host, port = own.getsockname()
        with closing(bound_by_another_user("127.0.0.2", port)) as other:
            source = struct.pack("=i4s4s", 0, socket.inet_aton(host), bytes(4))
            other.sendmsg([INIT], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, served.address)
            assert device.ping(AFTERWARDS) == AFTERWARDS
        assert_has_received_nothing(own)
