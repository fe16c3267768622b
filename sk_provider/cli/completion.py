"""What shells complete beside commands and options: the values that these take, by what their help calls them."""

from __future__ import annotations

import os
import re

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

VARIABLE = "_PYSK_COMPLETE"
"""By which a shell asks pysk for what completes a line; click answers."""

_ADDRESSES = {
    "usb:": "any USB security key",
    "nfc:": "a card in any PC/SC reader",
    "soft:": "the software authenticator",
    "tpm:": "keys in this machine's TPM",
    "unix:/": "a security key behind a Unix socket",
    "udp:127.0.0.1:8111": "a token simulator",
}

_FOLLOWED_BY_PATH = ("soft:", "unix:")

# click's own splits words at colons, which addresses have, and does not mute pysk. What click answers to fish takes the
# whole line, so that is what is asked for here too.
_BASH = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} type value
    local word=${line##*[[:space:]]}
    [[ $word != -*=* ]] || word=${word#*=}
    COMPREPLY=()
    while IFS=, read -r type value; do
        value=${value%%%%$'\\t'*}
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                [[ $value != */ ]] || compopt -o nospace
                # bash replaces what follows the last colon alone.
                [[ $COMP_WORDBREAKS != *:* || $word != *:* ]] || value=${value#"${word%%"${word##*:}"}"}
                COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS=$line COMP_CWORD=${line##*[[:space:]]} %(complete_var)s=fish_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def script(shell: str, command: click.Command) -> str:
    """Return what lets bash, zsh or fish complete the command pysk."""
    kind = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    completion = kind(command, {}, "pysk", VARIABLE)
    template = _BASH if shell == "bash" else completion.source_template
    return template % completion.source_vars()


def complete_values(command: click.Command) -> None:
    """Have addresses, files and folders completed where a command, or one of its subcommands, takes them."""
    for parameter in command.params:
        if isinstance(parameter.type, click.types.StringParamType):
            words = re.findall("[A-Z]+", parameter.metavar or (parameter.name or "").upper())
            complete = next((_VALUES[word] for word in words if word in _VALUES), None)
            if complete:
                parameter.type = _Completed(complete)
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            complete_values(subcommand)


class _Completed(click.types.StringParamType):
    """A text of which shells know what it may be."""

    def __init__(self, complete: Callable[[str], Iterator[CompletionItem[Any]]]) -> None:
        self._complete = complete

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click calls it
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem[Any]]:
        return list(self._complete(incomplete))


def _addresses(incomplete: str) -> Iterator[CompletionItem[Any]]:
    """Yield addresses of authenticators, for which none is opened."""
    found = {**_ADDRESSES, **_connected(), **dict.fromkeys(_configured(), "named by pysk_config")}
    for address, meaning in found.items():
        if address.startswith(incomplete):
            yield CompletionItem(address, help=meaning)
    scheme, slash, path = incomplete.partition("/")
    if slash and scheme in _FOLLOWED_BY_PATH:
        folder, _, name = path.rpartition("/")
        for entry in _entries(f"/{folder}"):
            if entry.name.startswith(name) and (name or not entry.name.startswith(".")):
                end = "/" if entry.is_dir() else ""
                yield CompletionItem(f"{scheme}{os.path.join('/', folder, entry.name)}{end}")


def _connected() -> dict[str, str]:
    from sk_provider.reporting import printable
    from sk_provider.transports import usb

    return {path: printable(usb.name(path)) for path in usb.discover("")}


def _configured() -> list[str]:
    from sk_provider import config
    from sk_provider.errors import SecurityKeyError

    try:
        return config.load().devices(None)
    except SecurityKeyError:
        return []


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _files(incomplete: str) -> Iterator[CompletionItem[Any]]:
    yield CompletionItem(incomplete, type="file")


def _folders(incomplete: str) -> Iterator[CompletionItem[Any]]:
    yield CompletionItem(incomplete, type="dir")


_VALUES = {
    "ADDRESS": _addresses,
    "FILE": _files,
    "KEYFILE": _files,
    "PATH": _files,
    "FOLDER": _folders,
    "DIR": _folders,
}
"""What completes a value, by the word that its command's help has for it."""
