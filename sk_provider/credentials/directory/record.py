"""A record of a directory: whose a credential is, and what ssh has to know of it.

Whatever comes from a directory becomes a record by checked() alone, so that no record can put a line of its own into a
file, or a path into a file's name.
"""

from __future__ import annotations

from sk_provider.api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    APPLICATION_PREFIX,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
)
from sk_provider.credentials import key_handle as key_handles
from sk_provider.credentials import openssh_key
from sk_provider.errors import DirectoryError
from sk_provider.reporting import printable

FLAGS = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
"""Those that a record may have."""

OPTIONS = {"no-touch-required": (FLAG_USER_PRESENCE, 0), "verify-required": (0, FLAG_USER_VERIFICATION)}
"""What authorized_keys and files of records call a key's flags: by name, which flags it takes away and which it adds
to FLAG_USER_PRESENCE alone."""

MAX_USER = 256
MAX_APPLICATION = 255
MAX_COMMENT = 255
MAX_KEY_HANDLE = 1023
"""Bytes of the longest one that CTAP allows by default (CTAP 2.1 §6.4, maxCredentialIdLength)."""

# P-256 (SEC 2 §2.4.2): y² = x³ - 3x + b modulo p
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


class RecordRefused(DirectoryError):
    """What a directory has is no record that can be used; the sentence does not say where it was found."""


class Record:
    """A credential of a user's. algorithm, public_key, key_handle, application: as in sk-api; flags: those of FLAGS
    that the key wants; comment: one line, "" if there is none.
    """

    __slots__ = ("algorithm", "application", "comment", "flags", "key_handle", "public_key", "user")

    def __init__(
        self,
        user: str,
        application: str,
        algorithm: int,
        public_key: bytes,
        key_handle: bytes,
        flags: int = FLAG_USER_PRESENCE,
        comment: str = "",
    ) -> None:
        """Make a record of what was checked, see checked()."""
        self.user = user
        self.application = application
        self.algorithm = algorithm
        self.public_key = public_key
        self.key_handle = key_handle
        self.flags = flags
        self.comment = comment

    def identity(self) -> tuple[str, int, bytes, bytes]:
        """Return what two records of the same credential have in common."""
        return self.application, self.algorithm, self.public_key, self.key_handle

    def handle_digest(self) -> str:
        """Return what names the record for a person, see credentials.key_handle."""
        return key_handles.digest(self.key_handle)

    def blob(self) -> bytes:
        """Return the public key as OpenSSH has it, see openssh_key.public_blob()."""
        return openssh_key.public_blob(self.algorithm, self.public_key, self.application)

    def fingerprint(self) -> str:
        """Return what ssh-keygen -l prints of the public key."""
        return openssh_key.fingerprint(self.blob())

    def public_line(self) -> str:
        """Return the line of a .pub file, without its end."""
        return openssh_key.public_line(self.blob(), self.comment)

    def options(self) -> list[str]:
        """Return the options that say what the key wants, as authorized_keys has them."""
        return options_of(self.flags)

    def authorized_keys_line(self) -> str:
        """Return the line of authorized_keys by which sshd accepts the key as its flags demand, without its end."""
        options = ",".join(self.options())
        return f"{options} {self.public_line()}" if options else self.public_line()


def from_base64(untrusted: str) -> bytes:
    """Return the bytes that base64 stands for. Raises ValueError if it is anything but base64."""
    from binascii import Error, a2b_base64, b2a_base64

    try:
        content = a2b_base64(untrusted.encode("ascii"))
    except (Error, UnicodeEncodeError):
        raise ValueError from None
    # What is no base64 was passed over.
    if b2a_base64(content, newline=False).decode() != untrusted:
        raise ValueError
    return content


def options_of(flags: int) -> list[str]:
    """Return the names in OPTIONS that say the same as the flags."""
    return [
        name
        for name, (removed, added) in OPTIONS.items()
        if (removed and not flags & removed) or (added and flags & added)
    ]


def flags_of(options: list[str]) -> int:
    """Return the flags for names in OPTIONS. Raises RecordRefused if one is another."""
    flags = FLAG_USER_PRESENCE
    for name in options:
        if name not in OPTIONS:
            raise RecordRefused(f"a key has the unknown option {_quoted(name)}", f"use {' or '.join(OPTIONS)}")
        removed, added = OPTIONS[name]
        flags = flags & ~removed | added
    return flags


def checked(
    untrusted_user: object,
    untrusted_application: object,
    untrusted_algorithm: object,
    untrusted_public_key: object,
    untrusted_key_handle: object,
    untrusted_flags: object = FLAG_USER_PRESENCE,
    untrusted_comment: object = "",
) -> Record:
    """Return a record of values of any type and content; the arguments are those of Record.

    In the comment whatever is not printable is replaced, and what is too long is cut off.

    Raises RecordRefused if one of the others cannot be used.
    """
    algorithm = _algorithm(untrusted_algorithm)
    return Record(
        checked_user(untrusted_user),
        _application(untrusted_application),
        algorithm,
        _public_key(untrusted_public_key, algorithm),
        _key_handle(untrusted_key_handle),
        _flags(untrusted_flags),
        _comment(untrusted_comment),
    )


def checked_user(untrusted: object) -> str:
    """Return a user's name that can stand in any directory. Raises RecordRefused if it is not one."""
    if not isinstance(untrusted, str) or not 0 < len(untrusted) <= MAX_USER or not untrusted.isprintable():
        raise RecordRefused(
            f"{_quoted(untrusted)} is not a user name", f"use one of 1 to {MAX_USER} printable characters"
        )
    return untrusted


def _application(untrusted: object) -> str:
    """Return an application, which hosts make file names of if it starts with "ssh:"."""
    if (
        not isinstance(untrusted, str)
        or not untrusted.isprintable()
        or not 0 < len(untrusted.encode()) <= MAX_APPLICATION
        or untrusted != untrusted.strip()
    ):
        raise RecordRefused(f"{_quoted(untrusted)} is not an application", "correct it, or leave that key out")
    if untrusted.startswith(APPLICATION_PREFIX):
        name = untrusted[len(APPLICATION_PREFIX) :].removeprefix("//")
        if "/" in name or "\\" in name or ".." in name:
            raise RecordRefused(
                f"the application {_quoted(untrusted)} would be a path where ssh-keygen -K writes keys",
                "leave that key out",
            )
    return untrusted


def _algorithm(untrusted: object) -> int:
    # True is a number, too.
    if type(untrusted) is not int or untrusted not in openssh_key.TYPES:
        raise RecordRefused("a key is of a type that ssh does not support", "use es256 (ecdsa-sk) or ed25519")
    return untrusted


def _public_key(untrusted: object, algorithm: int) -> bytes:
    if isinstance(untrusted, bytes):
        if algorithm == ALGORITHM_ED25519 and len(untrusted) == 32:
            return untrusted
        if algorithm == ALGORITHM_ECDSA and len(untrusted) == 65 and untrusted[0] == 4 and _is_on_curve(untrusted[1:]):
            return untrusted
    raise RecordRefused("a public key is not valid for its type", "enroll that key again, or correct its record")


def _is_on_curve(coordinates: bytes) -> bool:
    x, y = int.from_bytes(coordinates[:32], "big"), int.from_bytes(coordinates[32:], "big")
    return x < _P and y < _P and (y * y - x**3 + 3 * x - _B) % _P == 0


def _key_handle(untrusted: object) -> bytes:
    if not isinstance(untrusted, bytes) or not 0 < len(untrusted) <= MAX_KEY_HANDLE:
        raise RecordRefused(f"a key handle does not have 1 to {MAX_KEY_HANDLE} bytes", "correct that key's record")
    return untrusted


def _flags(untrusted: object) -> int:
    if type(untrusted) is not int or untrusted & ~FLAGS:
        raise RecordRefused("a key has unknown flags", "correct its record")
    return untrusted


def _comment(untrusted: object) -> str:
    if not isinstance(untrusted, str):
        raise RecordRefused("a comment is not text", "correct that key's record")
    return printable(untrusted.strip())[:MAX_COMMENT].strip()


def _quoted(untrusted: object) -> str:
    """Return the beginning of a value, for a sentence."""
    text = untrusted if isinstance(untrusted, str) else type(untrusted).__name__
    return '"' + printable(text[:40]) + ('…"' if len(text) > 40 else '"')
