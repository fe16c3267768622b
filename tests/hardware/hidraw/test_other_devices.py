"""A HID device that is no authenticator: named as one, it is told from one before anything is written to it."""

from __future__ import annotations

import os
import struct

import pytest
from support.openssh import Person, provider_lines

from sk_provider.device_side import uhid
from sk_provider.transports import usb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# The boot keyboard of HID 1.11, appendix B.1
KEYBOARD = bytes.fromhex(
    "05010906a101050719e029e71500250175019508810295017508810195057501050819012905910295017503910195067508"
    "150025650507190029658100c0"
)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, str]]:
    """A keyboard: the kernel's end, and its device file."""
    monkeypatch.setattr(uhid, "REPORT_DESCRIPTOR", KEYBOARD)
    descriptor = os.open("/dev/uhid", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(descriptor, uhid._create(b"keyboard"))
        yield descriptor, uhid._find_hidraw(descriptor, b"keyboard")
    finally:
        os.close(descriptor)


def test_a_keyboard_is_no_authenticator(person: Person, keyboard: tuple[int, str]) -> None:
    descriptor, path = keyboard
    assert path not in usb.discover("")
    done, _ = person.enroll("id", "ed25519-sk", f"device={path}")
    assert done.status != 0
    assert provider_lines(done.errors) == [
        f"libpysk: {path} is not a USB authenticator; correct the address, or leave it out"
    ]
    kinds = [struct.unpack_from("=I", event)[0] for event in events(descriptor)]
    assert uhid.OUTPUT not in kinds


def events(descriptor: int) -> list[bytes]:
    found = []
    try:
        while True:
            found.append(os.read(descriptor, uhid.EVENT_SIZE))
    except BlockingIOError:
        return found
