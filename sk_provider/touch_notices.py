"""Telling a person what a request waits for, once it has waited a moment."""

from __future__ import annotations

from .asking import notices
from .policy import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import EnrollRequest, ResidentRequest, SignRequest
    from .config import Configuration
    from .operation import Operation


def show(
    calls: list[str],
    request: EnrollRequest | SignRequest | ResidentRequest,
    configuration: Configuration,
    operation: Operation,
    api_major: int,
) -> Callable[[], None] | None:
    """Tell a person what they are to do, and what for, as pysk_config says (Notify); return what withdraws it.

    calls: what to do, for each authenticator; api_major: of the host's API. Nothing is raised: what fails is told, and
    the request goes on.
    """
    ways, command = configuration.notices, configuration.notice_command
    if not configuration.trusts_environment:
        # A program would have an environment that its user must not choose.
        ways, command = tuple(way for way in ways if way == "terminal"), []
    if not ways and not command:
        return None

    def trace(sentence: str) -> None:
        if operation.trace is not None:
            operation.trace(f"Notify {sentence}")

    try:
        notice = notices.Notice(" or ".join(calls), describe(request), configuration.timeout)
        return notices.show(notice, ways, command, api_major, trace)
    except notices.CannotTell as reason:
        operation.notify = None
        operation.tell(f"{reason}, so that no notice is shown; correct Notify in pysk_config")
    except Exception as error:  # noqa: BLE001 - a notice must not end what it tells of
        operation.notify = None
        operation.tell(
            f"no notice can be shown ({type(error).__name__}); write `Notify no` in pysk_config to do without"
        )
    return None
