"""The private-key files of security keys in ~/.ssh: whether ssh will take them."""

from __future__ import annotations

import os
import shlex
import stat

from sk_provider.credentials import key_file, openssh_key
from sk_provider.errors import SecurityKeyError

from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "keys"

_BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_MOST_FILES = 500
_MOST = 1 << 16
"""Bytes of the largest file that is read."""


def check(account: Account) -> Iterator[Finding]:
    """Look at each. Their key handles are nobody's business, and are not shown."""
    if account.home is None:
        return
    folder = os.path.join(account.home, ".ssh")
    try:
        names = sorted(os.listdir(folder))[:_MOST_FILES]
    except FileNotFoundError:
        yield Finding(SUBJECT, "~/.ssh does not exist")
        return
    except OSError as error:
        yield Finding(
            SUBJECT, f"~/.ssh cannot be read ({error.strerror})", "run: sudo chown $USER ~/.ssh; chmod 700 ~/.ssh"
        )
        return
    found = 0
    for name in names:
        for finding in _check_file(account, os.path.join(folder, name)):
            found += 1
            yield finding
    if not found:
        yield Finding(SUBJECT, "~/.ssh holds no key of a security key")


def public_blob(content: bytes) -> bytes | None:
    """Return the public key in what a private-key file holds, None if it is none of OpenSSH's."""
    if not content.startswith(_BEGIN):
        return None
    try:
        return key_file.public_blob(content, "")
    except SecurityKeyError:
        return None


def _check_file(account: Account, path: str) -> Iterator[Finding]:
    shown = shlex.quote(path) if account.shown(path) == path else f"~{shlex.quote(account.shown(path)[1:])}"
    private = (os.path.basename(path),)
    try:
        # Of a FIFO or a device nothing is read.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno is not None and os.path.basename(path).startswith("id_") and not path.endswith(".pub"):
            yield Finding(
                SUBJECT, f"{shown} cannot be read ({error.strerror})", f"run: sudo chown $USER {shown}", private
            )
        return
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # such as the folder of ssh-agent's sockets
            return
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_MOST)
    finally:
        os.close(descriptor)
    blob = public_blob(content)
    if blob is None:
        return
    try:
        algorithm, _, application = openssh_key.parse_public_blob(blob)
    except ValueError:
        return
    what = f"{shown} is {openssh_key.TYPES[algorithm]} for {application}"
    names = (os.path.basename(path), application)
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        # ssh takes it from root and others as it is: authfile.c asks this of its own user's files alone.
        yield Finding(
            SUBJECT, f"{what}, and ssh ignores it because others may read it", f"run: chmod 600 {shown}", names
        )
    else:
        yield Finding(SUBJECT, what, private=names)
