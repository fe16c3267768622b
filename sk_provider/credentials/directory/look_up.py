"""Looking a user up in directories, each in its turn, and changing one."""

from __future__ import annotations

from sk_provider.errors import DirectoryError, SecurityKeyError

from . import LOCAL, exchange, split
from .carry_out import carry_out
from .exchange import Request
from .in_time import in_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.config import Configuration
    from sk_provider.transport_api import Event

    from .exchange import Answer
    from .record import Record


class Found:
    """records: of all directories, each key once, as the first has it; failures: why directories could not be asked, by
    their URLs.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.records: list[Record] = []
        self.failures: dict[str, SecurityKeyError] = {}


def look_up(
    user: str, configuration: Configuration, tell: Callable[[str], object], event: Event | None = None
) -> Found:
    """Return a user's records of all directories that are configured; one that fails costs only its own.

    tell: takes a sentence about records of a directory that are left out; failures are not told. event: ends the wait.

    Raises the event's reason() if it is set.
    """
    found = Found()
    seen = set()
    for url in configuration.key_directories:
        try:
            answer = _do(exchange.LOOK_UP, url, configuration, event, user=user)
        except SecurityKeyError as error:
            if event is not None and event.is_set():
                raise
            found.failures[url] = error
            continue
        if answer.left_out:
            more = f" ({answer.left_out - 1} more like that)" if answer.left_out > 1 else ""
            tell(f"{answer.told}{more}")
        for record in answer.records:
            if record.identity() not in seen:
                seen.add(record.identity())
                found.records.append(record)
    return found


def check(url: str, user: str, handle_digest: str, configuration: Configuration) -> None:
    """Raise SecurityKeyError if a directory cannot be written, as far as it can tell without a change.

    handle_digest: of the key handle of a record of the user's that is to be replaced, "" if one is to be added.
    """
    _do(exchange.CHECK, url, configuration, user=user, handle_digest=handle_digest)


def add(url: str, record: Record, configuration: Configuration) -> None:
    """Add a record to a directory, or replace the one of that user, application and key handle.

    Raises SecurityKeyError if that cannot be done.
    """
    _do(exchange.ADD, url, configuration, record=record)


def remove(url: str, user: str, handle_digest: str, configuration: Configuration) -> bool:
    """Remove a user's records whose key handle has this digest from a directory, and tell if there were any.

    Raises SecurityKeyError if that cannot be done.
    """
    return _do(exchange.REMOVE, url, configuration, user=user, handle_digest=handle_digest).removed


def replace(url: str, handle_digest: str, record: Record, configuration: Configuration) -> None:
    """Put a record in the place of its user's with the same key whose handle has this digest, in one change.

    Raises DirectoryError if there is none, and SecurityKeyError if that cannot be done.
    """
    if not _do(exchange.REPLACE, url, configuration, record=record, handle_digest=handle_digest).removed:
        raise DirectoryError(
            f"{url} does not have the key {handle_digest} of {record.user} as a record that can be replaced",
            "see: pysk directory list",
        )


def _do(
    action: str,
    url: str,
    configuration: Configuration,
    event: Event | None = None,
    *,
    user: str = "",
    record: Record | None = None,
    handle_digest: str = "",
) -> Answer:
    from . import settings

    request = Request(
        action,
        url,
        settings.of(configuration),
        own_only=configuration.is_limited(url),
        user=user,
        record=record,
        handle_digest=handle_digest,
    )
    if split(url)[0] in LOCAL:
        if action != exchange.LOOK_UP:
            return carry_out(request)
        try:
            # Files of another machine are there only as long as that answers.
            return in_time(lambda: carry_out(request), request.settings.deadline, event)
        except TimeoutError:
            raise exchange.too_late(request) from None
    from . import child

    return child.ask(request, event, trusts_environment=configuration.trusts_environment)
