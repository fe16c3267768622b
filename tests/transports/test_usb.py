"""What the USB transport does with device files, which any file stands for that can be locked."""

from __future__ import annotations

import fcntl
import os
import posix
import stat
import tempfile
import threading
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.openssh import Person, provider_lines

from sk_provider.config import Configuration
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound
from sk_provider.operation import Operation
from sk_provider.transports import usb

CONTENT = b"what a disk holds" * 100
A_TOUCH_S = 2  # that another login waits for


def test_a_token_is_waited_for_as_long_as_another_program_waits_for_its_touch() -> None:
    with tempfile.NamedTemporaryFile() as held, open(held.name) as device:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(A_TOUCH_S, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        release.start()
        told: list[str] = []
        try:
            usb._lock(device.fileno(), held.name, Operation(60, tell=told.append))
        finally:
            release.join()
        assert told == ["another program is using the authenticator; waiting for it"]


def test_a_token_that_another_program_never_lets_go_is_told_in_the_end() -> None:
    with tempfile.NamedTemporaryFile() as held, open(held.name) as device:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(AuthenticatorError, match="is busy with another program"):
            usb._lock(device.fileno(), held.name, Operation(1))


def other_devices(folder: Path) -> list[str]:
    """Paths below /dev of what is no HID device."""
    file, fifo = folder / "file", folder / "fifo"
    file.write_bytes(CONTENT)
    os.mkfifo(fifo)
    node, link = folder / "node", folder / "link"
    if os.geteuid() == 0:
        os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(7, 0))
    else:
        node.touch()
    os.symlink("/dev/zero", link)
    return ["/dev/null", "/dev/zero", "/dev/tty", "/dev/shm", *(f"/dev/..{path}" for path in (file, fifo, node, link))]


def test_nothing_but_a_hid_device_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    watched = {**vars(posix), "open": lambda path, *_: opened.append(path)}
    monkeypatch.setattr(usb, "posix", types.SimpleNamespace(**watched))
    for path in other_devices(tmp_path):
        with pytest.raises(ConfigurationError, match="is not a USB authenticator"):
            usb.open(path, Configuration(), Operation(5), may_create=False)
    with pytest.raises(DeviceNotFound):
        usb.open("/dev/hidraw99", Configuration(), Operation(5), may_create=False)
    assert opened == []


def test_a_file_that_is_named_as_a_device_is_left_as_it_is(person: Person, tmp_path: Path) -> None:
    other_devices(tmp_path)
    done, _ = person.enroll("id", "ed25519-sk", f"device=/dev/..{tmp_path}/file")
    assert done.status != 0
    (line,) = provider_lines(done.errors)
    assert "is not a USB authenticator" in line
    assert (tmp_path / "file").read_bytes() == CONTENT


FIDO = "06d0f10901a1010920150026ff007508954081020921150026ff00750895409102c0"


@pytest.mark.parametrize(
    ("descriptor", "is_fido"),
    [
        (FIDO, True),
        ("05010906a101c0" + FIDO, True),  # behind a keyboard
        ("fe03aabbccdd" + FIDO, True),  # behind a long item
        ("07d0f100000901a101c0", True),  # a usage page in four bytes
        ("05010906a101c0", False),
        ("06d0f10902a101c0", False),
        ("090106d0f1", False),
        ("06d0f1090105", True),
        ("06d0", False),
        ("fe", False),
        ("feff", False),
        ("", False),
    ],
)
def test_an_authenticator_is_told_by_the_usage_in_its_report_descriptor(descriptor: str, is_fido: bool) -> None:
    assert usb._describes_fido(bytes.fromhex(descriptor)) == is_fido


@given(st.binary(max_size=64))
def test_any_report_descriptor_is_read_to_its_end(descriptor: bytes) -> None:
    assert usb._describes_fido(descriptor) in (True, False)
