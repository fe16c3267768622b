"""Whether a key's authenticator is there, which no one but it can tell of a key handle."""

from __future__ import annotations

import os

from .api import FLAG_USER_VERIFICATION, SignRequest
from .client import candidates, discovery, selection
from .errors import CredentialNotFound
from .sign import sign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Configuration
    from .credentials.directory.record import Record
    from .operation import Operation


def refuse_if_absent(record: Record, key_handle: bytes, configuration: Configuration, operation: Operation) -> None:
    """Raise SecurityKeyError if no authenticator is there that prove() could ask, without asking any of the key.

    key_handle: its own, or what is known of that.
    """
    addresses = configuration.devices(record.application)
    token = None
    try:
        token = discovery.open_marked(key_handle, addresses, configuration, operation)
    except CredentialNotFound as elsewhere:
        found = discovery.discover_served(key_handle, addresses, configuration, elsewhere)
    else:
        found = discovery.discover(addresses, configuration) if token is None else []
    if len(found) == 1 and not getattr(found[0].transport, "waits_for_a_person", False):
        # What is named may not be there for all that.
        token = found[0].open(configuration, operation, may_create=False)
    if token is not None:
        token.close()


def prove(
    record: Record,
    key_handle: bytes,
    configuration: Configuration,
    operation: Operation,
    ask_for_pin: Callable[[], str],
) -> None:
    """Have the authenticator show, without a touch where that can be, that a key handle is that of a record's key.

    ask_for_pin: returns the authenticator's PIN, where it shows nothing without it.

    Raises CredentialNotFound if it is not, or the authenticator is not there, and SecurityKeyError.
    """
    flags = record.flags & FLAG_USER_VERIFICATION
    request = SignRequest(record.algorithm, os.urandom(32), record.application, key_handle, flags, None, None)
    if not flags:
        token = selection.open_for_signature(request, configuration, operation)
        try:
            answer = candidates.ask_silently(token, request, (record.algorithm, record.public_key), operation)
        finally:
            token.close()
        if answer == candidates.NOT:
            raise CredentialNotFound(
                "the authenticator does not hold this key", "connect the one that it was enrolled on"
            )
        if answer != candidates.MAYBE:
            return
    request.pin = ask_for_pin()
    operation.restart()
    sign(request, configuration, operation)
