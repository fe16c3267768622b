"""The ways to reach an authenticator: which there are, and which one an address names."""

from __future__ import annotations

from sk_provider import config
from sk_provider.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.transport_api import Transport

SCHEMES = ("nfc", "soft", "tpm", "udp", "unix", "usb")
"""Our own transports: each is the module of that name."""

ENTRY_POINTS = "sk_provider.transports"

DEFAULT = "usb"
"""Where no address is named, what is plugged in serves."""

FALLBACK = "nfc"
"""Or else, where none of that does, what this discovers."""

FALLBACK_SOCKET = "/run/pcscd/pcscd.comm"
"""Without which there is nothing for it to discover: so it is loaded for nobody who has no use for it."""

KEY_HANDLE_MARKS = {b"pysk": "soft", b"ptpm": "tpm"}
"""What key handles begin with that one of our own transports recognizes, see transport_api.RecognizesKeyHandles."""

_others: dict[tuple[str, ...], Transport] = {}
"""Other packages' transports that were loaded, by the scheme and the folders in which it was looked for."""


def split(address: str) -> tuple[str, str]:
    """Return the scheme and the location of an address.

    Raises ConfigurationError if it has no scheme.
    """
    if not config.is_address(address):
        raise ConfigurationError(
            f"{address or 'an empty word'} is not an authenticator's address", config.ADDRESS_REMEDY
        )
    if address.startswith("/dev/"):
        return "usb", address
    scheme, _, location = address.partition(":")
    return scheme, location


def join(scheme: str, location: str) -> str:
    """Return the address of a scheme and a location, as a user writes it."""
    return location if scheme == "usb" and location.startswith("/dev/") else f"{scheme}:{location}"


def schemes_marked(key_handle: bytes) -> list[str]:
    """Return which of our own transports may recognize a key handle."""
    return [scheme for mark, scheme in KEY_HANDLE_MARKS.items() if key_handle.startswith(mark)]


def load(scheme: str, *, own_only: bool) -> Transport:
    """Return the transport of a scheme; own_only: not a third party's, because of who named it.

    Raises ConfigurationError if there is none, or none that may be used.
    """
    if scheme in SCHEMES:
        name = f"sk_provider.transports.{scheme}"
        __import__(name)
        import sys

        module: Transport = sys.modules[name]
        return module
    import sys

    # A signature asks twice, and to find one takes longer than all else about it.
    place = (scheme, *sys.path)
    if place in _others and not own_only:
        return _others[place]
    from sk_provider import third_party

    where = "in ~/.ssh/pysk_config or with -O device="
    package, other = third_party.load(ENTRY_POINTS, scheme, "transport", SCHEMES, named_where=where, own_only=own_only)
    from .guarded import GuardedTransport

    _others[place] = GuardedTransport(scheme, package, other)
    return _others[place]
