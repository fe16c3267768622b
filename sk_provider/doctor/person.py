"""Whose account is looked at, which is not always whose a person takes it for."""

from __future__ import annotations

import os

from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "account"


def check(account: Account) -> Iterator[Finding]:
    """Tell whose it is, and where ssh and libpysk look for its files."""
    user = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if account.home is None:
        yield Finding(
            SUBJECT,
            f"{user} is not in the password database: ssh refuses to run, and there is no ~/.ssh",
            "add it to /etc/passwd, or be a user who is there (docker run --user NAME)",
        )
    else:
        yield Finding(SUBJECT, f"{user} is examined, with the home directory {account.home}")
        named = account.variable("HOME")
        if named is not None and os.path.realpath(named) != os.path.realpath(account.home):
            yield Finding(
                SUBJECT,
                f"HOME is {named}, but ssh and libpysk read ~/.ssh in {account.home}",
                private=(named,),
            )
    invoker = account.variable("SUDO_USER")
    if os.geteuid() == 0 and invoker not in (None, "root"):
        yield Finding(
            SUBJECT, f"to examine the account of {invoker}, run pysk doctor without sudo", private=(invoker or "",)
        )
