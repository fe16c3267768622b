"""Libraries that ssh is told to load: whether they are libpysk's, can be loaded, and are kept from others' hands."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat

from sk_provider import library
from sk_provider.config import match_pattern_list

from . import configuration, programs
from .files import content_of
from .finding import Finding
from .running import NoAnswer, ask, which

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "library"

AGENT_DEFAULT = "/usr/lib*/*,/usr/local/lib*/*"
"""The providers that ssh-agent takes unless -P says otherwise (ssh-agent(1))."""

_NO_AUTHENTICATOR = "/dev/null"
_MARK = b"libpysk"
_MOST = 1 << 24
"""Bytes of the largest library that is looked into."""


def check(account: Account) -> Iterator[Finding]:
    """Look at the library that the ssh on PATH wants, of the installation that this program is of."""
    api = programs.wanted_api(account)
    path = library.path_of(api)
    if not os.path.exists(path):
        yield Finding(SUBJECT, f"{path} does not exist", "reinstall libpysk")
        return
    yield Finding(SUBJECT, f"the library for this ssh is {path}")
    yield from check_library(SUBJECT, path, api, account, what="it")
    if not allowed(path, AGENT_DEFAULT):
        yield Finding(
            SUBJECT,
            "ssh-agent accepts libraries below /usr/lib and /usr/local/lib only; "
            f"for this one it must be started with: ssh-agent -P {shlex.quote(path)}",
        )


def allowed(path: str, patterns: str) -> bool:
    """Return whether an ssh-agent takes a library, which it knows by its real path; patterns: its -P option."""
    return match_pattern_list(os.path.realpath(path), patterns.split(","))


def is_ours(path: str) -> bool:
    """Return whether a file is one of libpysk's libraries, of whatever installation."""
    try:
        content = content_of(path, _MOST)
    except OSError:
        return False
    return _MARK in content and b"sk_api_version" in content


def check_library(subject: str, path: str, api: int, account: Account, what: str) -> Iterator[Finding]:
    """Look at a library that is ours, of whatever installation.

    subject: of the findings; api: the major that ssh wants; what: what sentences call it.
    """
    is_loaded = False
    for finding in _check_loading(subject, path, api, account, what):
        is_loaded = finding.remedy is None
        yield finding
    # To who has no home, ssh-keygen says nothing but that.
    if is_loaded and account.home is not None and programs.wanted_api(account, "ssh-keygen") == api:
        yield from _check_use(subject, path, account, what)
    yield from _check_hands(subject, path, what)


def _check_loading(subject: str, path: str, api: int, account: Account, what: str) -> Iterator[Finding]:
    """Load it in another process."""
    try:
        loaded = library.load(path)
    except library.LoadFailed as failure:
        yield Finding(subject, f"{what} cannot be loaded ({failure.reason})", failure.remedy)
        return
    if loaded.api != api:
        yield Finding(
            subject,
            f"{what} is for API major {loaded.api}, but ssh needs {api}",
            f"use this one instead: {library.path_of(api)}",
        )
        return
    yield Finding(subject, f"{what} can be loaded, with {loaded.libpython or 'an unknown libpython'}")
    if subject == SUBJECT and loaded.libpython:
        yield from _package_of(loaded.libpython, account)


def _check_use(subject: str, path: str, account: Account, what: str) -> Iterator[Finding]:
    """Have ssh-keygen use the library on what is no authenticator, and so is refused before anything is opened."""
    command = [
        *("ssh-keygen", "-q", "-t", "ed25519-sk", "-w", path, "-O", f"device={_NO_AUTHENTICATOR}"),
        *("-N", "", "-f", "/nonexistent/key"),
    ]
    try:
        answer = ask(account, *command)
    except NoAnswer as error:
        if which("ssh-keygen", account) is not None:
            yield Finding(subject, f"ssh-keygen, which was to use {what}, {error}", f"run: {shlex.join(command)}")
        return
    ours = [line for line in answer.errors.splitlines() if line.startswith("libpysk: ")]
    if any(_NO_AUTHENTICATOR in line for line in ours):
        yield Finding(subject, f"ssh-keygen can use {what}: Python starts in it, and finds its packages")
    elif any("(Deny); " in line for line in ours):
        yield Finding(subject, f"ssh-keygen can use {what}: Python starts in it; pysk_config forbids enrolling (Deny)")
    elif not ours:
        reason = answer.reason()
        yield Finding(subject, f"ssh-keygen cannot use {what} ({reason})", f"run: {shlex.join(command)}", (reason,))
    elif configuration.is_usable():
        seen, _, remedy = ours[-1].removeprefix("libpysk: ").rpartition("; ")
        yield Finding(subject, f"ssh-keygen cannot use {what}: {seen}", remedy, (seen,))


def _package_of(path: str, account: Account) -> Iterator[Finding]:
    try:
        answer = ask(account, "dpkg-query", "--search", os.path.realpath(path))
    except NoAnswer:
        return
    package = answer.output.partition(": ")[0]
    if answer.status == 0 and package:
        yield Finding(SUBJECT, f"libpython belongs to the package {package}")
    else:
        yield Finding(SUBJECT, "libpython belongs to no package of the distribution")


def _check_hands(subject: str, path: str, what: str) -> Iterator[Finding]:
    """Look at the library, its package and all folders above them: who can write there decides what ssh runs."""
    # Where the packages of another installation are, its library alone knows.
    is_own = subject == SUBJECT
    places = dict.fromkeys(_with_folders(path) + (_with_folders(os.path.dirname(library.__file__)) if is_own else []))
    for place in places:
        status = os.stat(place)
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        writers = _other_writers(status)
        if status.st_uid not in (0, os.geteuid()):
            yield Finding(
                subject,
                f"the {kind} {place} belongs to {user_name(status.st_uid)}, who can thus run any program as you",
                "use a library that belongs to root: sudo make install",
                private=(user_name(status.st_uid),),
            )
            return
        if writers:
            yield Finding(
                subject,
                f"{writers} can write to the {kind} {place}, and thus run any program as you",
                f"run: {'' if status.st_uid == os.geteuid() else 'sudo '}chmod {_revoked(status)} {shlex.quote(place)}",
            )
            return
    us = "root" if os.geteuid() == 0 else "root and you"
    yield Finding(subject, f"only {us} can change {what}{' and its packages' if is_own else ''}")


def _with_folders(path: str) -> list[str]:
    """Return a path and the folders above it, as they are and not as they are linked, / the last."""
    found = [os.path.realpath(path)]
    while found[-1] != "/":
        found.append(os.path.dirname(found[-1]))
    return found


def _other_writers(status: os.stat_result) -> str | None:
    """Return who can change a file or a folder besides its owner, None if nobody can."""
    # In a sticky folder nobody can take away or replace what is another's.
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return None
    if status.st_mode & stat.S_IWOTH:
        return "everybody on this machine"
    if status.st_mode & stat.S_IWGRP and not _is_only_ours(status.st_gid):
        return f"the group {_group(status.st_gid)}"
    return None


def _revoked(status: os.stat_result) -> str:
    return "go-w" if status.st_mode & stat.S_IWOTH else "g-w"


def _is_only_ours(gid: int) -> bool:
    """Return whether a group is root's, or the effective user's own, in which there is nobody else."""
    if gid == 0:
        return True
    try:
        group = grp.getgrgid(gid)
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    others = set(group.gr_mem) - {"root", user.pw_name}
    # Debian has a group for each user, and one for the administrators of /usr/local.
    return not others and group.gr_name in (user.pw_name, "staff")


def user_name(uid: int) -> str:
    """Return the name of a user, or else what tells them by their number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
