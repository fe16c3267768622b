"""Which authenticator serves an operation: the option, pysk_config, the one that knows the key, or the touched one."""

from __future__ import annotations

import _thread

from . import transports
from .ctap import commands, framing, status
from .ctap.status import StatusError
from .errors import CredentialNotFound, DeviceNotFound, Interrupted, PinRequired, SecurityKeyError, tell
from .operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from .api import SignRequest
    from .config import Configuration
    from .transports import Channel, Transport

    Item = TypeVar("Item")
    Result = TypeVar("Result")

# What an authenticator says when it is silently asked for a key.
_HOLDS = 2
_MAYBE = 1
_NOT = 0

_PROBE_PATIENCE = 5
"""Seconds for an authenticator to say whether it holds a key."""


def open_for_enrollment(
    device: str | None, configuration: Configuration, application: str, operation: Operation
) -> Channel:
    """Open the authenticator that shall hold a new key. device: the address that the host was given, or None.

    Raises DeviceNotFound if there is none, and SecurityKeyError if it cannot be used. The caller closes the channel.
    """
    return _open_one(_addresses(device, configuration, application), configuration, operation, may_create=True)


def open_for_management(
    device: str | None, configuration: Configuration, operation: Operation, *, may_create: bool = False
) -> Channel:
    """Open the authenticator itself, whichever keys it holds; may_create: see Transport.

    The rest as in open_for_enrollment().
    """
    return _open_one(_addresses(device, configuration, None), configuration, operation, may_create=may_create)


def open_for_signature(request: SignRequest, configuration: Configuration, operation: Operation) -> Channel:
    """Open the authenticator that holds the request's key.

    Raises CredentialNotFound if none does, PinRequired if a PIN is wanted whichever does; the rest as in
    open_for_enrollment().
    """
    addresses = _addresses(request.device, configuration, request.application)
    if request.key_handle.startswith(transports.SOFT_KEY_HANDLE_MARK):
        from .transports import soft

        holder = soft.open_holder(request.key_handle, addresses, configuration, operation)
        if holder is not None:
            return holder
        # Such a store may also be served as a device.
        addresses = [address for address in addresses if not address.startswith("soft:")]
        try:
            found = _discover(addresses, configuration)
        except DeviceNotFound:
            raise CredentialNotFound(
                "the key belongs to a software authenticator in another store",
                "add a line `Device soft:/path/of/the/store` to ~/.ssh/pysk_config",
            ) from None
    else:
        found = _discover(addresses, configuration)
    if len(found) == 1:
        return _open(found[0], configuration, operation, may_create=False)
    channels = _open_all(found, configuration, operation, may_create=False)
    try:
        channel = _choose_by_key(channels, request, operation)
    except BaseException:
        _close_others(channels, None)
        raise
    _close_others(channels, channel)
    return channel


def _addresses(device: str | None, configuration: Configuration, application: str | None) -> list[str]:
    """Return what is named for the operation, [] if nothing is."""
    return [device] if device else configuration.devices(application)


def _discover(addresses: list[str], configuration: Configuration) -> list[tuple[Transport, str]]:
    """Return what the addresses mean now, each authenticator once; without addresses, what is plugged in.

    Raises DeviceNotFound if that is nothing, unless there is only one address: opening it tells best what is wrong.
    """
    if not addresses:
        return _discover_plugged_in()
    found: list[tuple[Transport, str]] = []
    for address in addresses:
        scheme, location = transports.split(address)
        transport = transports.load(scheme, own_only=configuration.is_limited(address))
        locations = transport.discover(location)
        if not locations and len(addresses) == 1:
            locations = [location]
        found += [(transport, location) for location in locations if (transport, location) not in found]
    if not found:
        raise DeviceNotFound(f"no authenticator is at {' or '.join(addresses)}", "connect it, or correct the address")
    return found


def _discover_plugged_in() -> list[tuple[Transport, str]]:
    usb = transports.load("usb", own_only=True)
    found = [(usb, location) for location in usb.discover("")]
    if not found:
        from .transports import nfc

        found = [(nfc, reader) for reader in nfc.readers_with_card()]
    if not found:
        raise DeviceNotFound(
            "no security key is plugged in", "plug one in, or name another with `Device` in pysk_config"
        )
    return found


def _open(
    found: tuple[Transport, str], configuration: Configuration, operation: Operation, *, may_create: bool
) -> Channel:
    transport, location = found
    return transport.open(location, configuration, operation, may_create=may_create)


def _open_one(addresses: list[str], configuration: Configuration, operation: Operation, *, may_create: bool) -> Channel:
    found = _discover(addresses, configuration)
    if len(found) == 1:
        return _open(found[0], configuration, operation, may_create=may_create)
    channels = _open_all(found, configuration, operation, may_create=may_create)
    if len(channels) == 1:
        return channels[0]
    return _choose_by_touch(channels, operation)


def _open_all(
    found: list[tuple[Transport, str]], configuration: Configuration, operation: Operation, *, may_create: bool
) -> list[Channel]:
    """Open all that can be opened: a dead one or a forbidden one does not hide the others.

    Raises the first one's error if there is none.
    """
    outcomes = _at_once(lambda each: _open(each, configuration, operation, may_create=may_create), found)
    channels = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    if not channels:
        raise next(outcome for outcome in outcomes if isinstance(outcome, BaseException))
    return channels


def _at_once(function: Callable[[Item], Result], items: list[Item]) -> list[Result | BaseException]:
    """Call function with every item at once, and return what each returned or raised, in order."""
    outcomes: list[Result | BaseException] = [Interrupted("nothing was done", "try again")] * len(items)
    done = [_thread.allocate_lock() for _ in items]

    def run(index: int, item: Item) -> None:
        try:
            outcomes[index] = function(item)
        except BaseException as error:  # noqa: BLE001 - the caller of _at_once() raises it
            outcomes[index] = error
        finally:
            done[index].release()

    for index, item in enumerate(items):
        done[index].acquire()
        _thread.start_new_thread(run, (index, item))
    for lock in done:
        lock.acquire()
    return outcomes


def _close_others(channels: list[Channel], kept: Channel | None) -> None:
    for channel in channels:
        if channel is not kept:
            channel.close()


def _choose_by_key(channels: list[Channel], request: SignRequest, operation: Operation) -> Channel:
    # Nobody need come for that, so an authenticator that takes its time does not hold up the one with the key.
    probing = Operation(_PROBE_PATIENCE, operation.is_set)
    outcomes = _at_once(lambda channel: _probe(channel, request, probing), channels)
    if operation.is_set():
        raise operation.reason()
    holders = [channel for channel, outcome in zip(channels, outcomes, strict=True) if outcome == _HOLDS]
    if holders:
        return holders[0]
    candidates = [channel for channel, outcome in zip(channels, outcomes, strict=True) if outcome == _MAYBE]
    if not candidates and any(isinstance(outcome, BaseException) for outcome in outcomes):
        raise CredentialNotFound(
            "one authenticator does not answer, and no other holds this key",
            "unplug it, plug it in and try again, or connect the one that does",
        )
    if not candidates:
        raise CredentialNotFound("no authenticator that is connected holds this key", "connect the one that does")
    if len(candidates) == 1:
        return candidates[0]
    if request.pin is None and all(_needs_pin(channel, request, operation) for channel in candidates):
        # The host asks for it and calls again: the touch that chooses one is wanted only then.
        raise PinRequired("this key wants a PIN for every use", "enter it when you are asked")
    return _choose_by_touch(candidates, operation)


def _needs_pin(channel: Channel, request: SignRequest, operation: Operation) -> bool:
    """Whether the key wants its user verified, which the authenticator can do by nothing but a PIN."""
    from .api import FLAG_USER_VERIFICATION

    if not request.flags & FLAG_USER_VERIFICATION:
        return False
    try:
        options = commands.get_options(channel, operation)
    except StatusError:
        return False
    return options.get("clientPin") is True and options.get("uv") is not True


def _probe(channel: Channel, request: SignRequest, operation: Operation) -> int:
    """Ask silently whether the authenticator holds the key; no PIN goes out for that."""
    from .api import FLAG_USER_VERIFICATION

    wants_verification = request.flags & FLAG_USER_VERIFICATION
    if not channel.capabilities & framing.CAPABILITY_CBOR:
        if wants_verification:
            return _NOT
        from . import u2f

        return _HOLDS if u2f.holds_key(channel, request.application, request.key_handle, operation) else _NOT
    try:
        commands.get_assertion(
            channel, request.application, commands.NO_CLIENT_DATA, request.key_handle, operation, up=False
        )
    except StatusError as error:
        if error.code in (status.NO_CREDENTIALS, status.INVALID_CREDENTIAL):
            # A key that wants verification for every use (credProtect 3) is hidden without it.
            return _MAYBE if wants_verification else _NOT
        return _MAYBE
    return _HOLDS


class _Race:
    """The event of several authenticators that wait for a touch at the same time: the first touch ends it for all."""

    __slots__ = ("_operation", "winner")

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.winner: Channel | None = None

    def is_set(self) -> bool:
        """See transports.Event."""
        return self.winner is not None or self._operation.is_set()

    def reason(self) -> SecurityKeyError:
        """See transports.Event."""
        if self.winner is not None:
            return Interrupted("another authenticator was touched", "nothing is to be done")
        return self._operation.reason()


def _choose_by_touch(channels: list[Channel], operation: Operation) -> Channel:
    """Return the authenticator that a person touches, and close the others.

    Raises what ended the wait, or the first authenticator's error if none can wait for a touch.
    """
    from .touch import wait_for_touch

    tell(f"{len(channels)} authenticators are connected; touch the one to use")
    race = _Race(operation)

    def wait(channel: Channel) -> None:
        wait_for_touch(channel, race)
        if race.winner is None:
            race.winner = channel

    outcomes = _at_once(wait, channels)
    _close_others(channels, race.winner)
    if race.winner is not None:
        return race.winner
    if operation.is_set():
        raise operation.reason()
    raise next(outcome for outcome in outcomes if isinstance(outcome, BaseException))
