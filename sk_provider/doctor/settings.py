"""What ssh, ssh-keygen and ssh-add are told to load: SecurityKeyProvider, as ssh resolves it, and SSH_SK_PROVIDER."""

from __future__ import annotations

import os
import re
import shlex

from sk_provider import library

from . import programs, provider
from .finding import Finding
from .running import NoAnswer, ask, which

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "ssh"

KEYWORD = "SecurityKeyProvider"
VARIABLE = "SSH_SK_PROVIDER"

_NO_HOST = "pysk-doctor.invalid"
"""A name that no setting is for in particular, and that no name server knows (RFC 6761 §6.4)."""
_OLD_PYTHON = re.compile(r"/lib/python\d+\.\d+/")


def check(account: Account) -> Iterator[Finding]:
    """Look at both, and at whether they name the same library."""
    ours = library.path_of(programs.wanted_api(account))
    named: dict[str, str] = {}
    yield from _check_ssh(account, ours, named)
    value = account.variable(VARIABLE)
    if value is None:
        yield Finding(
            SUBJECT,
            f"{VARIABLE} is not set: ssh-keygen needs -w LIBRARY, ssh-add -S LIBRARY, and git cannot use key files",
        )
    else:
        yield from _judge(account, VARIABLE, value, f"run: export {VARIABLE}={shlex.quote(ours)}", named)
    if len({os.path.realpath(path) for path in named.values()}) > 1:
        yield Finding(
            SUBJECT,
            f"{KEYWORD} is {named[KEYWORD]}, but {VARIABLE} is {named[VARIABLE]}",
            f"run: export {VARIABLE}={shlex.quote(named[KEYWORD])}",
        )


def _check_ssh(account: Account, ours: str, named: dict[str, str]) -> Iterator[Finding]:
    if which("ssh", account) is None or account.home is None:
        return
    host = account.host or _NO_HOST
    private = (account.host,) if account.host else ()
    try:
        answer = ask(account, "ssh", "-G", "--", host)
    except NoAnswer as error:
        yield Finding(
            SUBJECT, f"ssh -G {host} {error}", f"run it to see what it waits for: ssh -G {shlex.quote(host)}", private
        )
        return
    settings = dict(line.partition(" ")[::2] for line in answer.output.splitlines())
    if answer.status != 0 or not settings:
        reason = answer.reason()
        remedy = f"run it to see what fails: ssh -G {shlex.quote(host)}"
        if "recursive" in reason:
            remedy = "remove the Include from ~/.ssh/config, or from a file named there, that leads in a circle"
        elif "/" in reason:
            remedy = "correct the file that it names"
        yield Finding(SUBJECT, f"ssh cannot read its settings ({reason})", remedy, (*private, reason))
        return
    value = settings.get(KEYWORD.lower(), "none")  # which ssh -G leaves out
    write = rf"run: mkdir -p -m 700 ~/.ssh && printf 'Host *\n    {KEYWORD} {ours}\n' >>~/.ssh/config"
    if value.lower() != "internal":
        write = f"correct it in ~/.ssh/config or /etc/ssh/ssh_config: {KEYWORD} {ours}"
    where = f" for {host}" if account.host else ""
    name = f"{KEYWORD}{where}"
    if value.startswith("$"):
        variable = value[1:].removeprefix("{").removesuffix("}")
        resolved = account.variable(variable)
        if resolved is None:
            yield Finding(
                SUBJECT,
                f"{name} is {value}, and that variable is not set",
                f"run: export {variable}={shlex.quote(ours)}",
                private,
            )
            return
        yield Finding(SUBJECT, f"{name} is {value}", private=private)
        value = resolved
    if value.lower() == "none":
        yield Finding(SUBJECT, f"{name} is none, so that ssh uses no security keys", write, private)
        return
    for finding in _judge(account, KEYWORD, value, write, named, name):
        finding.private = private
        yield finding
    agent = settings.get("identityagent")
    if agent and agent != "SSH_AUTH_SOCK":
        yield Finding(
            SUBJECT, f"IdentityAgent{where} is {agent}, which ssh uses instead of SSH_AUTH_SOCK", None, private
        )


def _judge(
    account: Account, keyword: str, value: str, remedy: str, named: dict[str, str], name: str = ""
) -> Iterator[Finding]:
    """Look at a library that is named; it is put into named, by its keyword, if it is one of libpysk's."""
    name = name or keyword
    if value.lower() == "internal":
        yield Finding(SUBJECT, f"{name} is {value}, OpenSSH's built-in provider, not libpysk", remedy)
    elif not os.path.isabs(value):
        yield Finding(
            SUBJECT,
            f"{name} is {value}, which is not an absolute path: each program resolves it against another folder",
            remedy,
        )
    elif not os.path.exists(value):
        old = " (nor does the folder of that Python)" if _OLD_PYTHON.search(value) and not _has_python(value) else ""
        yield Finding(SUBJECT, f"{name} is {value}, which does not exist{old}", remedy)
    elif not os.access(value, os.R_OK) or not os.path.isfile(value):
        yield Finding(SUBJECT, f"{name} is {value}, which cannot be read", remedy)
    elif not provider.is_ours(value):
        yield Finding(SUBJECT, f"{name} is {value}, which is not libpysk", remedy)
    else:
        named[keyword] = value
        api = programs.wanted_api(account)
        ours = library.path_of(api)
        if os.path.exists(ours) and os.path.samefile(value, ours):
            yield Finding(SUBJECT, f"{name} is {value}")
            return
        yield Finding(SUBJECT, f"{name} is {value}, of another installation than this pysk")
        for finding in provider.check_library(SUBJECT, value, api, account, f"{name}'s library"):
            # The installation that it is of may be gone.
            if finding.remedy == "reinstall libpysk":
                finding.remedy = remedy
            yield finding


def _has_python(path: str) -> bool:
    """Return whether the folder of the Python that a path names is there."""
    found = _OLD_PYTHON.search(path)
    return found is not None and os.path.isdir(path[: found.end()])
