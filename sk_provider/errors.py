"""Every failure, with the code that hosts know and the sentence that a person reads:

SecurityKeyError           -1
├── InvalidRequest         -1  the host asks for what cannot be
├── Unsupported            -2  the authenticator cannot do it
├── PinRequired            -3  the host asks for the PIN and calls again
│   ├── PinInvalid         -3  likewise, after a wrong one
│   └── PinAlwaysRequired  -3  likewise, but not every host asks, as the key does not say so
├── PinNotSet              -1
├── PinBlocked             -1
├── DeviceNotFound         -4
│   └── CredentialNotFound -4
├── CredentialExists       -5  the host asks whether to overwrite, and calls again
├── PresenceDenied         -1
├── TimedOut               -1
├── Interrupted            -1
├── ConfigurationError     -1
├── StoreUnusable          -1  the software authenticator's
└── AuthenticatorError     -1  it answered with an error or with nonsense, or not at all
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

# sk-api.h: SSH_SK_ERR_*
ERR_GENERAL: Final = -1
ERR_UNSUPPORTED: Final = -2
ERR_PIN_REQUIRED: Final = -3
ERR_DEVICE_NOT_FOUND: Final = -4
ERR_CREDENTIAL_EXISTS: Final = -5


class SecurityKeyError(Exception):
    """Why an operation failed: what happened, what the person can do about it, and the code for the host."""

    code: int = ERR_GENERAL
    is_question: bool = False
    """Whether the host answers by asking the person, so that a line of ours would only stand in between."""

    def __init__(self, happened: str, remedy: str) -> None:
        super().__init__(happened, remedy)
        self.happened = happened
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.happened}; {self.remedy}"


class InvalidRequest(SecurityKeyError):
    """The host's arguments cannot be carried out by any authenticator."""


class Unsupported(SecurityKeyError):
    """The authenticator, or this library, cannot do what is asked."""

    code = ERR_UNSUPPORTED


class PinRequired(SecurityKeyError):
    """Another call, with a PIN, can succeed."""

    code = ERR_PIN_REQUIRED
    is_question = True


class PinInvalid(PinRequired):
    """The PIN was wrong, and another may be tried."""

    is_question = False


class PinAlwaysRequired(PinRequired):
    """The authenticator wants a PIN for a key that does not: ssh and ssh-agent ask for it then, ssh-keygen does not."""

    is_question = False


class PinNotSet(SecurityKeyError):
    """The operation needs a PIN, and the authenticator has none."""


class PinBlocked(SecurityKeyError):
    """No PIN will be accepted, for now or for good."""


class DeviceNotFound(SecurityKeyError):
    """No authenticator that could be asked is there."""

    code = ERR_DEVICE_NOT_FOUND


class CredentialNotFound(DeviceNotFound):
    """None of the authenticators that are there holds the key."""


class CredentialExists(SecurityKeyError):
    """A resident key of the same application and user would be overwritten."""

    code = ERR_CREDENTIAL_EXISTS
    is_question = True


class PresenceDenied(SecurityKeyError):
    """The person, or the configuration, refused."""


class TimedOut(SecurityKeyError):
    """A person did not answer in time."""


class Interrupted(SecurityKeyError):
    """The operation was called off."""


class ConfigurationError(SecurityKeyError):
    """pysk_config cannot be used as it is."""


class StoreUnusable(SecurityKeyError):
    """The software authenticator's store cannot be used as it is."""


class AuthenticatorError(SecurityKeyError):
    """The authenticator failed, or what it sent cannot be used."""


def printable(text: str) -> str:
    """Return text with whatever could end the line or steer a terminal replaced by "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _write_stderr(line: bytes) -> int:
    try:
        return posix.write(2, line) == len(line)
    except OSError:
        return False


write_stderr: Callable[[bytes], int] = _write_stderr
"""Writes a line and returns whether it was taken; inside of a host the library's own, which spares it SIGPIPE."""


def tell(sentence: str) -> bool:
    """Print one line on stderr; a success may have one, where a person must do what the host has not asked for.

    Return whether it was taken.
    """
    return bool(write_stderr(f"libpysk: {printable(sentence)}\n".encode()))


def report(error: SecurityKeyError, log_file: str | None, write_syslog: Callable[[str], None]) -> None:
    """Tell the person: one line on stderr, and the same line in log_file, or else in syslog if nobody reads stderr.

    A question of the host's is told to the logs alone. Nothing is raised: there is nobody left to tell.
    """
    sentence = str(error)
    is_lost = _stderr_is_lost()
    if not error.is_question and not tell(sentence):
        is_lost = True
    if log_file is not None or is_lost:
        log(sentence, log_file, write_syslog)


def log(sentence: str, log_file: str | None, write_syslog: Callable[[str], None]) -> None:
    """Write one line to log_file, or to syslog if there is none or it cannot be written."""
    line = printable(sentence)
    if log_file is None or not _append_to_log(log_file, line):
        write_syslog(line)


def _stderr_is_lost() -> bool:
    try:
        return posix.fstat(2).st_rdev == posix.stat("/dev/null").st_rdev
    except OSError:
        return True


def _append_to_log(path: str, line: str) -> bool:
    import time

    entry = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} libpysk[{posix.getpid()}]: {line}\n".encode()
    flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
    try:
        descriptor = posix.open(path, flags, 0o600)
    except OSError:
        return False
    try:
        return posix.write(descriptor, entry) == len(entry)
    except OSError:
        return False
    finally:
        posix.close(descriptor)
