"""The transport over USB: a tree of files stands for sysfs, and a terminal, which has two ends, for a hidraw device."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import sys
import threading
import tty
from contextlib import contextmanager
from pathlib import Path

import pytest

from sk_provider.config import Configuration
from sk_provider.ctap import framing, hid
from sk_provider.device_side.uhid import REPORT_DESCRIPTOR
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound
from sk_provider.operation import Operation
from sk_provider.transports import usb, usb_portable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.ctap.hid import HidChannel

# Of a mouse: generic desktop's usage page, and its usage 2
MOUSE = bytes.fromhex("05010902a1010901a100c0c0")
FIDO = bytes.fromhex("06d0f10901a101")
REPORT = bytes(range(64))


@pytest.mark.parametrize(
    ("descriptor", "expected"),
    [
        (REPORT_DESCRIPTOR, True),
        (FIDO, True),
        (MOUSE, False),
        (MOUSE + FIDO, True),
        (b"", False),
        (FIDO[:3], False),
        (FIDO[3:], False),
        (bytes.fromhex("06d0f10902"), False),
        (bytes.fromhex("06d1f10901"), False),
        (bytes.fromhex("05d00901"), False),
        (bytes.fromhex("07d0f10000" + "0901"), True),  # in four bytes
        (bytes.fromhex("06d0f1" + "0a0100"), True),
        (bytes.fromhex("06d0f1" + "0b01000000"), True),
        (bytes.fromhex("1700000006" + "06d0f1" + "0901"), True),  # after four bytes, the last of which begins nothing
        (bytes.fromhex("06d0f1" + "08" + "0901"), True),  # a usage in no bytes is 0
        (bytes.fromhex("0901" + "06d0f1"), False),
        (bytes.fromhex("06d0f1" + "05010901"), False),  # another page by then
        (bytes.fromhex("06d0f1" + "0501" + "06d0f1" + "0901"), True),
        (bytes.fromhex("06d0f1" + "1901"), False),  # another item
        (bytes.fromhex("26d0f1" + "0901"), False),
        (bytes.fromhex("fe0200" + "0901" + "06d0f10901"), True),  # after a long item
        (bytes.fromhex("fe0700" + "06d0f10901" + "0000"), False),  # in one
        (bytes.fromhex("06d0f10901")[:-1], False),
        (b"\xfe", False),
        (bytes.fromhex("06d0"), False),
    ],
)
def test_an_authenticator_is_told_by_the_usage_of_its_reports(descriptor: bytes, expected: bool) -> None:
    assert usb._describes_fido(descriptor) is expected


class Sysfs:
    """The kernel's folder of hidraw devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "class"
        self.folder.mkdir()

    def add(self, name: str, descriptor: bytes | None = FIDO, uevent: str | None = None) -> None:
        device = self.folder / name / "device"
        device.mkdir(parents=True)
        if descriptor is not None:
            (device / "report_descriptor").write_bytes(descriptor)
        if uevent is not None:
            (device / "uevent").write_text(uevent)


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysfs:
    made = Sysfs(tmp_path)
    monkeypatch.setattr(usb, "_CLASS", str(made.folder))
    return made


def uevent(identity: str, name: str = "Maker Token") -> str:
    return f"DRIVER=hid-generic\nHID_ID={identity}\nHID_NAME={name}\nHID_PHYS=usb\n"


def test_authenticators_are_found_in_the_order_of_their_numbers(sysfs: Sysfs) -> None:
    for number in (10, 9, 2):
        sysfs.add(f"hidraw{number}")
    sysfs.add("hidraw1", MOUSE)
    sysfs.add("hidraw3", None)  # unplugged by now
    assert usb.discover("") == ["/dev/hidraw2", "/dev/hidraw9", "/dev/hidraw10"]
    assert usb.discover("/dev/hidraw77") == ["/dev/hidraw77"]


def test_authenticators_are_found_by_vendor_and_product(sysfs: Sysfs) -> None:
    sysfs.add("hidraw0", FIDO, uevent("0003:00001050:00000407"))
    sysfs.add("hidraw1", FIDO, uevent("0003:00001050:00000408"))
    sysfs.add("hidraw2", FIDO, uevent("0003:00001051:00000407"))
    sysfs.add("hidraw3", FIDO, "DRIVER=hid-generic\n")
    sysfs.add("hidraw4", FIDO)
    sysfs.add("hidraw5", MOUSE, uevent("0003:00001050:00000407"))
    assert usb.discover("1050:0407") == usb.discover("1050:407") == ["/dev/hidraw0"]
    assert usb.discover("1050:0409") == []


def test_a_devices_vendor_and_product_are_told(sysfs: Sysfs) -> None:
    sysfs.add("hidraw0", FIDO, uevent("0003:00001050:00000407"))
    sysfs.add("hidraw1")
    assert [usb.vendor_and_product(f"/dev/hidraw{number}") for number in range(3)] == [(0x1050, 0x0407), None, None]


@pytest.mark.parametrize("location", ["1050", "1050:", ":0407", "yubi:key", "1050:0407:1"])
def test_what_names_no_vendor_and_product_is_told(sysfs: Sysfs, location: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"usb:{location} is not an authenticator's address; write usb:, usb:V"
    ):
        usb.discover(location)


def test_without_the_kernels_folder_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb, "_CLASS", f"{tmp_path}/none")
    assert usb.discover("") == []


def test_a_device_is_called_what_the_kernel_knows(sysfs: Sysfs) -> None:
    sysfs.add("hidraw0", FIDO, uevent("0003:00001050:00000407", "Maker = Token"))
    sysfs.add("hidraw1")
    sysfs.add("hidraw2", FIDO, "HID_NAMED=x\n")
    assert [usb.name(f"/dev/hidraw{number}") for number in range(4)] == ["Maker = Token", "", "", ""]


def test_elsewhere_than_on_linux_others_know_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(usb_portable, "discover", lambda wanted: [repr(wanted)])
    monkeypatch.setattr(usb_portable, "open", lambda *arguments: arguments)
    assert usb.discover("") == ["None"]
    assert usb.discover("1050:0407") == [repr((0x1050, 0x0407))]
    operation = Operation(30)
    opened: object = usb.open("path", Configuration(), operation, may_create=False)
    assert opened == ("path", operation)


class Device:
    """One end of a terminal, at whose other end the transport opens what the kernel says is a hidraw device."""

    def __init__(self, folder: Path, descriptor: bytes = FIDO, kind: str = "hidraw") -> None:
        self.end, self._other = pty.openpty()
        tty.setraw(self.end)
        self.path = os.ttyname(self._other)
        number = os.fstat(self._other).st_rdev
        self.node = folder / "char" / f"{os.major(number)}:{os.minor(number)}"
        device = folder / "devices" / kind / "hidraw3"
        (device / "device").mkdir(parents=True)
        (device / "device" / "report_descriptor").write_bytes(descriptor)
        self.node.parent.mkdir()
        self.node.symlink_to(device)
        self.received = b""

    def answer_init(self) -> None:
        """Answer one INIT."""
        while len(self.received) < 65:
            assert select.select([self.end], [], [], 30)[0]
            self.received += os.read(self.end, 65 - len(self.received))
        data = self.received[8:16] + b"\0\0\0\1\2\0\0\0\4"
        os.write(self.end, (self.received[1:6] + len(data).to_bytes(2, "big") + data).ljust(64, b"\0"))

    def close(self) -> None:
        os.close(self.end)
        os.close(self._other)


@contextmanager
def plugged(folder: Path, monkeypatch: pytest.MonkeyPatch, **kind: Any) -> Iterator[Device]:
    device = Device(folder, **kind)
    node = usb._node
    monkeypatch.setattr(usb, "_node", lambda number: node(number).replace("/sys/dev", str(folder)))
    try:
        yield device
    finally:
        device.close()


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Have another program open a device. That must not make it the terminal of the tests."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_channel(path: str, seconds: int = 30) -> HidChannel:
    return usb.open(path, Configuration(), Operation(seconds, tell=lambda _: None), may_create=False)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_device_is_locked_emptied_and_asked_for_a_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged(tmp_path, monkeypatch) as device:
        before = open_files()
        os.write(device.end, 3 * REPORT)  # meant for others
        server = threading.Thread(target=device.answer_init)
        server.start()
        channel = open_channel(device.path)
        server.join()
        assert channel.capabilities == framing.CAPABILITY_CBOR
        # The report's number goes before it.
        assert device.received[:1] == b"\0"
        assert device.received[1:6] == b"\xff\xff\xff\xff\x86"
        with opened(device.path) as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        channel.close()
        channel.close()
        assert open_files() == before


def test_a_device_that_says_nothing_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hid, "SILENCE", 0.2)
    with plugged(tmp_path, monkeypatch) as device:
        before = open_files()
        with pytest.raises(AuthenticatorError, match="does not answer"):
            open_channel(device.path)
        assert open_files() == before


@pytest.mark.parametrize("kind", [{"descriptor": MOUSE}, {"kind": "tty"}])
def test_another_device_is_refused_and_nothing_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any]
) -> None:
    with plugged(tmp_path, monkeypatch, **kind) as device:
        before = open_files()
        with pytest.raises(
            ConfigurationError, match=f"{device.path} is not a USB authenticator; correct the address, or"
        ):
            open_channel(device.path)
        assert open_files() == before
        assert select.select([device.end], [], [], 0)[0] == []


def test_a_device_that_the_kernel_does_not_know_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged(tmp_path, monkeypatch) as device:
        device.node.unlink()
        with pytest.raises(ConfigurationError, match="is not a USB authenticator"):
            open_channel(device.path)


def test_what_is_no_device_has_no_devices_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged(tmp_path, monkeypatch) as device:
        monkeypatch.setattr(usb, "_node", lambda _number: str(device.node))
        (tmp_path / "file").touch()
        with pytest.raises(ConfigurationError, match="is not a USB authenticator"):
            usb._hidraw_number(f"{tmp_path}/file")


def test_a_device_that_takes_anothers_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged(tmp_path, monkeypatch) as device:
        monkeypatch.setattr(usb, "_hidraw_number", lambda _: os.makedev(7, 7))
        with pytest.raises(ConfigurationError, match="is not a USB authenticator"):
            open_channel(device.path)


def test_a_device_that_is_unplugged_while_it_is_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plugged(tmp_path, monkeypatch) as device:
        (device.node / "device" / "report_descriptor").unlink()
        with pytest.raises(
            AuthenticatorError, match=r"was unplugged \(No such file or directory\); plug it in and try"
        ):
            open_channel(device.path)


def test_a_device_that_another_program_holds_is_waited_for_as_long_as_others_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plugged(tmp_path, monkeypatch) as device, opened(device.path) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        before = open_files()
        with pytest.raises(AuthenticatorError, match="busy with another program"):
            open_channel(device.path, 1)
        assert open_files() == before


def test_a_device_that_cannot_be_locked_is_told() -> None:
    with pytest.raises(AuthenticatorError, match=r"/dev/x cannot be locked \(Bad file descriptor\); plug it in again"):
        usb._lock(999, "/dev/x", Operation(30))


@pytest.mark.parametrize(
    ("path", "kind", "sentence"),
    [
        ("/dev/hidraw99", DeviceNotFound, "there is no device /dev/hidraw99; plug the authenticator in"),
        ("/dev/null/x", DeviceNotFound, "there is no device /dev/null/x; plug the authenticator in"),
        ("", DeviceNotFound, "no security key is plugged in; plug it in"),
        ("1050:0407", DeviceNotFound, "no security key 1050:0407 is plugged in; plug it in"),
        ("/dev/null", ConfigurationError, "/dev/null is not a USB authenticator; correct the address, or leave it out"),
    ],
)
def test_what_is_not_there_is_told(path: str, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        open_channel(path)
    assert str(caught.value) == sentence


def test_a_device_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = f"/dev/..{tmp_path}/loop"
    with pytest.raises(ConfigurationError, match=r"cannot be examined \(.*symbolic links\); correct the address"):
        open_channel(path)


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (FileNotFoundError(2, "gone"), DeviceNotFound, "there is no device {}; plug the authenticator in"),
        (
            PermissionError(13, "forbidden"),
            ConfigurationError,
            (
                "{} may not be opened; install your distribution's udev rules for security keys "
                "(Debian: sudo apt-get install udev) and plug it in again"
            ),
        ),
        (OSError(5, "an error"), AuthenticatorError, "{} cannot be opened (an error); plug it in again"),
    ],
)
def test_a_device_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Exception], sentence: str
) -> None:
    def refuse(*_: object) -> int:
        raise error

    with plugged(tmp_path, monkeypatch) as device:
        monkeypatch.setattr("posix.open", refuse)
        with pytest.raises(kind) as caught:
            open_channel(device.path)
        assert str(caught.value) == sentence.format(device.path)


def test_reports_come_within_the_time_that_is_given() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    os.set_blocking(theirs, False)
    reports = usb._HidrawReports(theirs)
    assert reports.receive(0) is reports.receive(0.01) is None
    os.write(ours, REPORT)
    assert reports.receive(5) == REPORT
    reports.send(REPORT)
    assert os.read(ours, 100) == b"\0" + REPORT
    # What another has read in between is not there any more.
    os.write(ours, REPORT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("posix.read", raise_blocking)
        assert reports.receive(5) is None
    os.close(ours)
    with pytest.raises(AuthenticatorError, match="the authenticator was unplugged"):
        drain(reports)
    reports.close()
    reports.close()
    with pytest.raises(AuthenticatorError, match=r"was unplugged \(Bad file descriptor\); plug it in and try again"):
        reports.send(REPORT)


def raise_blocking(*_: object) -> bytes:
    raise BlockingIOError


def drain(reports: usb._HidrawReports) -> None:
    while reports.receive(1) is not None:
        pass


def test_a_device_that_ends_is_unplugged() -> None:
    ours, theirs = os.pipe()
    os.close(theirs)
    reports = usb._HidrawReports(ours)
    with pytest.raises(AuthenticatorError, match="the authenticator was unplugged; plug it in and try again"):
        reports.receive(1)
    reports.close()
