"""What keeps ssh and git from using security keys through libpysk: all is looked at, and no security key is opened."""

from __future__ import annotations

import os

from sk_provider import config
from sk_provider.errors import SecurityKeyError

from . import agent, configuration, devices, git, key_files, person, programs, provider, python, settings
from .finding import Account, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[[Account], Iterator[Finding]]

__all__ = ["Account", "Finding", "account", "examine"]

_CHECKS: dict[str, Check] = {
    "account": person.check,
    "programs": programs.check,
    "library": provider.check,
    "agent": agent.check,
    "ssh": settings.check,
    "git": git.check,
    "devices": devices.check,
    "pysk_config": configuration.check,
    "keys": key_files.check,
    "Python": python.check,
}
"""By the subject of its findings."""


def account(host: str | None) -> Account:
    """Return the account of the effective user. host: the name that ssh would be given, or None."""
    try:
        home: str | None = config.home_directory()
    except SecurityKeyError:
        home = None
    return Account(os.environ, home, host)


def examine(account: Account) -> Iterator[Finding]:
    """Yield what each check finds. What one fails at is a finding as well, and keeps nobody from the others'."""
    for subject, check in _CHECKS.items():
        try:
            yield from check(account)
        except Exception as error:  # noqa: BLE001 - each check stands alone
            message = str(error)[:200]
            yield Finding(
                subject,
                f"this check failed ({type(error).__name__}{_place(error)}: {message})",
                "report it as a bug of libpysk, with the file that this writes: pysk doctor --bundle FILE",
                private=(message,),
            )


def _place(error: BaseException) -> str:
    """Return where an error was raised, after a space."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
