"""USB elsewhere than on Linux, with python-fido2's connections played."""

from __future__ import annotations

import threading

import pytest
from fido2 import hid
from fido2.hid.base import CtapHidConnection, HidDescriptor

from sk_provider.ctap import framing
from sk_provider.ctap import hid as ctaphid
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound
from sk_provider.operation import Operation
from sk_provider.transports import usb_portable

REPORT = bytes(64)


def descriptor(path: str, vendor: int = 1, product: int = 2) -> HidDescriptor:
    return HidDescriptor(path, vendor, product, 64, 64, None, None)


class Connection(CtapHidConnection):
    """Gives what it is told to, one after the other, and waits for ever where there is nothing."""

    def __init__(self, *answers: bytes | Exception, answers_init: bool = False) -> None:
        self.written: list[bytes] = []
        self.times_read = 0
        self.times_closed = 0
        self.more = threading.Semaphore(len(answers))
        self.answers = list(answers)
        self._answers_init = answers_init

    def write_packet(self, data: bytes) -> None:
        self.written.append(data)
        if self._answers_init:
            told = data[7:15] + b"\0\0\0\1\2\0\0\0\4"
            self.answers.append((data[:5] + len(told).to_bytes(2, "big") + told).ljust(64, b"\0"))
            self.more.release()

    def read_packet(self) -> bytes:
        self.times_read += 1
        self.more.acquire(timeout=30)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.times_closed += 1
        self.answers.append(OSError("closed"))
        self.more.release()


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[HidDescriptor]:
    found = [descriptor("a"), descriptor("b", 1, 3), descriptor("c", 4, 2)]
    monkeypatch.setattr(hid, "list_descriptors", lambda: iter(found))
    return found


def test_devices_are_found_by_vendor_and_product(devices: list[HidDescriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    assert usb_portable.discover(None) == ["a", "b", "c"]
    assert usb_portable.discover((1, 3)) == ["b"]
    assert usb_portable.discover((1, 4)) == []

    def fail() -> None:
        raise OSError

    monkeypatch.setattr(hid, "list_descriptors", fail)
    assert usb_portable.discover(None) == []


def test_a_device_is_opened_by_its_path(devices: list[HidDescriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(answers_init=True)
    opened: list[HidDescriptor] = []

    def open_connection(found: HidDescriptor) -> Connection:
        opened.append(found)
        return connection

    monkeypatch.setattr(hid, "open_connection", open_connection)
    channel = usb_portable.open("b", Operation(30))
    assert channel.capabilities == framing.CAPABILITY_CBOR
    assert opened == [devices[1]]
    channel.close()
    channel.close()
    assert connection.times_closed == 1


def test_a_device_that_is_not_there_is_told(devices: list[HidDescriptor]) -> None:
    with pytest.raises(DeviceNotFound, match="no security key x is plugged in; plug it in"):
        usb_portable.open("x", Operation(30))
    devices.clear()
    with pytest.raises(DeviceNotFound, match="no security key is plugged in; plug it in"):
        usb_portable.open("", Operation(30))


def test_a_device_that_cannot_be_opened_is_told(devices: list[HidDescriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_found: HidDescriptor) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hid, "open_connection", refuse)
    with pytest.raises(ConfigurationError, match=r"a may not be opened \(Permission denied\); allow it to your user"):
        usb_portable.open("a", Operation(30))


def test_a_silent_device_is_closed(devices: list[HidDescriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection()
    monkeypatch.setattr(hid, "open_connection", lambda _: connection)
    monkeypatch.setattr(ctaphid, "SILENCE", 0.2)
    with pytest.raises(AuthenticatorError, match="does not answer"):
        usb_portable.open("a", Operation(30))
    assert connection.times_closed == 1
    assert connection.times_read == 1


def test_each_report_is_read_once() -> None:
    connection = Connection(b"first", b"second")
    reports = usb_portable._ConnectionReports(connection)
    assert reports.receive(5) == b"first"
    assert reports.receive(5) == b"second"
    # What waits goes on waiting, until there is something.
    assert reports.receive(0.01) is reports.receive(0.01) is None
    assert connection.times_read == 3
    connection.answers.append(b"third")
    connection.more.release()
    assert reports.receive(5) == b"third"
    reports.close()


def test_a_device_that_fails_was_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(OSError("an error"), ValueError("nonsense"))
    reports = usb_portable._ConnectionReports(connection)
    for sentence in ("an error", "nonsense"):
        with pytest.raises(AuthenticatorError, match=rf"was unplugged \({sentence}\); plug it in and try again"):
            reports.receive(5)

    def fail(_data: bytes) -> None:
        raise OSError("gone")

    reports.send(REPORT)
    assert connection.written == [REPORT]
    monkeypatch.setattr(connection, "write_packet", fail)
    with pytest.raises(AuthenticatorError, match=r"was unplugged \(gone\); plug it in and try again"):
        reports.send(REPORT)
