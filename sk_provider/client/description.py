"""Which authenticators there are, what each can do for ssh, and why one cannot be used, without a touch or a PIN."""

from __future__ import annotations

import _thread
import os
import time
from dataclasses import dataclass, field

from sk_provider import transports
from sk_provider.credentials import models
from sk_provider.ctap import EDDSA, ES256, requests
from sk_provider.ctap.status import StatusError
from sk_provider.errors import (
    AuthenticatorError,
    ConfigurationError,
    DeviceNotFound,
    NotMadeYet,
    PinBlocked,
    SecurityKeyError,
    Unsupported,
)
from sk_provider.operation import Operation

from . import refusal
from .discovery import Found
from .probe import Probe
from .token import PROBE_PATIENCE
from .users import users_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from sk_provider.config import Configuration

    from .token import Token

    Item = TypeVar("Item")
    Result = TypeVar("Result")

# What a description's status says.
READY = "ready"
BUSY = "busy"
FORBIDDEN = "forbidden"
NOT_FIDO = "not-fido"
FAILED = "failed"
UNUSABLE = "unusable"
NOT_THERE = "not-there"
NOT_MADE = "not-made"
NO_CARD = "no-card"
NO_READER = "no-reader"
NO_SERVICE = "no-service"
NO_PACKAGE = "no-package"

ABSENT = (NOT_THERE, NOT_MADE, NO_CARD, NO_READER, NO_SERVICE, NO_PACKAGE)
"""Of these there is no authenticator."""
UNREADABLE = (BUSY, FORBIDDEN, FAILED, UNUSABLE)
"""These may be authenticators, and could not be looked at."""

# What a description's pin says.
PIN_SET = "set"
PIN_NOT_SET = "not-set"
PIN_MUST_CHANGE = "must-be-changed"
PIN_BLOCKED = "blocked"
PIN_BLOCKED_FOR_NOW = "blocked-until-power-up"
PIN_UNSUPPORTED = "unsupported"

# What a description's built_in_verification says.
UV_SET_UP = "set-up"
UV_NOT_SET_UP = "not-set-up"
UV_NONE = "none"

EVERYWHERE = ("usb:", "nfc:", "soft:", "tpm:")
"""Where authenticators are looked for, besides at the addresses that pysk_config's Device lines name."""

_MAY_BE_NOWHERE = ("usb", "tpm")
"""Of these nothing is told where nobody has named them and there is none."""

_GRACE = 2.0
"""Seconds after which one that has not even noticed that its time is over is left behind."""
_MAX_NAMES = 32
_MAX_NAME_LENGTH = 64
_MAX_NUMBER = (1 << 32) - 1


@dataclass
class User:
    """A process that has the device open."""

    pid: int
    program: str


@dataclass
class Description:
    """An authenticator, or a place where there could be one. What is None is not known.

    address: what names it, as a user writes it; transport: its scheme; status: see READY and those below it; problem,
    remedy: why it is not READY, or why it takes no PIN though it is, and what to do; udev_rule: the line that would let
    the person open it, where they may not; users: who has it open, where it is BUSY.

    name: the model, or else what the device calls itself; product: what it calls itself; aaguid: as text; versions,
    extensions, transports, firmware, algorithms: as it tells (CTAP 2.1 §6.4).

    ed25519_sk, ecdsa_sk: whether it makes these keys; resident_keys: whether it holds any that ssh makes;
    resident_keys_left: for how many more it has room; verify_required: whether it makes keys that want the person
    verified; pin: see PIN_SET and those below it; pin_tries_left, pin_min_length: numbers; built_in_verification: see
    UV_SET_UP and those below it; always_verifies: whether it verifies the person for each use of each key.
    """

    address: str
    transport: str
    status: str = READY
    problem: str | None = None
    remedy: str | None = None
    udev_rule: str | None = None
    users: list[User] = field(default_factory=list)
    name: str | None = None
    product: str | None = None
    aaguid: str | None = None
    versions: list[str] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)
    transports: list[str] = field(default_factory=list)
    firmware: int | None = None
    ed25519_sk: bool | None = None
    ecdsa_sk: bool | None = None
    resident_keys: bool | None = None
    resident_keys_left: int | None = None
    verify_required: bool | None = None
    pin: str | None = None
    pin_tries_left: int | None = None
    pin_min_length: int | None = None
    built_in_verification: str | None = None
    always_verifies: bool | None = None


def look(addresses: list[str], configuration: Configuration, operation: Operation) -> list[Description]:
    """Describe what is at the addresses; without any, EVERYWHERE and at those that pysk_config names.

    All are looked at at once, for PROBE_PATIENCE each; the order is that of the addresses, and of what each finds.
    An address at which nothing is has a description that says so, except usb: and tpm: that nobody named.

    Raises Interrupted if the operation was.
    """
    named = addresses or configuration.all_devices()
    places = named if addresses else list(dict.fromkeys([*EVERYWHERE, *named]))
    found: list[Found | Description] = []
    finds = _at_once(lambda address: _find(address, configuration, is_named=address in named), places)
    for address, find in zip(places, finds, strict=True):
        if isinstance(find, Exception):
            found.append(_failure(address, _scheme(address), find))
        else:
            found += find
    by_address: dict[str, Found | Description] = {}
    for each in found:
        by_address.setdefault(each.address, each)
    unique = list(by_address.values())
    opened = [each for each in unique if isinstance(each, Found)]
    looks = _at_once(lambda each: describe(each, configuration, operation), opened)
    if operation.is_interrupted():
        raise operation.reason()
    described = {
        each.address: _failure(each.address, each.scheme, outcome) if isinstance(outcome, Exception) else outcome
        for each, outcome in zip(opened, looks, strict=True)
    }
    return [described[each.address] if isinstance(each, Found) else each for each in unique]


def _at_once(function: Callable[[Item], Result], items: list[Item]) -> list[Result | Exception]:
    """Return what function returns for each item, or what it raises: AuthenticatorError if it does not even end."""
    outcomes: list[Result | Exception] = [
        AuthenticatorError("it does not answer", "unplug it, plug it in and try again")
    ] * len(items)
    locks = []

    def run(index: int, item: Item, lock: _thread.LockType) -> None:
        try:
            outcomes[index] = function(item)
        except Exception as error:  # noqa: BLE001 - whatever fails, such as another package's code, hides no other
            outcomes[index] = error
        finally:
            lock.release()

    deadline = time.monotonic() + 2 * PROBE_PATIENCE + _GRACE
    for index, item in enumerate(items):
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(run, (index, item, lock))
        locks.append(lock)
    for lock in locks:
        lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
    return list(outcomes)


def _find(address: str, configuration: Configuration, *, is_named: bool) -> list[Found | Description]:
    """Return what an address means now; is_named: whether somebody wants to know if that is nothing."""
    scheme, location = transports.split(address)
    transport = transports.load(scheme, own_only=configuration.is_limited(address))
    if scheme == transports.FALLBACK:
        return _find_cards(address, location, Found(scheme, transport, location))
    found: list[Found | Description] = [Found(scheme, transport, each) for each in transport.discover(location)]
    if found or (scheme in _MAY_BE_NOWHERE and not is_named):
        return found
    if getattr(transport, "waits_for_a_person", False):
        return [Description(address, scheme, NOT_THERE, f"nothing is at {address}", "connect it")]
    # Opening it tells best.
    return [Found(scheme, transport, location)]


def _find_cards(address: str, location: str, place: Found) -> list[Found | Description]:
    from sk_provider.transports.pcsc import Context, NotLetIn

    missing = NO_SERVICE
    try:
        context = Context()
        try:
            missing = NO_READER
            readers = context.readers(location)
            with_card = [reader for reader in readers if context.has_card(reader)]
        finally:
            context.release()
    except ConfigurationError as error:
        return [Description(address, place.scheme, NO_PACKAGE, error.happened, error.remedy)]
    except NotLetIn as error:
        return [Description(address, place.scheme, FORBIDDEN, error.happened, error.remedy)]
    except DeviceNotFound as error:
        return [Description(address, place.scheme, missing, error.happened, error.remedy)]
    found: list[Found | Description] = []
    for reader in readers:
        each = Found(place.scheme, place.transport, reader)
        if reader in with_card:
            found.append(each)
        else:
            happened = f"no card lies on the reader {reader}"
            found.append(Description(each.address, place.scheme, NO_CARD, happened, "present the security key to it"))
    return found


def _scheme(address: str) -> str:
    try:
        return transports.split(address)[0]
    except ConfigurationError:
        return ""


def describe(found: Found, configuration: Configuration, operation: Operation) -> Description:
    """Open an authenticator and describe it, in PROBE_PATIENCE. Raises nothing but what is a bug of a transport's."""
    description = Description(found.address, found.scheme)
    description.product = _text(found.product()) or None
    description.name = description.product
    patience = Probe(operation, PROBE_PATIENCE)
    try:
        try:
            token = found.open(configuration, patience, may_create=False)
        except NotMadeYet:
            if found.scheme == "tpm":
                # Whether it can be is not known before.
                transport: Any = found.transport
                transport.check(found.location, patience)
            raise
        try:
            learn(description, token, patience)
        finally:
            token.close()
    except SecurityKeyError as error:
        _explain(description, error, found)
        if patience.has_waited and isinstance(error, AuthenticatorError):
            description.status = BUSY
            description.users = [User(user.number, user.program) for user in users_of(found.location)]
    return description


def _failure(address: str, scheme: str, error: Exception) -> Description:
    description = Description(address, scheme)
    if not isinstance(error, SecurityKeyError):
        error = AuthenticatorError(
            f"the transport of {address} fails ({type(error).__name__}: {error})", "report this to its makers"
        )
    _explain(description, error, None)
    return description


def _explain(description: Description, error: SecurityKeyError, found: Found | None) -> None:
    description.problem, description.remedy = error.happened, error.remedy
    if isinstance(error, DeviceNotFound):
        description.status = NOT_MADE if isinstance(error, NotMadeYet) else NOT_THERE
    elif isinstance(error, Unsupported):
        description.status = NOT_FIDO
    elif found is not None and found.scheme == "tpm" and _is_forbidden(found.transport.device_file(found.location)):  # type: ignore[attr-defined]  # it has it
        description.status = FORBIDDEN
    elif isinstance(error, AuthenticatorError) or not isinstance(error, ConfigurationError):
        description.status = FAILED
    elif description.transport == "tpm" and not _has_tpm2_pytss():
        description.status = NO_PACKAGE
    else:
        description.status = UNUSABLE
        if found is not None and found.scheme == transports.DEFAULT and _is_forbidden(found.location):
            description.status = FORBIDDEN
            description.udev_rule = _udev_rule(found)


def _has_tpm2_pytss() -> bool:
    from importlib.util import find_spec

    return find_spec("tpm2_pytss") is not None


def _is_forbidden(path: str | None) -> bool:
    try:
        return path is not None and not os.access(path, os.R_OK | os.W_OK, effective_ids=True)
    except OSError:
        return False


def _udev_rule(found: Found) -> str | None:
    """Return the line of a file such as /etc/udev/rules.d/70-security-key.rules that lets people open such a device."""
    tell = getattr(found.transport, "vendor_and_product", None)
    identity = tell and tell(found.location)
    if not identity:
        return None
    vendor, product = identity
    return (
        f'KERNEL=="hidraw*", SUBSYSTEM=="hidraw", ATTRS{{idVendor}}=="{vendor:04x}", '
        f'ATTRS{{idProduct}}=="{product:04x}", TAG+="uaccess", GROUP="plugdev", MODE="0660"'
    )


def learn(description: Description, token: Token, operation: Operation) -> None:
    """Add to a description what an open authenticator tells of itself.

    Raises SecurityKeyError if there is no usable answer.
    """
    try:
        members = token.by_its_protocol(lambda: requests.get_info_members(token, operation), lambda: None)
    except StatusError as error:
        raise refusal.error_of(error.code, token) from None
    if members is None:
        _learn_u2f(description)
        return
    _learn_members(description, members)
    if description.pin in (PIN_SET, PIN_MUST_CHANGE):
        _learn_tries(description, token, operation)


def _learn_u2f(description: Description) -> None:
    description.name = description.product or "U2F security key"
    description.versions = ["U2F_V2"]
    description.ecdsa_sk = True
    description.ed25519_sk = description.resident_keys = description.verify_required = False
    description.pin, description.built_in_verification = PIN_UNSUPPORTED, UV_NONE
    description.always_verifies = False


def _learn_members(description: Description, untrusted: dict[object, object]) -> None:
    """Take over what is as CTAP 2.1 §6.4 has it; whatever is not, is as if it had not been told."""
    description.versions = _names(untrusted.get(0x01))
    description.extensions = _names(untrusted.get(0x02))
    aaguid = untrusted.get(0x03)
    if isinstance(aaguid, bytes) and len(aaguid) == len(models.NONE) and aaguid != models.NONE:
        description.aaguid = models.text(aaguid)
        description.name = models.model(aaguid) or description.product
    description.name = description.name or "FIDO2 security key"
    description.transports = _names(untrusted.get(0x09))
    description.firmware = _number(untrusted.get(0x0E))
    _learn_algorithms(description, untrusted.get(0x0A))
    told = untrusted.get(0x04)
    options = told if isinstance(told, dict) else {}
    can_verify = "clientPin" in options or "uv" in options
    protects = "credProtect" in description.extensions
    description.verify_required = protects and can_verify
    description.resident_keys = options.get("rk") is True and protects
    description.resident_keys_left = _number(untrusted.get(0x14)) if description.resident_keys else None
    description.pin = _by(options.get("clientPin"), PIN_SET, PIN_NOT_SET, PIN_UNSUPPORTED)
    if description.pin == PIN_SET and untrusted.get(0x0C) is True:
        description.pin = PIN_MUST_CHANGE
    if description.pin != PIN_UNSUPPORTED:
        description.pin_min_length = _number(untrusted.get(0x0D))
    description.built_in_verification = _by(options.get("uv"), UV_SET_UP, UV_NOT_SET_UP, UV_NONE)
    description.always_verifies = options.get("alwaysUv") is True


def _learn_algorithms(description: Description, untrusted: object) -> None:
    if not isinstance(untrusted, list) or not untrusted:
        # CTAP 2.0 has no such member, and wants ES256 of all.
        description.ecdsa_sk, description.ed25519_sk = True, None
        return
    algorithms = [each.get("alg") for each in untrusted if isinstance(each, dict)]
    description.ecdsa_sk, description.ed25519_sk = ES256 in algorithms, EDDSA in algorithms


def _learn_tries(description: Description, token: Token, operation: Operation) -> None:
    try:
        tries, needs_power_cycle = requests.get_pin_retries(token, operation)
    except StatusError:
        return
    except PinBlocked as error:
        # Other keys of a TPM in lockout go on.
        description.pin, description.problem, description.remedy = PIN_BLOCKED, error.happened, error.remedy
        return
    description.pin_tries_left = _number(tries)
    if not tries:
        description.pin = PIN_BLOCKED
    elif needs_power_cycle:
        description.pin = PIN_BLOCKED_FOR_NOW


def _by(untrusted: object, if_true: str, if_false: str, otherwise: str) -> str:
    if untrusted is True:
        return if_true
    return if_false if untrusted is False else otherwise


def _names(untrusted: object) -> list[str]:
    names = untrusted if isinstance(untrusted, list) else []
    return [_text(name) for name in names[:_MAX_NAMES] if isinstance(name, str)]


def _text(untrusted: str) -> str:
    return untrusted[:_MAX_NAME_LENGTH]


def _number(untrusted: object) -> int | None:
    is_number = isinstance(untrusted, int) and not isinstance(untrusted, bool)
    return untrusted if is_number and 0 <= untrusted <= _MAX_NUMBER else None  # type: ignore[operator,return-value]
