"""A token on the kernel's virtual USB bus: a gadget with the HID function, whose host controller is dummy_hcd's.

It runs as root where the modules dummy_hcd, usb_f_hid and usbhid are. Unlike a uhid device this one is enumerated, and
pulled out as a plug is.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from pathlib import Path

from sk_provider.ctap.framing import REPORT_SIZE
from sk_provider.device_side.hid import HidServer
from sk_provider.device_side.uhid import REPORT_DESCRIPTOR, VENDOR
from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.device_side.job import PluggedIn
    from sk_provider.device_side.loop import Loop

CONFIGFS = Path("/sys/kernel/config")
GADGET = CONFIGFS / "usb_gadget" / "token"
CONTROLLER = "dummy_udc.0"
OUR_END = "/dev/hidg0"
PRODUCT = 0x0002  # pid.codes' second for tests: not the uhid device's, so that an address tells them apart
RETRY_S = 0.002  # the host asks for a report every millisecond or so
ENGLISH = "0x409"


def _device_nodes() -> set[str]:
    return {f"/dev/{path.name}" for path in Path("/sys/class/hidraw").glob("*")}


class GadgetServer(HidServer[str]):
    """A device that is plugged in when the server begins, and pulled out when it ends."""

    def __init__(self, plugged_in: PluggedIn, loop: Loop) -> None:
        super().__init__(plugged_in)
        self._loop = loop
        self._waiting: deque[bytes] = deque()
        if not GADGET.exists():
            _make_gadget()
        before = _device_nodes()
        (GADGET / "UDC").write_text(CONTROLLER + "\n")
        wait_until(lambda: os.path.exists(OUR_END), "the gadget's device file")
        self._fd = os.open(OUR_END, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        wait_until(lambda: _device_nodes() - before, "the plugging in")
        (self.name,) = _device_nodes() - before
        wait_until(lambda: os.path.exists(self.name), "the host's device file")
        loop.watch(self._fd, self._readable)

    def send(self, report: bytes, peer: str) -> None:
        self._waiting.append(report)
        self._send_waiting()

    def tick(self, now: float) -> None:
        super().tick(now)
        self._send_waiting()

    def deadline(self) -> float | None:
        due = super().deadline()
        if not self._waiting:
            return due
        retry = time.monotonic() + RETRY_S
        return retry if due is None else min(due, retry)

    def clear(self) -> None:
        super().clear()
        self._waiting.clear()

    def close(self) -> None:
        """Pull it out."""
        self._loop.unwatch(self._fd)
        (GADGET / "UDC").write_text("\n")
        os.close(self._fd)
        wait_until(lambda: not os.path.exists(self.name), "the unplugging")

    def _send_waiting(self) -> None:
        try:
            while self._waiting:
                os.write(self._fd, self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:  # the host has not taken the one before
            pass

    def _readable(self) -> None:
        try:
            self.receive(os.read(self._fd, REPORT_SIZE), self.name)
        except BlockingIOError:
            pass


def _make_gadget() -> None:
    if not GADGET.parent.exists():
        subprocess.run(["mount", "-t", "configfs", "configfs", CONFIGFS], check=True, timeout=10)
    strings, function, configuration = GADGET / "strings" / ENGLISH, GADGET / "functions/hid.0", GADGET / "configs/c.1"
    GADGET.mkdir()
    for folder in (strings, function, configuration):
        folder.mkdir(parents=True)
    (GADGET / "idVendor").write_text(f"{VENDOR:#06x}\n")
    (GADGET / "idProduct").write_text(f"{PRODUCT:#06x}\n")
    (strings / "manufacturer").write_text("libpysk\n")
    (strings / "product").write_text("software authenticator\n")
    (function / "report_length").write_text(f"{REPORT_SIZE}\n")
    (function / "report_desc").write_bytes(REPORT_DESCRIPTOR)
    (configuration / "hid.0").symlink_to(function)
