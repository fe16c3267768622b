"""USB HID authenticators elsewhere than on Linux: python-fido2 knows each system's way to them.

Locations are as in usb, save that one device has the path that its system gives it.
"""

from __future__ import annotations

import _thread
import queue

from fido2 import hid

from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, ConfigurationError, DeviceNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fido2.hid.base import CtapHidConnection, HidDescriptor

    from sk_provider.operation import Operation

_REPLUG = "plug it in and try again"


def discover(wanted: tuple[int, int] | None) -> list[str]:
    """Return the paths of the authenticators that are plugged in; wanted: of this vendor and product alone."""
    return [
        str(descriptor.path)
        for descriptor in _descriptors()
        if wanted is None or (descriptor.vid, descriptor.pid) == wanted
    ]


def _descriptors() -> list[HidDescriptor]:
    try:
        return list(hid.list_descriptors())  # type: ignore[no-untyped-call]  # as below
    except OSError:
        return []


def open(path: str, operation: Operation) -> HidChannel:  # noqa: A001 - see Transport
    """Open a device and have the authenticator allocate a channel.

    Raises DeviceNotFound if there is no such device, ConfigurationError if it cannot be opened, and AuthenticatorError
    if it does not answer.
    """
    found = [descriptor for descriptor in _descriptors() if str(descriptor.path) == path]
    if not found:
        what = f"security key {path}" if path else "security key"
        raise DeviceNotFound(f"no {what} is plugged in", "plug it in")
    try:
        connection = hid.open_connection(found[0])  # type: ignore[no-untyped-call]  # python-fido2's back ends have no types
    except OSError as error:
        raise ConfigurationError(f"{path} may not be opened ({error.strerror})", "allow it to your user") from None
    return HidChannel(_ConnectionReports(connection), operation)


class _ConnectionReports:
    """Reports over python-fido2's connection, whose reading has no deadline. See transport_api.Reports."""

    def __init__(self, connection: CtapHidConnection) -> None:
        self._connection = connection
        self._outcomes: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self._is_reading = False
        self._is_closed = False

    def send(self, report: bytes) -> None:
        try:
            self._connection.write_packet(report)
        except OSError as error:
            raise _gone(error) from None

    def receive(self, seconds: float) -> bytes | None:
        if not self._is_reading:
            self._is_reading = True
            _thread.start_new_thread(self._read, ())
        try:
            outcome = self._outcomes.get(timeout=seconds)
        except queue.Empty:
            return None
        self._is_reading = False
        if isinstance(outcome, Exception):
            raise _gone(outcome) from None
        return outcome

    def _read(self) -> None:
        """Read one report, in a thread that may wait for it for ever."""
        try:
            self._outcomes.put(self._connection.read_packet())
        except Exception as error:  # noqa: BLE001 - receive() tells it
            self._outcomes.put(error)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._connection.close()


def _gone(error: Exception) -> AuthenticatorError:
    return AuthenticatorError(f"the authenticator was unplugged ({error})", _REPLUG)
