"""Which of a directory's keys the connected authenticators hold, as far as they tell silently and of nobody's touch."""

from __future__ import annotations

import time

from sk_provider.api import SEALED_MARK, SignRequest
from sk_provider.errors import CredentialNotFound, DeviceNotFound, SecurityKeyError, Unsupported

from . import candidates, discovery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.config import Configuration
    from sk_provider.credentials.directory.record import Record
    from sk_provider.operation import Operation

    from .discovery import Found

_ABSENCES = (DeviceNotFound, Unsupported)
"""What is raised for what is not there after all, or is no authenticator."""

_PATIENCE = 10.0
"""Seconds for all questions: there may be thousands of keys, and any that was not asked for by then may be held."""


def may_be_held(
    records: list[Record], device: str | None, configuration: Configuration, operation: Operation
) -> list[Record]:
    """Return those of the records whose key a connected authenticator holds, or may hold.

    It cannot tell of a key that wants verification for every use, or whose handle is sealed, nor can one that does not
    answer tell anything. Where no authenticator is connected by which a key could be used, that is returned, too.
    device: the address that the host was given, or None.

    Raises ConfigurationError if an address is none, and Interrupted if the operation was.
    """
    ends = time.monotonic() + _PATIENCE
    held = []
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        addresses = [device] if device else configuration.devices(record.application)
        # Whose a sealed key handle is cannot be told without the passphrase.
        is_sealed = record.key_handle.startswith(SEALED_MARK)
        if is_sealed or time.monotonic() >= ends or _is_recognized(record, addresses, configuration, operation):
            held.append(record)
        else:
            groups.setdefault(tuple(addresses), []).append(record)
    for named, group in groups.items():
        found = discovery.discover_connected(list(named), configuration)
        held += _held_by(found, group, configuration, operation, ends)
    return [record for record in records if record in held]


def count_connected(device: str | None, configuration: Configuration, operation: Operation) -> int:
    """Return how many authenticators there are to choose from for what concerns no particular key.

    Raises ConfigurationError if an address is none, and Interrupted if the operation was.
    """
    addresses = [device] if device else configuration.devices(None)
    found = discovery.discover_connected(addresses, configuration)
    if len(found) < 2:
        return len(found)

    def find(each: Found) -> None:
        each.open(configuration, operation, may_create=False).close()

    return len(found) - len([error for error in _each(find, found, operation) if isinstance(error, _ABSENCES)])


def _is_recognized(record: Record, addresses: list[str], configuration: Configuration, operation: Operation) -> bool:
    """Return whether the key handle itself tells of its authenticator, and that is there, be it usable now or not."""
    try:
        token = discovery.open_marked(record.key_handle, addresses, configuration, operation)
    except CredentialNotFound:
        return False
    except SecurityKeyError:
        return True
    if token is not None:
        token.close()
    return token is not None


def _held_by(
    found: list[Found], records: list[Record], configuration: Configuration, operation: Operation, ends: float
) -> list[Record]:
    """Return those that one of the authenticators holds or may hold; all, if none of these is there after all.

    ends: when nothing more is asked, by the monotonic clock.
    """
    connected: list[Found] = []
    held: list[Record] = []

    def ask(each: Found) -> None:
        token = each.open(configuration, operation, may_create=False)
        connected.append(each)
        try:
            for record in records:
                key = record.algorithm, record.public_key
                request = SignRequest(
                    record.algorithm, b"", record.application, record.key_handle, record.flags, None, None
                )
                if time.monotonic() >= ends or candidates.ask_silently(token, request, key, operation):
                    held.append(record)
        finally:
            token.close()

    failures = [error for error in _each(ask, found, operation) if error and not isinstance(error, _ABSENCES)]
    return records if failures or not connected else held


def _each(function: Callable[[Found], None], found: list[Found], operation: Operation) -> list[SecurityKeyError | None]:
    """Call function with all at once, and return what each raised. Raises Interrupted if the operation was."""
    errors = candidates.at_once(function, found, operation)
    if operation.is_interrupted():
        raise operation.reason()
    outcomes: list[SecurityKeyError | None] = []
    for error in errors:
        if error is not None and not isinstance(error, SecurityKeyError):
            raise error
        outcomes.append(error)
    return outcomes
