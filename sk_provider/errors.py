"""Every failure, with the code that hosts know and the sentence that a person reads:

SecurityKeyError           -1
├── InvalidRequest         -1  the host asks for what cannot be
├── Unsupported            -2  the authenticator cannot do it
├── PinRequired            -3  the host asks for the PIN and calls again
│   ├── PinInvalid         -3  likewise, after a wrong one
│   ├── PinAlwaysRequired  -3  likewise, but not every host asks, as the key does not say so
│   └── PassphraseRequired -3  likewise, for the passphrase of a sealed key handle
├── PinNotSet              -1
├── PinBlocked             -1
├── DeviceNotFound         -4
│   ├── CredentialNotFound -4
│   └── NotMadeYet         -4  the first key makes the authenticator
├── CredentialExists       -5  the host asks whether to overwrite, and calls again
├── PresenceDenied         -1
├── OperationForbidden     -1  by pysk_config
├── TimedOut               -1
├── Interrupted            -1
├── ConfigurationError     -1
├── StoreUnusable          -1  the software authenticator's
├── DirectoryError         -1  a key directory cannot be read, or has what cannot be used
└── AuthenticatorError     -1  it answered with an error or with nonsense, or not at all
    ├── TransportDefect    -1  another package's code cannot be loaded, or does what it may not
    └── UnknownCommand     -1  it does not know the CTAPHID command
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# sk-api.h: SSH_SK_ERR_*
ERR_GENERAL: Final = -1
ERR_UNSUPPORTED: Final = -2
ERR_PIN_REQUIRED: Final = -3
ERR_DEVICE_NOT_FOUND: Final = -4
ERR_CREDENTIAL_EXISTS: Final = -5

NO_DESCRIPTOR: Final = (23, 24)
"""ENFILE, EMFILE"""


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
    """Another call, with a PIN, can succeed.

    retries: how many tries are left; address: the authenticator's. Each is None if it is not known.
    """

    code = ERR_PIN_REQUIRED
    is_question = True
    retries: int | None = None
    address: str | None = None


class PinInvalid(PinRequired):
    """The PIN was wrong, and another may be tried."""

    is_question = False


class PinAlwaysRequired(PinRequired):
    """The authenticator wants a PIN for a key that does not: ssh and ssh-agent ask for it then, ssh-keygen does not."""

    is_question = False


class PassphraseRequired(PinRequired):
    """Another call can succeed that has the passphrase of a sealed key handle for a PIN."""

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


class NotMadeYet(DeviceNotFound):
    """There is no store of keys where the first key would make one."""


class CredentialExists(SecurityKeyError):
    """A resident key of the same application and user would be overwritten."""

    code = ERR_CREDENTIAL_EXISTS
    is_question = True


class PresenceDenied(SecurityKeyError):
    """The person, or the configuration, refused."""


class OperationForbidden(SecurityKeyError):
    """pysk_config does not permit the operation."""


class TimedOut(SecurityKeyError):
    """A person did not answer in time."""


class Interrupted(SecurityKeyError):
    """The operation was called off."""


class ConfigurationError(SecurityKeyError):
    """pysk_config cannot be used as it is."""


class StoreUnusable(SecurityKeyError):
    """The software authenticator's store cannot be used as it is."""


class DirectoryError(SecurityKeyError):
    """A directory of key handles cannot be read, or what it has cannot be used."""


class AuthenticatorError(SecurityKeyError):
    """The authenticator failed, or what it sent cannot be used."""


class TransportDefect(AuthenticatorError):
    """Another package's code cannot be loaded, or raised, returned or left undone what it may not."""


class UnknownCommand(AuthenticatorError):
    """The authenticator does not know the CTAPHID command that it was sent."""


def no_more_files() -> SecurityKeyError:
    """Return what to report where there is no file descriptor left."""
    return SecurityKeyError(
        "this process can open no more files", "end some programs, or raise this one's limit (ulimit -n), and try again"
    )


def no_socket(address: str, error: OSError) -> SecurityKeyError:
    """Return what to report where the system gives no socket to reach an address by."""
    if error.errno in NO_DESCRIPTOR:
        return no_more_files()
    return AuthenticatorError(
        f"{address} cannot be reached, as this process may have no such socket ({error.strerror})",
        "permit it where the process is confined, such as by RestrictAddressFamilies of a service",
    )


def defect(error: BaseException) -> SecurityKeyError:
    """Return what to report of what should not have been raised: where, but without values, for they may be secret."""
    where, traceback = "", error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        where = f" in {code.co_filename.rpartition('/')[2]} line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    if isinstance(error, MemoryError):
        return SecurityKeyError(
            "there is not enough memory", "end some programs, or raise this one's limit (ulimit -v), and try again"
        )
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return SecurityKeyError(
            "this process cannot start a thread",
            "end some programs, or raise this one's limits (ulimit -u, ulimit -v), and try again",
        )
    if isinstance(error, OSError) and error.errno in NO_DESCRIPTOR:
        return no_more_files()
    if isinstance(error, ModuleNotFoundError):
        return SecurityKeyError(f"the Python package {error.name} is missing", "reinstall libpysk")
    return SecurityKeyError(f"unexpected {type(error).__name__}{where}", "please report this as a bug of libpysk")
