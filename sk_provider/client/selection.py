"""Which authenticator serves an operation: the option, pysk_config, the one that knows the key, or the touched one."""

from __future__ import annotations

from sk_provider.errors import CredentialNotFound

from . import discovery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.api import EnrollRequest, SignRequest
    from sk_provider.config import Configuration
    from sk_provider.operation import Operation

    from .discovery import Found
    from .token import Token


def open_for_enrollment(
    request: EnrollRequest, configuration: Configuration, operation: Operation, *, may_create: bool = True
) -> Token:
    """Open the authenticator that shall hold a new key; may_create: see Transport.

    Raises DeviceNotFound if there is none, and SecurityKeyError if it cannot be used. The caller closes the token.
    """
    addresses = _addresses(request.device, configuration, request.application, operation)
    return _open_one(addresses, configuration, operation, may_create=may_create, sends_pin=request.pin is not None)


def open_for_management(
    device: str | None, configuration: Configuration, operation: Operation, *, may_create: bool = False
) -> Token:
    """Open the authenticator itself, whichever keys it holds.

    device: the address that the host was given, or None; may_create: see Transport. The rest as in
    open_for_enrollment().
    """
    addresses = _addresses(device, configuration, None, operation)
    return _open_one(addresses, configuration, operation, may_create=may_create, sends_pin=True)


def open_for_signature(request: SignRequest, configuration: Configuration, operation: Operation) -> Token:
    """Open the authenticator that holds the request's key.

    Raises CredentialNotFound if none does, PinRequired if a PIN is wanted whichever does; the rest as in
    open_for_enrollment().
    """
    addresses = _addresses(request.device, configuration, request.application, operation)
    try:
        marked = discovery.open_marked(request.key_handle, addresses, configuration, operation)
    except CredentialNotFound as elsewhere:
        found = discovery.discover_served(
            request.key_handle, addresses, configuration, elsewhere, operation.trace, operation.tell
        )
    else:
        if marked is not None:
            return marked
        found = discovery.discover(addresses, configuration, operation.trace, operation.tell)
    if len(found) > 1:
        found = discovery.that_may_hold(request.key_handle, found, operation.trace)
    has_more = not addresses and discovery.may_have_more(found)
    if len(found) == 1 and not has_more:
        return _the_only_one(found, operation).open(configuration, operation, may_create=False)
    from . import candidates

    return candidates.open_holder(found, request, configuration, operation, has_more=has_more)


def _addresses(
    device: str | None, configuration: Configuration, application: str | None, operation: Operation
) -> list[str]:
    """Return what is named for the operation, [] if nothing is."""
    addresses = configuration.devices(application) if device is None else [device]
    if operation.trace is not None:
        by = "the caller" if device is not None else "Device in pysk_config" if addresses else "nobody"
        operation.trace(f"authenticators are named by {by}{': ' if addresses else ''}{' '.join(addresses)}")
    return addresses


def _the_only_one(found: list[Found], operation: Operation) -> Found:
    if operation.trace is not None:
        operation.trace(f"chosen: {found[0].address}, the only one")
    return found[0]


def _open_one(
    addresses: list[str], configuration: Configuration, operation: Operation, *, may_create: bool, sends_pin: bool
) -> Token:
    found = discovery.discover(addresses, configuration, operation.trace, operation.tell)
    has_more = not addresses and discovery.may_have_more(found)
    if len(found) == 1 and not has_more:
        return _the_only_one(found, operation).open(configuration, operation, may_create=may_create)
    from . import candidates

    return candidates.open_chosen(
        found, configuration, operation, has_more=has_more, may_create=may_create, sends_pin=sends_pin
    )
