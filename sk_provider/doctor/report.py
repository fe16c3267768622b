"""The file for a bug report: what the checks have found, without what is private."""

from __future__ import annotations

import os
import platform
import pwd
import re
import socket
import time

import sk_provider
from sk_provider.credentials import whole_file
from sk_provider.reporting import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .finding import Account, Finding

_LONG = re.compile(r"[A-Za-z0-9+_=-]{32,}|[A-Za-z0-9+/_=-]{64,}")
"""What could be a key, a key handle or a digest of one: base64 or hexadecimal of that many bytes."""

_HEAD = """\
What pysk doctor saw, for a bug report. Names of users and hosts, home directories and possible keys have been replaced.
Read it before you send it: it may still hold something that you want to keep to yourself.
"""


def write(path: str, findings: Sequence[Finding], account: Account) -> None:
    """Write a new file that nobody else can read. Raises OSError if it cannot be written, and leaves none then."""
    content = "".join(f"{line}\n" for line in _lines(findings, account)).encode()
    whole_file.put_all([(os.path.join(os.getcwd(), path), content, 0o600)], [])


def redacted(text: str, private: Sequence[str], account: Account) -> str:
    """Return text with what is private replaced: "..." for what a finding names, HOST, USER, and ~ for the home."""
    for each in sorted({each for each in private if each}, key=len, reverse=True):
        text = text.replace(each, "...")
    for home in sorted({each for each in _homes(account) if each and each != "/"}, key=len, reverse=True):
        text = re.sub(rf"{re.escape(home.rstrip('/'))}(?![\w.-])", "~", text)
    for names, replacement in ((_hosts(), "HOST"), (_users(account), "USER")):
        for name in names:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", replacement, text, flags=re.IGNORECASE)
    # Other people's homes name them as well.
    text = re.sub(r"/home/[^/\s'\"]+", "/home/USER", text)
    return _LONG.sub("...", text)


def _lines(findings: Sequence[Finding], account: Account) -> Iterator[str]:
    yield _HEAD
    yield f"pysk {sk_provider.__version__}, {time.strftime('%Y-%m-%d')}"
    yield (
        f"{_system()}, Linux {platform.release()}, {platform.machine()}" if os.uname().sysname == "Linux" else _system()
    )
    yield f"run by {'root' if os.geteuid() == 0 else 'an ordinary user'}\n"
    for each in findings:
        line = f"{each.subject}: {each.seen}" + (f"; {each.remedy}" if each.remedy is not None else "")
        yield f"{' ' if each.remedy is None else '!'} {printable(redacted(line, each.private, account))}"
    if all(each.remedy is None for each in findings):
        yield "nothing to do"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "an unknown system")
    except OSError:
        return platform.system()


def _homes(account: Account) -> list[str | None]:
    return [account.home, account.variable("HOME")]


def _hosts() -> list[str]:
    name = socket.gethostname()
    names = {name, name.partition(".")[0]}
    return sorted((each for each in names if each and each != "localhost"), key=len, reverse=True)


def _users(account: Account) -> list[str]:
    names = {account.variable(name) or "" for name in ("USER", "LOGNAME", "SUDO_USER")}
    try:
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        pass
    return sorted((each for each in names if each and each != "root"), key=len, reverse=True)
