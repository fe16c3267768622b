"""Which authenticator serves an operation: the option, pysk_config, the one that knows the key, or the touched one."""

from __future__ import annotations

import _thread
import posix

from sk_provider import transports
from sk_provider.ctap import framing, requests, status
from sk_provider.ctap.status import StatusError
from sk_provider.errors import (
    CredentialNotFound,
    DeviceNotFound,
    Interrupted,
    PinRequired,
    SecurityKeyError,
    TimedOut,
    Unsupported,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sk_provider.api import EnrollRequest, SignRequest
    from sk_provider.config import Configuration
    from sk_provider.transport_api import Channel, Transport

    Item = TypeVar("Item")
    Result = TypeVar("Result")

# What an authenticator says when it is silently asked for a key.
_HOLDS = 2
_MAYBE = 1
_NOT = 0

_PROBE_PATIENCE = 5
"""Seconds for an authenticator to say whether it holds a key."""

_PCSCD_SOCKET = "/run/pcscd/pcscd.comm"


def open_for_enrollment(request: EnrollRequest, configuration: Configuration, operation: Operation) -> Channel:
    """Open the authenticator that shall hold a new key.

    Raises DeviceNotFound if there is none, and SecurityKeyError if it cannot be used. The caller closes the channel.
    """
    addresses = _addresses(request.device, configuration, request.application)
    return _open_one(addresses, configuration, operation, may_create=True, sends_pin=request.pin is not None)


def open_for_management(
    device: str | None, configuration: Configuration, operation: Operation, *, may_create: bool = False
) -> Channel:
    """Open the authenticator itself, whichever keys it holds.

    device: the address that the host was given, or None; may_create: see Transport. The rest as in
    open_for_enrollment().
    """
    addresses = _addresses(device, configuration, None)
    return _open_one(addresses, configuration, operation, may_create=may_create, sends_pin=True)


def open_for_signature(request: SignRequest, configuration: Configuration, operation: Operation) -> Channel:
    """Open the authenticator that holds the request's key.

    Raises CredentialNotFound if none does, PinRequired if a PIN is wanted whichever does; the rest as in
    open_for_enrollment().
    """
    addresses = _addresses(request.device, configuration, request.application)
    if request.key_handle.startswith(transports.SOFT_KEY_HANDLE_MARK):
        from sk_provider.transports import soft

        holder = soft.open_holder(request.key_handle, addresses, configuration, operation)
        if holder is not None:
            return holder
        elsewhere = CredentialNotFound(
            "the key belongs to a software authenticator in another store",
            "add a line `Device soft:/path/of/the/store` to ~/.ssh/pysk_config",
        )
        # Such a store may also be served as a device.
        others = [address for address in addresses if not address.startswith("soft:")]
        if addresses and not others:
            raise elsewhere
        try:
            found = _discover(others, configuration)
        except DeviceNotFound:
            raise elsewhere from None
    else:
        found = _discover(addresses, configuration)
    has_cards_left = not addresses and _may_have_cards_besides(found)
    if len(found) == 1 and not has_cards_left:
        return _open(found[0], configuration, operation, may_create=False)
    candidates = _Candidates(configuration, operation)
    try:
        channel = candidates.find_holder(found, request)
        if channel is None and has_cards_left:
            channel = candidates.find_holder(_discover_cards(), request)
        if channel is None:
            channel = _choose(candidates, request, operation)
    except BaseException:
        candidates.close_all_but(None)
        raise
    candidates.close_all_but(channel)
    return channel


def _addresses(device: str | None, configuration: Configuration, application: str | None) -> list[str]:
    """Return what is named for the operation, [] if nothing is."""
    return [device] if device else configuration.devices(application)


def _discover(addresses: list[str], configuration: Configuration) -> list[tuple[Transport, str]]:
    """Return what the addresses mean now, each authenticator once; without addresses, what is plugged in.

    Raises DeviceNotFound, or what else is wrong with an address, if that is nothing; unless there is only one: opening
    it tells best.
    """
    if not addresses:
        return _discover_plugged_in()
    found: list[tuple[Transport, str]] = []
    empty_readers: list[tuple[Transport, str]] = []
    errors: list[SecurityKeyError] = []
    for address in addresses:
        scheme, location = transports.split(address)
        transport = transports.load(scheme, own_only=configuration.is_limited(address))
        try:
            locations = transport.discover(location)
        except SecurityKeyError as error:
            if len(addresses) == 1:
                raise
            errors.append(error)
            continue
        if not locations and len(addresses) == 1:
            locations = [location]
        if not locations and scheme == "nfc":
            empty_readers.append((transport, location))
        found += [(transport, location) for location in locations if (transport, location) not in found]
    # A card is waited for only where nothing else is there.
    found = found or empty_readers[:1]
    if not found:
        absence = DeviceNotFound(
            f"no authenticator is at {' or '.join(addresses)}", "connect it, or correct the address"
        )
        raise next((error for error in errors if not isinstance(error, DeviceNotFound)), absence)
    return found


def _discover_plugged_in() -> list[tuple[Transport, str]]:
    usb = transports.load("usb", own_only=True)
    found = [(usb, location) for location in usb.discover("")]
    if not found and _may_have_cards():
        found = _discover_cards()
    if not found:
        raise DeviceNotFound(
            "no security key is plugged in", "plug one in, or name another with `Device` in pysk_config"
        )
    return found


def _may_have_cards_besides(found: list[tuple[Transport, str]]) -> bool:
    """Whether cards come next if none of what is plugged in serves."""
    return found[0][0] is transports.load("usb", own_only=True) and _may_have_cards()


def _may_have_cards() -> bool:
    """Whether cards could be looked for, by what costs no time: pcscd is there, and pyscard."""
    try:
        posix.stat(_PCSCD_SOCKET)
    except OSError:
        return False
    # Of importlib, whose import would cost more, this is what every Python begins with.
    from _frozen_importlib_external import PathFinder

    return PathFinder.find_spec("smartcard") is not None


def _discover_cards() -> list[tuple[Transport, str]]:
    nfc = transports.load("nfc", own_only=True)
    try:
        return [(nfc, reader) for reader in nfc.discover("")]
    except SecurityKeyError:
        # Nobody has named it.
        return []


def _open(
    found: tuple[Transport, str], configuration: Configuration, operation: Operation, *, may_create: bool
) -> Channel:
    transport, location = found
    return transport.open(location, configuration, operation, may_create=may_create)


def _open_one(
    addresses: list[str], configuration: Configuration, operation: Operation, *, may_create: bool, sends_pin: bool
) -> Channel:
    found = _discover(addresses, configuration)
    has_cards_left = not addresses and _may_have_cards_besides(found)
    if len(found) == 1 and not has_cards_left:
        return _open(found[0], configuration, operation, may_create=may_create)
    candidates = _Candidates(configuration, operation)
    try:
        candidates.open(found, may_create=may_create)
        if not candidates.channels and has_cards_left:
            candidates.open(_discover_cards(), may_create=may_create)
        if not candidates.channels:
            raise candidates.first_error()
        if len(candidates.channels) == 1 and not candidates.failures:
            channel = candidates.channels[0]
        else:
            channel = _choose_by_touch(candidates.channels, candidates.failures, operation, sends_pin=sends_pin)
    except BaseException:
        candidates.close_all_but(None)
        raise
    candidates.close_all_but(channel)
    return channel


class _Race(Operation):
    """An operation on several authenticators at the same time: once one of them has won, the others give up."""

    __slots__ = ("_operation", "winner")

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.timeout, tell=operation.tell)
        self._operation = operation
        self.winner: Channel | None = None

    def is_set(self) -> bool:
        return self.winner is not None or self._operation.is_set()

    def reason(self) -> SecurityKeyError:
        if self.winner is not None:
            return Interrupted("another authenticator was used", "nothing is to be done")
        return self._operation.reason()


class _Candidates:
    """The authenticators that may serve an operation.

    channels: those that could be opened; maybe: those of them that may hold the key; failures: why others, which may
    hold it as well, could not be asked.
    """

    __slots__ = ("_absences", "_configuration", "_operation", "channels", "failures", "maybe")

    def __init__(self, configuration: Configuration, operation: Operation) -> None:
        self._configuration = configuration
        self._operation = operation
        self._absences: list[BaseException] = []
        self.channels: list[Channel] = []
        self.maybe: list[Channel] = []
        self.failures: list[BaseException] = []

    def open(self, found: list[tuple[Transport, str]], *, may_create: bool) -> None:
        """Open all that can be opened: a dead one or a forbidden one does not hide the others."""

        def open_one(each: tuple[Transport, str]) -> None:
            self.channels.append(_open(each, self._configuration, self._operation, may_create=may_create))

        self._note_errors(_at_once(open_one, found, self._operation))

    def find_holder(self, found: list[tuple[Transport, str]], request: SignRequest) -> Channel | None:
        """Ask all at once, and return the first that says that it holds the key, None if none does."""
        race = _Race(self._operation)

        def ask(each: tuple[Transport, str]) -> None:
            channel = _open(each, self._configuration, race, may_create=False)
            self.channels.append(channel)
            answer = _probe(channel, request, race)
            if answer == _HOLDS and race.winner is None:
                race.winner = channel
            if answer == _MAYBE:
                self.maybe.append(channel)

        self._note_errors(_at_once(ask, found, self._operation))
        # From now on only the operation ends what was opened for the race.
        holder, race.winner = race.winner, None
        return holder

    def _note_errors(self, outcomes: list[BaseException | None]) -> None:
        if self._operation.is_set():
            raise self._operation.reason()
        for outcome in outcomes:
            if isinstance(outcome, (DeviceNotFound, Unsupported)):
                # What is not there after all, or is no authenticator, holds no key.
                self._absences.append(outcome)
            elif outcome is not None:
                self.failures.append(_told(outcome))

    def first_error(self) -> BaseException:
        """Return what to raise where nothing could be opened."""
        return [*self.failures, *self._absences][0]

    def close_all_but(self, kept: Channel | None) -> None:
        for channel in self.channels:
            if channel is not kept:
                channel.close()


def _told(failure: BaseException) -> BaseException:
    """Return what to raise for what ended the asking of one authenticator of several."""
    if isinstance(failure, TimedOut):
        return CredentialNotFound(
            "one authenticator does not answer, and no other is known to hold this key",
            "unplug it, plug it in and try again, or connect the one that does",
        )
    return failure


def _at_once(function: Callable[[Item], None], items: list[Item], operation: Operation) -> list[BaseException | None]:
    """Call function with every item at once, and return what each raised, in order.

    Whatever ends the wait for them, such as Ctrl-C, calls the operation off, so that they end first.
    """
    errors: list[BaseException | None] = [None] * len(items)
    running: list[_thread.LockType] = []

    def run(index: int, item: Item, lock: _thread.LockType) -> None:
        try:
            function(item)
        except BaseException as error:  # noqa: BLE001 - the caller of _at_once() raises it
            errors[index] = error
        finally:
            lock.release()

    def join() -> None:
        for lock in running:
            with lock:
                pass

    try:
        for index, item in enumerate(items):
            lock = _thread.allocate_lock()
            lock.acquire()
            _thread.start_new_thread(run, (index, item, lock))
            running.append(lock)
        join()
    except BaseException:
        operation.call_off()
        join()
        raise
    return errors


def _choose(candidates: _Candidates, request: SignRequest, operation: Operation) -> Channel:
    """Return the one to use where none is known to hold the key.

    Raises CredentialNotFound, or why the one that may hold it could not be asked; the rest as in open_for_signature().
    """
    from sk_provider.api import FLAG_USER_VERIFICATION

    if not candidates.maybe:
        if candidates.failures or not candidates.channels:
            raise candidates.first_error()
        raise CredentialNotFound("no authenticator that is connected holds this key", "connect the one that does")
    spends_tries = request.pin is not None or bool(request.flags & FLAG_USER_VERIFICATION)
    if len(candidates.maybe) == 1 and not (candidates.failures and spends_tries):
        return candidates.maybe[0]
    if request.pin is None:
        refusals = _refusals_without_pin(candidates.maybe, request, operation)
        if len(refusals) == len(candidates.maybe):
            # The host asks for a PIN and calls again: the touch that chooses one is wanted only then.
            question = next((error for error in refusals if isinstance(error, PinRequired)), None)
            raise question or [*candidates.failures, *refusals][0]
    return _choose_by_touch(candidates.maybe, candidates.failures, operation, sends_pin=spends_tries)


def _refusals_without_pin(channels: list[Channel], request: SignRequest, operation: Operation) -> list[BaseException]:
    """Return what to raise of those of the authenticators that want a PIN for the key, or that fail.

    One that fails, or takes its time, hides none that would take the PIN.
    """
    from sk_provider.api import FLAG_USER_VERIFICATION

    from . import refusal

    if not request.flags & FLAG_USER_VERIFICATION:
        return []
    refusals: list[BaseException] = []

    def ask(channel: Channel) -> None:
        patience = Operation(_PROBE_PATIENCE, operation.is_set, operation.tell)
        try:
            info = requests.get_info(channel, patience)
        except StatusError:
            return
        if info.options.get("clientPin") is True and info.options.get("uv") is not True:
            refusals.append(refusal.to_verify_by_pin(info, channel, patience))

    failures = _at_once(ask, channels, operation)
    if operation.is_set():
        raise operation.reason()
    return refusals + [_told(error) for error in failures if error is not None]


def _probe(channel: Channel, request: SignRequest, operation: Operation) -> int:
    """Ask silently whether the authenticator holds the key; no PIN goes out for that.

    Nobody need come, so an authenticator that takes its time does not hold up the one with the key.
    """
    from sk_provider.api import FLAG_USER_VERIFICATION

    wants_verification = request.flags & FLAG_USER_VERIFICATION
    if not channel.capabilities & framing.CAPABILITY_CBOR:
        if wants_verification:
            return _NOT
        from . import u2f  # which takes its own time on a slow machine

        patience = Operation(_PROBE_PATIENCE, operation.is_set, operation.tell)
        return _HOLDS if u2f.holds_key(channel, request.application, request.key_handle, patience) else _NOT
    patience = Operation(_PROBE_PATIENCE, operation.is_set, operation.tell)
    try:
        requests.get_assertion(
            channel, request.application, requests.NO_CLIENT_DATA, request.key_handle, patience, up=False
        )
    except StatusError as error:
        if error.code in (status.NO_CREDENTIALS, status.INVALID_CREDENTIAL):
            # A key that wants verification for every use (credProtect 3) is hidden without it.
            return _MAYBE if wants_verification else _NOT
        return _MAYBE
    return _HOLDS


def _choose_by_touch(
    channels: list[Channel], failures: list[BaseException], operation: Operation, *, sends_pin: bool
) -> Channel:
    """Return the authenticator that a person touches; failures: why others cannot be touched.

    One that wants no touch is none that was chosen: it may serve only if it is alone and gets no PIN.

    Raises what ended the wait, or the first authenticator's error if none can wait for a touch.
    """
    from .touch import wait_for_touch

    if failures and isinstance(failures[0], SecurityKeyError):
        operation.tell(f"{failures[0].happened}; touch another authenticator to use that one")
    else:
        operation.tell(f"{len(channels)} authenticators are connected; touch the one to use")
    race = _Race(operation)
    waiting = len(channels)
    may_be_untouched = waiting == 1 and not sends_pin

    def wait(channel: Channel) -> None:
        nonlocal waiting
        if not wait_for_touch(channel, race) and not may_be_untouched:
            waiting -= 1
            untouchable = Unsupported(
                "one of the authenticators wants no touch, so that none can choose it",
                "to use it, connect it alone, or name no other",
            )
            if waiting and race.winner is None:
                operation.tell(str(untouchable))
            raise untouchable
        if race.winner is None:
            race.winner = channel

    errors = _at_once(wait, channels, operation)
    if race.winner is not None:
        return race.winner
    if operation.is_set():
        raise operation.reason()
    raise next(error for error in errors if error is not None)
