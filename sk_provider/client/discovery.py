"""Which authenticators the addresses of an operation mean now, without opening any."""

from __future__ import annotations

import posix

from sk_provider import transports
from sk_provider.errors import CredentialNotFound, DeviceNotFound, SecurityKeyError, TransportDefect

from .token import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.config import Configuration
    from sk_provider.operation import Operation
    from sk_provider.trace import Trace
    from sk_provider.transport_api import Transport


class Found:
    """An authenticator that is not open. scheme: its transport's; location: where that finds it."""

    def __init__(self, scheme: str, transport: Transport, location: str) -> None:
        self.scheme = scheme
        self.transport = transport
        self.location = location

    @property
    def address(self) -> str:
        """What names it, as a user writes it."""
        return transports.join(self.scheme, self.location)

    def open(self, configuration: Configuration, operation: Operation, *, may_create: bool) -> Token:
        """Open it; may_create, and what is raised: see transport_api.Transport."""
        if operation.trace is None:
            channel = self.transport.open(self.location, configuration, operation, may_create=may_create)
        else:
            with operation.trace.about(self.address):
                operation.trace("is opened")
                try:
                    channel = self.transport.open(self.location, configuration, operation, may_create=may_create)
                except SecurityKeyError as error:
                    operation.trace(f"cannot be opened: {error.happened}")
                    raise
        return Token(channel, self.address, self.product, operation.trace)

    def product(self) -> str:
        """Return what the device calls itself, "" if it does not say, or nothing knows that. Raises nothing."""
        name = getattr(self.transport, "name", None)
        return name(self.location) if name is not None else ""


def discover(
    addresses: list[str],
    configuration: Configuration,
    trace: Trace | None = None,
    tell: Callable[[str], object] | None = None,
) -> list[Found]:
    """Return what the addresses mean now, each authenticator once; without addresses, what is plugged in.

    trace, tell: see Operation; the latter is told of a transport that fails, where others are named as well.

    Raises DeviceNotFound, or what else is wrong with an address, if that is nothing; unless there is only one: opening
    it tells best.
    """
    found = _discover_named(addresses, configuration, trace, tell) if addresses else _discover_default(configuration)
    if trace is not None:
        trace(f"found for {' '.join(addresses) or 'no address'}: {', '.join(each.address for each in found)}")
    return found


def _discover_named(
    addresses: list[str], configuration: Configuration, trace: Trace | None, tell: Callable[[str], object] | None
) -> list[Found]:
    found: list[Found] = []
    awaited: list[Found] = []
    errors: list[SecurityKeyError] = []
    for address in addresses:
        scheme, location = transports.split(address)
        is_loaded = False
        try:
            transport = transports.load(scheme, own_only=configuration.is_limited(address))
            is_loaded = True
            locations = transport.discover(location)
        except SecurityKeyError as error:
            if len(addresses) == 1 or not (is_loaded or isinstance(error, TransportDefect)):
                raise
            errors.append(error)
            if tell is not None and isinstance(error, TransportDefect):
                tell(str(error))
            if trace is not None:
                trace(f"{address} is left out: {error.happened}")
            continue
        if not locations and len(addresses) == 1:
            locations = [location]
        if not locations and getattr(transport, "waits_for_a_person", False):
            awaited.append(Found(scheme, transport, location))
        known = [(each.scheme, each.location) for each in found]
        found += [Found(scheme, transport, each) for each in locations if (scheme, each) not in known]
    # A card is waited for only where nothing else is there.
    found = found or awaited[:1]
    if not found:
        absence = DeviceNotFound(
            f"no authenticator is at {' or '.join(addresses)}", "connect it, or correct the address"
        )
        raise next((error for error in errors if not isinstance(error, DeviceNotFound)), absence)
    return found


def _discover_default(configuration: Configuration) -> list[Found]:
    usb = transports.load(transports.DEFAULT, own_only=True)
    found = [Found(transports.DEFAULT, usb, location) for location in usb.discover("")]
    if not found and may_have_more(found):
        found = discover_more()
    if not found:
        raise DeviceNotFound(
            f"no security key is plugged in{configuration.aside()}",
            "plug one in, or name another authenticator, such as soft:, with `Device` in pysk_config",
        )
    return found


def discover_connected(addresses: list[str], configuration: Configuration) -> list[Found]:
    """Return what the addresses mean and nobody need bring first, [] if there is nothing; the rest as in discover().

    Raises ConfigurationError if an address is none.
    """
    try:
        found = discover(addresses, configuration)
    except DeviceNotFound:
        return []
    if not addresses and may_have_more(found):
        found += discover_more()
    return [each for each in found if not _is_awaited(each)]


def _is_awaited(each: Found) -> bool:
    """Return whether a person has yet to bring it."""
    waits = getattr(each.transport, "waits_for_a_person", False)
    return waits and each.location not in each.transport.discover(each.location)


def may_have_more(found: list[Found]) -> bool:
    """Return whether discover_more() may find others, which come next if none of what is plugged in serves."""
    if any(each.scheme != transports.DEFAULT for each in found):
        return False
    try:
        posix.stat(transports.FALLBACK_SOCKET)
    except OSError:
        return False
    transport = transports.load(transports.FALLBACK, own_only=True)
    could_be_there = getattr(transport, "could_be_there", None)
    return could_be_there is None or bool(could_be_there())


def discover_more() -> list[Found]:
    """Return what else than what is plugged in serves where no address is named: cards that lie on their readers."""
    transport = transports.load(transports.FALLBACK, own_only=True)
    try:
        return [Found(transports.FALLBACK, transport, location) for location in transport.discover("")]
    except SecurityKeyError:
        # Nobody has named it.
        return []


def open_marked(
    key_handle: bytes, addresses: list[str], configuration: Configuration, operation: Operation
) -> Token | None:
    """Open the authenticator that a key handle itself tells of, by its transport; None if it tells of none.

    addresses: those that are named for the operation. Raises CredentialNotFound if it tells of one that is not known,
    and other SecurityKeyErrors if that cannot be used.
    """
    schemes = transports.schemes_marked(key_handle)
    # Another package's transport is asked where it is named: to look for it elsewhere would cost more than a signature.
    schemes += [scheme for scheme in map(_scheme, addresses) if scheme not in (*transports.SCHEMES, *schemes)]
    for scheme in schemes:
        named = [address for address in addresses if _scheme(address) == scheme]
        own_only = any(configuration.is_limited(address) for address in named)
        locations = [transports.split(address)[1] for address in named]
        is_loaded = False
        try:
            transport = transports.load(scheme, own_only=own_only)
            is_loaded = True
            open_holder = getattr(transport, "open_holder", None)
            held = open_holder and open_holder(key_handle, locations, configuration, operation)
        except TransportDefect as error:
            if len(addresses) == 1:
                raise
            # Another one may hold the key; where it cannot even be loaded, discover() tells.
            if is_loaded:
                operation.tell(str(error))
            if operation.trace is not None:
                operation.trace(f"{scheme}: is not asked for the key: {error.happened}")
            # Nobody was asked to come while it took its time.
            operation.restart()
            continue
        if held:
            location, channel = held
            address = transports.join(scheme, location)
            if operation.trace is not None:
                operation.trace(f"chosen: {address}, whose mark the key handle bears")
            return Token(channel, address, trace=operation.trace)
    return None


def discover_served(
    key_handle: bytes,
    addresses: list[str],
    configuration: Configuration,
    elsewhere: CredentialNotFound,
    trace: Trace | None = None,
    tell: Callable[[str], object] | None = None,
) -> list[Found]:
    """Return where the authenticator that a key handle tells of may be served as a device, as it is not in its place.

    elsewhere: what open_marked() has raised, and what is raised where there is no device either; trace, tell: see
    discover().
    """
    others = [address for address in addresses if _scheme(address) not in transports.schemes_marked(key_handle)]
    if addresses and not others:
        raise elsewhere
    try:
        return discover(others, configuration, trace, tell)
    except DeviceNotFound:
        raise elsewhere from None


def that_may_hold(key_handle: bytes, found: list[Found], trace: Trace | None = None) -> list[Found]:
    """Return those that may hold the key: without what marks its key handles and has not marked this one.

    So no TPM is waited for in vain. Where nothing else is found, that is returned: it tells best. trace: see Operation.
    """
    others = [
        scheme for scheme in transports.KEY_HANDLE_MARKS.values() if scheme not in transports.schemes_marked(key_handle)
    ]
    left = [each for each in found if each.scheme not in others]
    if not left or len(left) == len(found):
        return found
    if trace is not None:
        without = [each.address for each in found if each.scheme in others]
        trace(f"not asked, for the key handle does not bear their mark: {', '.join(without)}")
    return left


def _scheme(address: str) -> str:
    return transports.split(address)[0]
