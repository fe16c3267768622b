"""What a check has found, and what it looks at: the account, as the person has it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Finding:
    """subject: what it is about, a word; seen: what is so, a sentence; remedy: the one thing to do about it, or None.

    private: the texts in seen and remedy that are nobody else's business, such as a distinguished name.
    """

    __slots__ = ("private", "remedy", "seen", "subject")

    def __init__(self, subject: str, seen: str, remedy: str | None = None, private: Sequence[str] = ()) -> None:
        self.subject = subject
        self.seen = seen
        self.remedy = remedy
        self.private = tuple(private)


class Account:
    """What the checks are about. environment: its variables; home: that of the password database, None without one.

    host: the name that ssh would be given, or None.
    """

    def __init__(self, environment: Mapping[str, str], home: str | None, host: str | None) -> None:
        self.environment = environment
        self.home = home
        self.host = host

    def variable(self, name: str) -> str | None:
        """Return the value of an environment variable, None where it is empty, too."""
        return self.environment.get(name) or None

    def shown(self, path: str) -> str:
        """Return a path as a person writes it: with ~ for the home."""
        if self.home and self.home != "/" and path.startswith(f"{self.home}/"):
            return f"~{path[len(self.home) :]}"
        return path
