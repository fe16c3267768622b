"""The policy of listing keys where there are directories: which of their keys stand beside an authenticator's own."""

from __future__ import annotations

import posix

from .api import APPLICATION_PREFIX, FLAG_USER_VERIFICATION, ResidentKey
from .client import holders
from .credentials.directory.look_up import look_up
from .errors import ConfigurationError, DeviceNotFound, Interrupted, PinRequired, SecurityKeyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import ResidentRequest
    from .config import Configuration
    from .credentials.directory.record import Record
    from .operation import Operation


def list_beside(
    list_resident: Callable[[], list[ResidentKey]],
    request: ResidentRequest,
    configuration: Configuration,
    operation: Operation,
) -> list[ResidentKey]:
    """Return an authenticator's keys, and those of the user's in directories that a connected one may hold.

    list_resident: returns the authenticator's, or raises SecurityKeyError. A part that fails costs only its own keys,
    and one sentence.

    Raises SecurityKeyError if all parts fail, or if the operation was interrupted.
    """
    found = look_up(user(configuration), configuration, operation.tell, _Interruption(operation))
    operation.restart()
    records = holders.may_be_held(found.records, request.device, configuration, operation)
    # So far nobody was awaited.
    operation.restart()
    failure = None
    resident: list[ResidentKey] = []
    try:
        _check_choice(request, configuration, operation)
        resident = list_resident()
    except Interrupted:
        raise
    except SecurityKeyError as error:
        failure = error
    for unasked in found.failures.values():
        operation.tell(str(unasked))
    if failure is not None and len(found.failures) == len(configuration.key_directories):
        # The host has asked for a PIN before, and does not ask again.
        failure.is_question = False
        raise failure
    keys = resident + _to_keys(records, resident)
    # Without an authenticator all is as it should be, unless there is nothing else.
    if failure is not None and not (keys and isinstance(failure, DeviceNotFound)):
        operation.tell(str(failure))
    if found.records and not records and not keys:
        operation.tell(
            "the connected authenticator holds none of your keys in the key directory; connect the one that does"
        )
    if records and not keys:
        operation.tell(
            f"the key directory has only keys of other applications than ssh, such as {records[0].application}, "
            "which cannot be loaded this way; run: pysk directory export"
        )
    return keys


class _Interruption:
    """What ends a wait that is not for a person, see transport_api.Event: the operation's end, but not its deadline."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.is_set = operation.is_interrupted
        self.reason = operation.reason
        self.wait_for_others = operation.wait_for_others


def user(configuration: Configuration) -> str:
    """Return whose keys are looked up.

    Raises ConfigurationError if that is the effective user, who is in no password database.
    """
    import pwd

    try:
        return configuration.directory_user or pwd.getpwuid(posix.geteuid()).pw_name
    except KeyError:
        raise ConfigurationError(
            f"user {posix.geteuid()} is not in the password database", "name one with KeyDirectoryUser in pysk_config"
        ) from None


def _check_choice(request: ResidentRequest, configuration: Configuration, operation: Operation) -> None:
    """Let nobody choose or bring an authenticator by whose PIN nothing will be listed, as none was given.

    Raises PinRequired if there are several, and DeviceNotFound if there is none.
    """
    if request.pin is None:
        match holders.count_connected(request.device, configuration, operation):
            case 0:
                raise DeviceNotFound("no authenticator is connected", "connect one to list its resident keys")
            case 1:
                return
            case _:
                raise PinRequired(
                    "several authenticators are connected, whose keys are listed only with a PIN",
                    "enter one when you are asked",
                )


def _to_keys(records: list[Record], resident: list[ResidentKey]) -> list[ResidentKey]:
    """Return what the host is told of the records whose key it takes and the authenticator has not listed."""
    listed = {(key.application, key.key_handle) for key in resident}
    user_ids = {key.user_id for key in resident}
    keys = []
    for record in records:
        if not record.application.startswith(APPLICATION_PREFIX) or (record.application, record.key_handle) in listed:
            continue
        # Hosts name files by application and user ID, and give up where there is one already.
        user_id = record.handle_digest().encode()
        while user_id in user_ids:
            user_id += b"+"
        user_ids.add(user_id)
        keys.append(
            ResidentKey(
                algorithm=record.algorithm,
                application=record.application,
                flags=record.flags & FLAG_USER_VERIFICATION,
                key_handle=record.key_handle,
                public_key=record.public_key,
                user_id=user_id,
            )
        )
    return keys
