"""What pysk_config says of one operation, by what it is for, and whether it permits it."""

from __future__ import annotations

from .api import EnrollRequest, SignRequest
from .asking import hosts
from .config import Use
from .credentials import purpose
from .errors import OperationForbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import ResidentRequest
    from .config import Configuration


def apply(configuration: Configuration, application: str | None, read_message: Callable[[], bytes] | None) -> None:
    """Settle the configuration for an operation with keys of an application, None if it is of none in particular.

    read_message: returns what is to be signed, None if that is not known, or nothing is.

    Raises OperationForbidden if a line `Deny yes` is the first that applies.
    """
    signed = purpose.of_message(read_message()) if read_message is not None else purpose.Purpose(purpose.UNKNOWN)
    configuration.settle(
        Use(
            application,
            namespace=signed.namespace,
            user=signed.user,
            host_key=purpose.fingerprint(signed.host_key) if signed.host_key is not None else None,
            host_program=hosts.program(),
        )
    )
    if configuration.denied is not None:
        what = "this operation" if signed.kind == purpose.UNKNOWN else f"this {signed.describe()}"
        raise OperationForbidden(f"{configuration.denied} forbids {what} (Deny)", "change that file if it should not")


def describe(request: EnrollRequest | SignRequest | ResidentRequest) -> str:
    """Return what a request is for, in words for a person, as far as what is signed says it."""
    if isinstance(request, SignRequest):
        from .credentials import known_hosts

        signed = purpose.of_message(request.read_message() if request.read_message is not None else b"")
        name = known_hosts.name_of(signed.host_key) if signed.host_key is not None else None
        return f"{signed.describe(name)}, with a key for {purpose.shown(request.application)}"
    if isinstance(request, EnrollRequest):
        return f"enrolling a key for {purpose.shown(request.application)}"
    return "listing the resident keys"
