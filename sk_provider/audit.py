"""The record of what was done with authenticators (pysk_config's AuditLog): one line for each operation.

    time=2026-11-26T19:00:00+0000 operation=sign purpose="login as root at SHA256:…" application="ssh:"
    key=0123456789abcdef device="usb:" aaguid=… flags=0x05 counter=7 outcome=ok

in one line, in this order. What is not known, or is of no meaning for the operation, is "-".
"""

from __future__ import annotations

import re
import time

from .api import EnrollRequest, EnrollResponse, SignRequest, SignResponse
from .config import AUDIT_SYSLOG
from .credentials import key_handle, purpose
from .errors import ConfigurationError
from .reporting import append_line, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from .api import ResidentRequest
    from .config import Configuration
    from .operation import Operation, Reached

    Response = TypeVar("Response")

_MAX_TEXT = 256
"""Characters of a text that others have chosen."""
_NOTHING = "-"


def recorded(
    carry_out: Callable[[], Response],
    request: EnrollRequest | SignRequest | ResidentRequest,
    configuration: Configuration,
    operation: Operation,
    write_syslog: Callable[[bytes], object],
) -> Response:
    """Carry out an operation, and write a line if it has reached an authenticator. A log that fails is told.

    Raises ConfigurationError if the log is required and cannot be written, before anything is done, or, if that fails
    only then, in the place of the response; and whatever carry_out() raises.
    """
    path = configuration.audit_log
    assert path is not None  # noqa: S101 - or nobody would call this

    def write(line: str) -> None:
        if path == AUDIT_SYSLOG:
            write_syslog(line.encode())
        elif not append_line(path, line.encode() + b"\n" if line else b""):
            happened = f"the audit log {path} cannot be written"
            if configuration.is_audit_required:
                raise ConfigurationError(happened, "make room, or correct its owner and mode (AuditLogRequired)")
            operation.tell(f"{happened}; make room, or correct its owner and mode")

    if configuration.is_audit_required and path != AUDIT_SYSLOG:
        write("")
    try:
        response = carry_out()
    except BaseException as error:
        if operation.token is not None:
            write(_line(request, None, operation.token, outcome=_kind(error)))
        raise
    if operation.token is not None:
        write(_line(request, response, operation.token, outcome="ok"))
    return response


def _line(
    request: EnrollRequest | SignRequest | ResidentRequest, response: object, token: Reached, *, outcome: str
) -> str:
    application = request.application if isinstance(request, (EnrollRequest, SignRequest)) else None
    handle = request.host_key_handle if isinstance(request, SignRequest) else None
    if isinstance(response, EnrollResponse):
        handle = response.key_handle
    fields = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "operation": _operation(request),
        "purpose": _quoted(_purpose(request)),
        "application": _quoted(application),
        "key": key_handle.digest(handle) if handle else _NOTHING,
        "device": _quoted(token.address),
        "aaguid": token.aaguid.hex() or _NOTHING,
        "flags": f"{response.flags:#04x}" if isinstance(response, (EnrollResponse, SignResponse)) else _NOTHING,
        "counter": str(response.counter) if isinstance(response, SignResponse) else _NOTHING,
        "outcome": outcome,
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())


def _operation(request: object) -> str:
    if isinstance(request, SignRequest):
        return "sign"
    return "enroll" if isinstance(request, EnrollRequest) else "list"


def _purpose(request: object) -> str | None:
    if not isinstance(request, SignRequest) or request.read_message is None:
        return None
    return purpose.of_message(request.read_message()).describe()


def _quoted(text: str | None) -> str:
    if text is None:
        return _NOTHING
    escaped = printable(text[:_MAX_TEXT]).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _kind(error: BaseException) -> str:
    """Return the kind of a failure, such as pin-invalid: the name of its class."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
