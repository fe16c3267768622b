"""A USB HID device without any USB: the kernel makes it from what is written to /dev/uhid (linux/uhid.h)."""

from __future__ import annotations

import errno
import glob
import os
import select
import time
from collections import deque
from contextlib import suppress
from struct import pack, unpack_from

from sk_provider.ctap.framing import CONTINUATION_DATA_SIZE, INIT_DATA_SIZE, REPORT_SIZE

from .errors import ServeError
from .hid import HidServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import PluggedIn
    from .loop import Loop

# Kinds of event, each followed by its structure, packed and in the machine's byte order.
DESTROY = 1
CLOSE = 5
OUTPUT = 6
GET_REPORT = 9
GET_REPORT_REPLY = 10
CREATE2 = 11
INPUT2 = 12
SET_REPORT = 13
SET_REPORT_REPLY = 14

EVENT_SIZE = 4380  # the largest event, that of CREATE2
OUTPUT_SIZE_AT = 4 + 4096  # in an OUTPUT event: the kind, room for 4096 bytes of data, and their number

# Page 0xF1D0, usage 1, and one report of 64 bytes each way, CTAP 2.1 §11.2.8.2.
REPORT_DESCRIPTOR = bytes.fromhex("06d0f10901a1010920150026ff0075089540810209211500" + "26ff00750895409102c0")
NAME = b"libpysk software authenticator"
BUS_USB = 3
VENDOR, PRODUCT = 0x1209, 0x0001  # pid.codes' identifier for tests
PATIENCE = 5.0  # seconds for the kernel to make the device

# The kernel keeps 64 reports for a client, and 31 for us, and drops what comes while these wait. So we keep a pace, as
# USB does, and want requests that are no longer than the 31.
BURST = 32
MAX_REQUEST = INIT_DATA_SIZE + 30 * CONTINUATION_DATA_SIZE  # 1827
INTERVAL = 0.002  # seconds for each report after a burst


class UhidServer(HidServer[str]):
    """A device that appears when the server begins, and is unplugged when it ends."""

    def __init__(self, plugged_in: PluggedIn, loop: Loop) -> None:
        """Plug the device in. Raises ServeError if the kernel does not make it."""
        super().__init__(plugged_in)
        plugged_in.limit_requests(MAX_REQUEST)
        self._loop = loop
        self._waiting: deque[bytes] = deque()  # reports that are not sent yet
        self._credit = float(BURST)  # how many may be sent at once, at the time of the last look
        self._looked_at = 0.0
        try:
            self._fd = os.open("/dev/uhid", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ServeError("there is no /dev/uhid", "load the kernel's module uhid") from None
        except OSError as error:
            raise ServeError(
                f"/dev/uhid cannot be opened ({error.strerror})", "run this as root, or get the right to open it"
            ) from error
        serial = os.urandom(8).hex().encode()
        try:
            os.write(self._fd, _create(serial))
            self.name = _find_hidraw(self._fd, serial)
        except OSError as error:
            os.close(self._fd)
            raise ServeError(
                f"the kernel refuses the device ({error.strerror})", "load its modules hid and hid-generic"
            ) from error
        except ServeError:
            os.close(self._fd)
            raise
        loop.watch(self._fd, self._readable)

    def send(self, report: bytes, peer: str) -> None:  # noqa: ARG002 - the kernel gives it to all who opened the device
        """Hand one report to the kernel, when its turn comes."""
        self._waiting.append(report)
        self._send_waiting(time.monotonic())

    def tick(self, now: float) -> None:
        """Send what is due."""
        super().tick(now)
        self._send_waiting(now)

    def clear(self) -> None:
        """Forget all that was begun, and what was to be sent."""
        super().clear()
        self._waiting.clear()

    def deadline(self) -> float | None:
        """Return when tick is to be called at the latest, by the monotonic clock."""
        due = super().deadline()
        if not self._waiting:
            return due
        next_report = self._looked_at + INTERVAL
        return next_report if due is None else min(due, next_report)

    def close(self) -> None:
        """Unplug the device."""
        self.clear()
        self._loop.unwatch(self._fd)
        with suppress(OSError):
            # The kernel may have destroyed it already; to close unplugs it, too.
            os.write(self._fd, pack("=I", DESTROY))
        os.close(self._fd)

    def _send_waiting(self, now: float) -> None:
        self._credit = min(float(BURST), self._credit + (now - self._looked_at) / INTERVAL)
        self._looked_at = now
        while self._waiting and self._credit >= 1:
            self._credit -= 1
            report = self._waiting.popleft()
            os.write(self._fd, pack("=IH", INPUT2, len(report)) + report)

    def _readable(self) -> None:
        for event in self._read_all():
            kind = unpack_from("=I", event)[0]
            if kind == OUTPUT:
                size = unpack_from("=H", event, OUTPUT_SIZE_AT)[0]
                report = event[4 : 4 + size]
                self.receive(
                    report[1:] if len(report) == REPORT_SIZE + 1 else report, self.name
                )  # after report number 0
            elif kind == CLOSE:  # nobody has it open: who asked is gone
                self.clear()
            elif kind == GET_REPORT:
                os.write(self._fd, pack("=IIHH", GET_REPORT_REPLY, unpack_from("=I", event, 4)[0], errno.EIO, 0))
            elif kind == SET_REPORT:
                os.write(self._fd, pack("=IIH", SET_REPORT_REPLY, unpack_from("=I", event, 4)[0], errno.EIO))

    def _read_all(self) -> list[bytes]:
        """Return all events at once, so that the kernel has room for more while they are handled."""
        events = []
        try:
            while True:
                events.append(os.read(self._fd, EVENT_SIZE))
        except BlockingIOError:
            return events


def _create(serial: bytes) -> bytes:
    return pack(
        "=I128s64s64sHHIIII4096s",
        CREATE2,
        NAME,
        b"pysk",
        serial,
        len(REPORT_DESCRIPTOR),
        BUS_USB,
        VENDOR,
        PRODUCT,
        1,
        0,
        REPORT_DESCRIPTOR,
    )


def _find_hidraw(fd: int, serial: bytes) -> str:
    """Return the path of the device that was made, once it is there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for entry in glob.glob("/sys/class/hidraw/*"):
            try:
                with open(f"{entry}/device/uevent", "rb") as file:
                    ours = b"HID_UNIQ=" + serial in file.read()
            except OSError:  # another device that was just unplugged
                continue
            path = f"/dev/{os.path.basename(entry)}"
            if ours and os.path.exists(path):
                return path
        select.select([], [], [], 0.01)
        try:
            os.read(fd, EVENT_SIZE)  # what the kernel says while it makes the device: START, and OPEN at most
        except BlockingIOError:
            pass
    raise ServeError("the kernel made no hidraw device", "load its modules hid and hid-generic")
