"""Directories, which know key handles and public keys outside of authenticators: which kinds there are.

A directory's URL begins with the scheme of its kind, and each kind is a module (see Kind) that finds a user's records.
Nothing that it says is trusted: a record is made of it by record.checked() alone.
"""

from __future__ import annotations

from sk_provider.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from .record import Record
    from .settings import Settings

    class Kind(Protocol):
        """What the module of a kind has; one that can be written also has what Writable has."""

        def look_up(self, url: str, user: str, settings: Settings, tell: Callable[[str], object], /) -> list[Record]:
            """Return the user's records, none for a user who is not known.

            tell: takes a sentence about a record that is left out. May be called in a process of its own, which ends
            at the deadline. Raises DirectoryError if the directory cannot be read.
            """

    class Writable(Kind, Protocol):
        """A kind whose directories can be written."""

        def add(self, url: str, record: Record, settings: Settings, /) -> None:
            """Add a record, or replace the one of that user, application and key handle. Raises DirectoryError."""

        def remove(self, url: str, user: str, handle_digest: str, settings: Settings, /) -> bool:
            """Remove the user's records whose key handle has this digest (see key_handle), and tell if any had.

            Raises DirectoryError if the directory cannot be written.
            """

        def check(self, url: str, user: str, handle_digest: str, settings: Settings, /) -> None:
            """Raise DirectoryError if the user's record whose key handle has this digest cannot be replaced.

            handle_digest: "" if one is to be added for the user. May be missing; what it does not find out, the change
            itself tells.
            """

        def replace(self, url: str, handle_digest: str, record: Record, settings: Settings, /) -> bool:
            """Put a record in the place of its user's with the same key whose handle has this digest, in one change.

            Return whether there was one. May be missing. Raises DirectoryError if the directory cannot be written.
            """


KINDS = {
    "file": "file",
    "https": "https",
    "ldap": "ldap",
    "ldapi": "ldap",
    "ldaps": "ldap",
    "pam-u2f": "pam_u2f",
}
"""By the scheme of its URLs, the module of each of our own kinds."""

LOCAL = ("file", "pam-u2f")
"""The schemes of those that read files and nothing else, so that no look-up of theirs needs a process of its own."""

ENTRY_POINTS = "sk_provider.directories"


def split(url: str) -> tuple[str, str]:
    """Return the scheme of a URL, in lower case, and what follows the colon.

    Raises ConfigurationError if it has no scheme.
    """
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    letters = scheme.replace("+", "").replace("-", "").replace(".", "")
    if not colon or not rest or not letters.isalnum() or not scheme.isascii() or not scheme[0].isalpha():
        raise ConfigurationError(f"{url} is not a key directory's URL", "write one such as file:/etc/ssh/sk_keys")
    return scheme, rest


def load(scheme: str, *, own_only: bool) -> Kind:
    """Return the module of a scheme; own_only: not a third party's, because of who named it.

    Raises ConfigurationError if there is none, or none that may be used.
    """
    if scheme in KINDS:
        name = f"{__name__}.{KINDS[scheme]}"
        __import__(name)
        import sys

        module: Kind = sys.modules[name]
        return module
    from sk_provider import third_party

    where = "in ~/.ssh/pysk_config"
    other: Kind
    _, other = third_party.load(
        ENTRY_POINTS, scheme, "kind of key directory", KINDS, named_where=where, own_only=own_only
    )
    return other
