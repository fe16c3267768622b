"""git's settings for signatures by ssh keys, where there are any."""

from __future__ import annotations

import os
import shlex
from binascii import Error, a2b_base64

from sk_provider import library
from sk_provider.credentials import openssh_key

from . import agent, key_files, programs, provider
from .files import content_of
from .finding import Finding
from .running import NoAnswer, ask, which
from .settings import VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "git"

_GLOBAL = "--global"
_MOST = 1 << 16
"""Bytes of a key file."""


def check(account: Account) -> Iterator[Finding]:
    """Look at them as they are for the folder that this is run in."""
    if which("git", account) is None:
        return
    try:
        answer = ask(account, "git", "config", "--get", "gpg.format")
    except NoAnswer:
        return
    if answer.status not in (0, 1):
        reason = " ".join(answer.errors.split())[:300]
        yield Finding(SUBJECT, f"git cannot read its settings ({reason})", "correct the file that it names", (reason,))
        return
    if answer.output.rstrip("\n") != "ssh":
        return
    signs = _setting(account, "commit.gpgsign", "--type=bool") == "true"
    yield Finding(
        SUBJECT, f"it signs with ssh keys (gpg.format): {'every commit' if signs else 'what it is told to sign'}"
    )
    program = _setting(account, "gpg.ssh.program", "--type=path") or "ssh-keygen"
    if which(program, account) is None:
        place = _place(account, "gpg.ssh.program")
        yield Finding(
            SUBJECT,
            f"gpg.ssh.program is {program}, which cannot be executed",
            f"run: git config {place} --unset gpg.ssh.program",
            (place,),
        )
        return
    if os.path.basename(program) != "ssh-keygen":
        yield Finding(SUBJECT, f"gpg.ssh.program is {program}: libpysk is used if that names it")
    yield from _check_signing_key(account)
    signers = _setting(account, "gpg.ssh.allowedSignersFile", "--type=path")
    if signers is None:
        yield Finding(SUBJECT, "gpg.ssh.allowedSignersFile is not set: git can sign, but not verify signatures")
        return
    private = [signers, account.shown(signers)]
    if not os.access(signers, os.R_OK):
        yield Finding(
            SUBJECT,
            f"gpg.ssh.allowedSignersFile is {account.shown(signers)}, which cannot be read",
            f"""run: echo "$(git config user.email) $(cat KEY.pub)" >>{shlex.quote(signers)}""",
            private,
        )
    else:
        yield Finding(SUBJECT, f"gpg.ssh.allowedSignersFile is {account.shown(signers)}", private=private)


def _check_signing_key(account: Account) -> Iterator[Finding]:
    place = _place(account, "user.signingkey")
    choose = f"run: git config {place} user.signingkey ~/.ssh/id_ed25519_sk.pub"
    key = _setting(account, "user.signingkey")
    if key is None:
        if _setting(account, "gpg.ssh.defaultKeyCommand") is None:
            yield Finding(SUBJECT, "user.signingkey is not set", choose)
        return
    is_literal = key.startswith(("key::", "ssh-", "sk-", "ecdsa-"))
    if is_literal:
        blob = _blob(key.removeprefix("key::"))
    else:
        path = _setting(account, "user.signingkey", "--type=path") or key
        blob = _blob_in(path)
    private = (key,)
    if blob is None:
        shown = "not a public key" if is_literal else f"{key}, which cannot be read as a key"
        yield Finding(SUBJECT, f"user.signingkey is {shown}", choose, (key, place))
        return
    kind, _ = openssh_key.take_string(blob)
    what = kind.decode("ascii", "replace") if is_literal else f"{key}, {kind.decode('ascii', 'replace')}"
    try:
        openssh_key.parse_public_blob(blob)
    except ValueError:
        yield Finding(SUBJECT, f"user.signingkey is {what}, which is not a security key", private=private)
        return
    yield Finding(SUBJECT, f"user.signingkey is {what}", private=private)
    if blob in agent.held_keys(account):
        yield Finding(SUBJECT, "the agent holds the signing key")
    elif is_literal:
        yield Finding(
            SUBJECT,
            "user.signingkey is a public key, and the agent does not hold its private key",
            f"run: ssh-add -S {shlex.quote(library.path_of(programs.wanted_api(account)))} FILE",
        )
    else:
        value = account.variable(VARIABLE)
        ours = library.path_of(programs.wanted_api(account))
        if value is None:
            yield Finding(
                SUBJECT,
                f"git's ssh-keygen finds the library only by {VARIABLE}, which is not set: "
                "signing fails with 'device not found'",
                f"run this, and add it to ~/.profile: export {VARIABLE}={shlex.quote(ours)}",
            )
        elif os.path.isabs(value) and provider.is_ours(value):
            yield Finding(SUBJECT, f"git's ssh-keygen uses the library that {VARIABLE} names")


def _setting(account: Account, name: str, *options: str) -> str | None:
    """Return a setting of git's, None if there is none."""
    try:
        answer = ask(account, "git", "config", *options, "--get", name)
    except NoAnswer:
        return None
    value = answer.output.rstrip("\n")
    return value if answer.status == 0 and value else None


def _place(account: Account, name: str) -> str:
    """Return the option that has git change a setting in the file where it has the value that counts.

    That may be an included file, or the repository's.
    """
    try:
        answer = ask(account, "git", "config", "--show-origin", "--get", name)
    except NoAnswer:
        return _GLOBAL
    kind, _, path = answer.output.partition("\t")[0].partition(":")
    if answer.status != 0 or kind != "file" or path == f"{account.variable('HOME')}/.gitconfig":
        return _GLOBAL
    return f"--file {shlex.quote(path)}"


def _blob_in(path: str) -> bytes | None:
    """Return the public key of a key file, be it the public or the private one, None if there is none."""
    for each in (path, f"{path}.pub"):
        try:
            content = content_of(each, _MOST)
        except OSError:
            continue
        blob = key_files.public_blob(content) or _blob(content.decode("ascii", "replace"))
        if blob is not None:
            return blob
    return None


def _blob(text: str) -> bytes | None:
    """Return the public key in a line as a .pub file has it, None if there is none."""
    words = text.split(None, 2)
    try:
        blob = a2b_base64(words[1])
        kind, _ = openssh_key.take_string(blob)
    except (IndexError, Error, ValueError):
        return None
    return blob if kind.decode("ascii", "replace") == words[0] else None
