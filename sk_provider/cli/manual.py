"""Writes what an installation keeps outside of the package: manual pages, and what lets shells complete pysk.

`python -m sk_provider.cli.manual FOLDER` writes them as they lie below /usr/share. What pysk(1) says of the commands is
what --help says of them, in mdoc(7): a few lines over click's own objects, since click-man makes a page for every
subcommand, in bare man(7), and would be one more package to trust.
"""

from __future__ import annotations

import inspect
import os
import re
import sys

import click

import sk_provider

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGES = ("pysk.1", "pysk_config.5", "pysk_transport.7", "libpysk.8")
_SCRIPTS = {
    "bash": "bash-completion/completions/pysk",
    "zsh": "zsh/site-functions/_pysk",
    "fish": "fish/vendor_completions.d/pysk.fish",
}
# Each stands on a line of its own in pysk.1, where text of the commands' belongs.
_SYNOPSIS = '.\\" SYNOPSIS OF pysk\n'
_OPTIONS = '.\\" OPTIONS OF pysk\n'
_COMMANDS = '.\\" COMMANDS OF pysk\n'

_CHARACTERS = str.maketrans({"\\": r"\e", "~": r"\(ti", "^": r"\(ha"})
_CODE_CHARACTERS = str.maketrans({"\\": r"\e", "~": r"\(ti", "^": r"\(ha", "-": r"\-", "'": r"\(aq", "`": r"\(ga"})


def write(folder: str, command: click.Group) -> None:
    """Write the pages and scripts for a command into a folder as /usr/share is one. Raises OSError if that fails."""
    from .completion import script

    contents = {f"man/man{name[-1]}/{name}": page(name, command) for name in _PAGES}
    contents |= {path: script(shell, command) for shell, path in _SCRIPTS.items()}
    for name, content in contents.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)


def page(name: str, command: click.Group) -> str:
    """Return a manual page in mdoc(7), with what the command tells of itself where it belongs."""
    path = os.path.join(os.path.dirname(sk_provider.__file__), "manual", name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    context = click.Context(command, info_name="pysk", **command.context_settings)
    parts = {_SYNOPSIS: _usage(context), _OPTIONS: _options(context), _COMMANDS: _commands(context)}
    for mark, lines in parts.items():
        text = text.replace(mark, "".join(f"{line}\n" for line in lines))
    return text


def _commands(context: click.Context) -> Iterator[str]:
    """Yield a subsection for each subcommand, and for each of theirs."""
    group = context.command
    assert isinstance(group, click.Group)  # noqa: S101 - as its callers know
    for name in group.list_commands(context):
        command = group.commands[name]
        if command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield f".Ss {_code(inner.command_path)}"
        yield f".Nm {_code(inner.command_path)}"
        yield from _usage(inner)
        yield ".Pp"
        yield from _text(inspect.cleandoc(command.help or "").partition("\f")[0])
        yield from _options(inner)
        if command.epilog:
            yield ".Pp"
            yield from _text(inspect.cleandoc(command.epilog))
        if isinstance(command, click.Group):
            yield from _commands(inner)


def _usage(context: click.Context) -> Iterator[str]:
    """Yield the options and arguments as a synopsis has them."""
    for option in _own_options(context):
        flags = " | ".join(f"Fl {_code(name[1:])}" for name in option.opts)
        yield f".Op {flags}{_value(option, context)}"
    for argument in context.command.get_params(context):
        if isinstance(argument, click.Argument):
            for word in argument.make_metavar(context).split():
                yield f".{_word(word)}"
    if isinstance(context.command, click.Group):
        yield ".Ar command"
        yield ".Op Ar argument ..."


def _options(context: click.Context) -> Iterator[str]:
    """Yield a list of the options and what each does."""
    options = _own_options(context)
    if not options:
        return
    yield ".Bl -tag -width Ds"
    for option in options:
        names = " , ".join(f"Fl {_code(name[1:])}" for name in option.opts)
        yield f".It {names}{_value(option, context)}"
        record = option.get_help_record(context)
        yield from _text(record[1] if record else "")
    yield ".El"


def _own_options(context: click.Context) -> list[click.Option]:
    """Return the options, without --help where the command above has it."""
    return [
        option
        for option in context.command.get_params(context)
        if isinstance(option, click.Option)
        and not option.hidden
        and (context.parent is None or not set(option.opts) & set(context.help_option_names))
    ]


def _value(option: click.Option, context: click.Context) -> str:
    """Return what an option takes, in words of a macro's line: nothing, as a rule."""
    if option.is_flag or option.count:
        return ""
    metavar = option.make_metavar(context)
    if isinstance(option.type, click.Choice):
        metavar = metavar.strip("[]")
    return "".join(f" {_word(word)}" for word in metavar.split())


def _word(word: str) -> str:
    """Return the macro for a word of a synopsis such as ADDRESS, [ADDRESS] or FILE..."""
    bare = word.removesuffix("...")
    end = " ..." if bare != word else ""
    if bare.startswith("[") and bare.endswith("]"):
        return f"Op Ar {_code(bare[1:-1])}{end}"
    return f"Ar {_code(bare)}{end}"


def _text(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text: those that are indented, or that click does not wrap, as they are."""
    is_first = True
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if paragraph.startswith(("\b", " ")):
            lines = inspect.cleandoc(paragraph.removeprefix("\b").lstrip("\n")).splitlines()
            yield ".Bd -literal -offset indent"
            yield from (_line(_code(line)) for line in lines)
            yield ".Ed"
            is_first = False
            continue
        if not is_first:
            yield ".Pp"
        is_first = False
        # mdoc(7) wants each sentence on a line of its own.
        for sentence in re.split(r"(?<=[.?!:;])\s+(?=[A-Z`])", " ".join(paragraph.split())):
            yield _line(_sentence(sentence))


def _sentence(sentence: str) -> str:
    """Return a sentence with its `code` in bold, and with hyphens of options that can be copied."""
    parts = sentence.split("`")
    parts[1::2] = [rf"\fB{_code(part)}\fR" for part in parts[1::2]]
    # Other hyphens, as in "touch-free", may become what the page's reader has for them.
    parts[::2] = [
        re.sub(r"(?<!\w)--?(?=\w)", lambda found: found[0].replace("-", r"\-"), part.translate(_CHARACTERS))
        for part in parts[::2]
    ]
    return "".join(parts)


def _code(text: str) -> str:
    """Return text in which every character is what it looks like."""
    return text.translate(_CODE_CHARACTERS)


def _line(line: str) -> str:
    """Return a line of text that is no request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    from sk_provider.cli import main

    if len(sys.argv) != 2:
        sys.exit("usage: python -m sk_provider.cli.manual FOLDER")
    write(sys.argv[1], main)
