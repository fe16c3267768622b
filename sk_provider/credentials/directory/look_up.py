"""Looking a user up in directories: each in its turn, none for longer than it may take, and each key once."""

from __future__ import annotations

from sk_provider.errors import SecurityKeyError

from . import load, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .record import Record
    from .settings import Settings


class Found:
    """records: of all directories, each key once, the first that has it winning; failures: why directories could not be
    asked, by URL.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.records: list[Record] = []
        self.failures: dict[str, SecurityKeyError] = {}


def look_up(
    urls: list[str], user: str, settings: Settings, tell: Callable[[str], object], *, own_only: Callable[[str], bool]
) -> Found:
    """Return the user's records; a directory that fails costs only its own.

    tell: takes a sentence about records that are left out; own_only: whether a URL may not name a third party's kind,
    such as Configuration.is_limited().
    """
    found = Found()
    seen = set()
    for url in urls:
        try:
            kind = load(split(url)[0], own_only=own_only(url))
            records = kind.look_up(url, user, settings, tell)
        except SecurityKeyError as error:
            found.failures[url] = error
            continue
        for record in records:
            if record.identity() not in seen:
                seen.add(record.identity())
                found.records.append(record)
    return found
