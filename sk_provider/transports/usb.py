"""USB HID authenticators: which of Linux's hidraw devices are FIDO's, and reports over them.

Locations: "" any; "1050:0407" by vendor and product, hexadecimal; "/dev/hidraw3" one device.
"""

from __future__ import annotations

import posix
import sys
import time

from sk_provider.ctap.framing import REPORT_SIZE
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.config import Configuration
    from sk_provider.operation import Operation

_CLASS = "/sys/class/hidraw"

# Report descriptor items, HID 1.11 §6.2.2: their tags and types, and FIDO's usage page and usage, CTAP 2.1 §11.2.8.1
_USAGE_PAGE = 0x04
_USAGE = 0x08
_LONG_ITEM = 0xFE
_USAGE_PAGE_FIDO = 0xF1D0
_USAGE_CTAPHID = 0x01

_LOCK_TICK = 0.1
_REPORTS_KEPT = 64
"""How many reports the kernel keeps for each who has a device open (drivers/hid/hidraw.c); what comes then is lost."""

_GONE = "the authenticator was unplugged"


def discover(location: str) -> list[str]:
    """Return the device files of the authenticators that the location means, without opening them.

    Raises ConfigurationError if it means nothing.
    """
    if location.startswith("/dev/"):
        return [location]
    wanted = _vendor_and_product(location) if location else None
    if sys.platform != "linux":
        from . import usb_portable

        return usb_portable.discover(wanted)
    try:
        names = posix.listdir(_CLASS)
    except OSError:
        return []
    # hidraw10 comes after hidraw9.
    names.sort(key=lambda name: (len(name), name))
    return [f"/dev/{name}" for name in names if _is_fido(name) and (wanted is None or _identity(name) == wanted)]


def _vendor_and_product(location: str) -> tuple[int, int]:
    vendor, _, product = location.partition(":")
    try:
        return int(vendor, 16), int(product, 16)
    except ValueError:
        raise ConfigurationError(
            f"usb:{location} is not an authenticator's address", "write usb:, usb:VENDOR:PRODUCT or /dev/hidrawN"
        ) from None


def _read(path: str) -> bytes:
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(descriptor, 4096)
    finally:
        posix.close(descriptor)


def _is_fido(name: str) -> bool:
    try:
        report_descriptor = _read(f"{_CLASS}/{name}/device/report_descriptor")
    except OSError:
        # Unplugged since the listing.
        return False
    return _describes_fido(report_descriptor)


def _describes_fido(report_descriptor: bytes) -> bool:
    """Return whether a HID report descriptor has FIDO's usage among those of its device (HID 1.11 §6.2.2)."""
    usage_page = at = 0
    while at < len(report_descriptor):
        item = report_descriptor[at]
        if item == _LONG_ITEM:
            at += 3 + int.from_bytes(report_descriptor[at + 1 : at + 2], "little")
            continue
        size = (0, 1, 2, 4)[item & 3]
        value = int.from_bytes(report_descriptor[at + 1 : at + 1 + size], "little")
        at += 1 + size
        if item & ~3 == _USAGE_PAGE:
            usage_page = value
        elif item & ~3 == _USAGE and (usage_page, value) == (_USAGE_PAGE_FIDO, _USAGE_CTAPHID):
            return True
    return False


def _uevent(name: str, variable: bytes) -> bytes | None:
    """Return a variable of the kernel's uevent file, None if it has none."""
    try:
        lines = _read(f"{_CLASS}/{name}/device/uevent").split(b"\n")
    except OSError:
        return None
    return next((line[len(variable) + 1 :] for line in lines if line.startswith(variable + b"=")), None)


def vendor_and_product(location: str) -> tuple[int, int] | None:
    """Return vendor and product of the device at a location, None if the kernel does not tell. Raises nothing."""
    return _identity(location.rpartition("/")[2])


def _identity(name: str) -> tuple[int, int] | None:
    """Return vendor and product, which the kernel tells as bus:vendor:product."""
    identity = _uevent(name, b"HID_ID")
    if identity is None:
        return None
    _, vendor, product = identity.split(b":")
    return int(vendor, 16), int(product, 16)


def name(location: str) -> str:
    """Return what the device calls itself, manufacturer and product. See transport_api.KnowsNames."""
    return (_uevent(location.rpartition("/")[2], b"HID_NAME") or b"").decode(errors="replace")


def open(location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> HidChannel:  # noqa: A001, ARG001 - see Transport
    """Open the device file and have the authenticator allocate a channel.

    Raises DeviceNotFound if there is no such device, ConfigurationError if it is another or may not be opened, and
    AuthenticatorError if another program holds it or it does not answer.
    """
    if sys.platform != "linux":
        from . import usb_portable

        return usb_portable.open(location, operation)
    if not location.startswith("/dev/"):
        raise DeviceNotFound(
            f"no security key {location} is plugged in" if location else "no security key is plugged in", "plug it in"
        )
    device = _hidraw_number(location)
    try:
        descriptor = posix.open(location, posix.O_RDWR | posix.O_NONBLOCK | posix.O_CLOEXEC | posix.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise DeviceNotFound(f"there is no device {location}", "plug the authenticator in") from None
    except PermissionError:
        raise ConfigurationError(
            f"{location} may not be opened",
            "install your distribution's udev rules for security keys (Debian: sudo apt-get install udev) "
            "and plug it in again",
        ) from None
    except OSError as error:
        raise AuthenticatorError(f"{location} cannot be opened ({error.strerror})", "plug it in again") from None
    try:
        _check_is_fido(descriptor, device, location)
        _lock(descriptor, location, operation)
        reports = _HidrawReports(descriptor)
        # What others were sent meanwhile would leave no room for the answers to us.
        for _ in range(_REPORTS_KEPT):
            if reports.receive(0) is None:
                break
    except BaseException:
        posix.close(descriptor)
        raise
    return HidChannel(reports, operation)


def _hidraw_number(location: str) -> int:
    """Return the number of the device at a path, which was not opened: to open another than a HID device can harm it.

    Raises DeviceNotFound if there is none, and ConfigurationError if it is another.
    """
    try:
        status = posix.stat(location)
    except (FileNotFoundError, NotADirectoryError):
        raise DeviceNotFound(f"there is no device {location}", "plug the authenticator in") from None
    except OSError as error:
        raise ConfigurationError(f"{location} cannot be examined ({error.strerror})", "correct the address") from None
    if status.st_mode & 0o170000 != 0o020000:
        raise _no_authenticator(location)
    try:
        folder, _, _ = posix.readlink(_node(status.st_rdev)).rpartition("/")
    except OSError:
        folder = ""
    if not folder.endswith("/hidraw"):
        raise _no_authenticator(location)
    return status.st_rdev


def _check_is_fido(descriptor: int, device: int, location: str) -> None:
    """Raise ConfigurationError unless an open file is that device, and an authenticator: nothing was written to it.

    While it is open, no other device gets its number.
    """
    try:
        if posix.fstat(descriptor).st_rdev == device and _describes_fido(
            _read(f"{_node(device)}/device/report_descriptor")
        ):
            return
    except OSError as error:
        raise AuthenticatorError(f"{_GONE} ({error.strerror})", "plug it in and try again") from None
    raise _no_authenticator(location)


def _node(device: int) -> str:
    """Return where sysfs has a character device of this number."""
    return f"/sys/dev/char/{posix.major(device)}:{posix.minor(device)}"


def _no_authenticator(location: str) -> ConfigurationError:
    return ConfigurationError(f"{location} is not a USB authenticator", "correct the address, or leave it out")


def _lock(descriptor: int, location: str, operation: Operation) -> None:
    """Keep other programs out that do the same, as libfido2 does, for every opener sees what is sent to any."""
    import fcntl

    locked_since = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            raise AuthenticatorError(f"{location} cannot be locked ({error.strerror})", "plug it in again") from None
        else:
            return
        operation.wait_for_others(locked_since)
        time.sleep(_LOCK_TICK)


class _HidrawReports:
    """Reports over an open hidraw device. See transport_api.Reports."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, report: bytes) -> None:
        try:
            # The byte in front is the report's number, 0 where a device has only one.
            posix.write(self._descriptor, b"\0" + report)
        except OSError as error:
            raise AuthenticatorError(f"{_GONE} ({error.strerror})", "plug it in and try again") from None

    def receive(self, seconds: float) -> bytes | None:
        import select

        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        events = poll.poll(seconds * 1000)
        if not events:
            return None
        try:
            report = posix.read(self._descriptor, REPORT_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise AuthenticatorError(f"{_GONE} ({error.strerror})", "plug it in and try again") from None
        if not report:
            raise AuthenticatorError(_GONE, "plug it in and try again")
        return report

    def close(self) -> None:
        if self._descriptor >= 0:
            posix.close(self._descriptor)
            self._descriptor = -1
