"""OpenSSH's programs: which there are, of which release, and which library that release wants."""

from __future__ import annotations

import os
import re

from sk_provider import library

from .files import content_of
from .finding import Finding
from .running import which

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "programs"

_PROGRAMS = ("ssh", "ssh-keygen", "ssh-add", "ssh-agent")
_HELPER = re.compile(rb"/[!-~]{1,200}/ssh-sk-helper\0")
"""Where a program looks for its helper stands in its file."""
_MOST = 1 << 26
"""Bytes of the largest program that is read."""


def wanted_api(account: Account, name: str = "ssh") -> int:
    """Return the major of the API that a program on PATH wants, the newest where that cannot be told."""
    path = which(name, account)
    return library.api_of(_release_beside(path) if path else None) or library.NEWEST


def check(account: Account) -> Iterator[Finding]:
    """Look at the programs on PATH, and at the helper that loads the library for them."""
    paths = {name: which(name, account) for name in _PROGRAMS}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        yield Finding(
            SUBJECT,
            f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} not on PATH",
            "install OpenSSH's client (Debian: sudo apt-get install openssh-client)",
        )
    releases = {}
    for name, path in paths.items():
        if path is not None:
            releases[name] = _release_beside(path)
    for name, release in releases.items():
        path = paths[name]
        if release is None:
            # ssh tells nothing to whom it refuses to run for.
            if name == "ssh" and account.home is not None:
                yield Finding(
                    SUBJECT,
                    f"{path} is not OpenSSH's ssh: it prints no release of OpenSSH for -V",
                    "put the folder of OpenSSH's ssh first on PATH",
                )
            else:
                yield Finding(SUBJECT, f"{name} is {path}, of an unknown release")
            continue
        text = f"{release[0]}.{release[1]}"
        api = library.api_of(release)
        if api is None:
            yield Finding(
                SUBJECT,
                f"{name} is {path}, of OpenSSH {text}, which has no security keys",
                "upgrade OpenSSH to 8.2 or newer",
            )
        else:
            yield Finding(SUBJECT, f"{name} is {path}, of OpenSSH {text}, which needs a library for API major {api}")
    yield from _mixed(paths, releases)
    yield from _check_helper(paths, account)


def _release_beside(path: str) -> tuple[int, int] | None:
    """Return the release of the ssh in a program's folder: ssh alone tells its own."""
    for each in (path, os.path.realpath(path)):
        ssh = os.path.join(os.path.dirname(each), "ssh")
        if os.access(ssh, os.X_OK):
            return library.release_of(ssh)
    return None


def _mixed(paths: dict[str, str | None], releases: dict[str, tuple[int, int] | None]) -> Iterator[Finding]:
    apis = {name: library.api_of(release) for name, release in releases.items() if release is not None}
    others = [name for name, api in apis.items() if "ssh" in apis and api != apis["ssh"]]
    if others:
        yield Finding(
            SUBJECT,
            f"{_listed(others)} {'is' if len(others) == 1 else 'are'} of another release of OpenSSH than ssh, and need"
            f"{'s' if len(others) == 1 else ''} another library",
            f"put {os.path.dirname(paths['ssh'] or '')} first on PATH",
        )


def _check_helper(paths: dict[str, str | None], account: Account) -> Iterator[Finding]:
    named = account.variable("SSH_SK_HELPER")
    if named is not None:
        if os.access(named, os.X_OK) and os.path.isfile(named):
            yield Finding(SUBJECT, f"ssh-sk-helper, which loads the library, is {named} (SSH_SK_HELPER)")
        else:
            yield Finding(SUBJECT, f"SSH_SK_HELPER is {named}, which cannot be executed", "unset SSH_SK_HELPER")
        return
    program = paths["ssh"] or paths["ssh-keygen"]
    if program is None:
        return
    helper = _helper_of(program)
    if helper is None:
        yield Finding(SUBJECT, f"{program} does not tell which ssh-sk-helper it runs to load the library")
    elif os.access(helper, os.X_OK):
        yield Finding(SUBJECT, f"ssh-sk-helper, which loads the library, is {helper}")
    else:
        yield Finding(
            SUBJECT,
            f"{program} runs {helper} to load the library, and that cannot be executed",
            "reinstall OpenSSH's client (Debian: sudo apt-get install --reinstall openssh-client)",
        )


def _helper_of(program: str) -> str | None:
    """Return the path of the helper that stands in a program's file, None if there is none."""
    try:
        content = content_of(program, _MOST)
    except OSError:
        return None
    found = _HELPER.search(content)
    return found[0][:-1].decode("ascii") if found else None


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
