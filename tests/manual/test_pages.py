"""The manual pages, by Debian's mandoc and groff, and beside what they describe."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support import debian
from support.provider_tree import REPOSITORY

from sk_provider import config
from sk_provider.authenticator.profiles import DEFAULT, PROFILES
from sk_provider.cli import main, manual
from sk_provider.config import Configuration
from sk_provider.doctor import devices
from sk_provider.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = ("pysk.1", "pysk_config.5", "pysk_transport.7", "libpysk.8")
PATIENCE_S = 60


@pytest.fixture(scope="module")
def mandoc() -> Path:
    return debian.unpack("mandoc") / "usr/bin/mandoc"


def written(name: str, share: Path) -> Path:
    return share / "man" / f"man{name[-1]}" / name


def as_text(mandoc: Path, name: str, share: Path) -> str:
    """Return a page as a person reads it, in one line."""
    command = [str(mandoc), "-T", "ascii", "-O", "width=1000", str(written(name, share))]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    return " ".join(re.sub(".\b", "", shown).split())


def commands(command: click.Command, words: tuple[str, ...] = ("pysk",)) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and its subcommands, and what a person types for each."""
    yield " ".join(words), command
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            yield from commands(subcommand, (*words, name))


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_say_against_a_page(name: str, mandoc: Path, share: Path) -> None:
    command = [str(mandoc), "-T", "lint", "-W", "warning", str(written(name, share))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", PAGES)
def test_groff_has_nothing_to_say_against_a_page(name: str, share: Path) -> None:
    root = debian.unpack("groff-base", "libuchardet0")
    installed = root / "usr/share/groff/current"
    environment = {
        "PATH": f"{root}/usr/bin:{os.defpath}",
        "GROFF_FONT_PATH": f"{installed}/font",
        "GROFF_TMAC_PATH": f"{installed}/tmac",
        "LD_LIBRARY_PATH": str(next(root.glob("usr/lib/*/libuchardet.so.0")).parent),
    }
    command = ["groff", "-mandoc", "-T", "utf8", "-ww", "-z", str(written(name, share))]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_pysk_1_has_every_command_with_its_options_and_what_its_help_says(mandoc: Path, share: Path) -> None:
    page = as_text(mandoc, "pysk.1", share)
    for typed, command in commands(main):
        if command is main:
            continue
        assert f" {typed} {typed} " in page, typed
        for sentence in re.split(r"\n\s*\n|(?<=\.)\s", command.help or ""):
            said = " ".join(sentence.replace("\b", "").replace("`", "").split())
            assert said in page, typed
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(name in page for name in option.opts), typed
                assert " ".join((option.help or "").split()) in page, typed


def test_pysk_1_has_the_profiles_of_pysk_serve(mandoc: Path, share: Path) -> None:
    listed = re.search(r"A NAME of --profile is (.*?)\. ", as_text(mandoc, "pysk.1", share))
    assert listed
    names = re.split(r", | or ", listed[1].replace(f"{DEFAULT} (the default)", DEFAULT))
    assert names == list(PROFILES)


def test_a_new_command_is_in_the_page_by_itself(tmp_path: Path, mandoc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command(epilog="Try it:\n\n\b\n    pysk juggle --balls=3 'a b' | ~/x\\y")
    @click.option("-b", "--balls", type=click.Choice(["3", "5"]), help="How many. -1 is none.")
    @click.option("--trick", metavar="[NAME]", is_flag=False, flag_value="", help="A trick, or .Sh all of them.")
    @click.option("--loud", is_flag=True, hidden=True)
    @click.argument("tokens", metavar="[ADDRESS]...", nargs=-1)
    def juggle(**_arguments: object) -> None:
        """Juggle tokens. See `pysk juggle --help`, that is all.

        .TH is no request here, nor is

        'this, or \\fBthis\\fR.
        """

    monkeypatch.setitem(main.commands, "juggle", juggle)
    manual.write(str(tmp_path), main)
    test_mandoc_has_nothing_to_say_against_a_page("pysk.1", mandoc, tmp_path)
    page = as_text(mandoc, "pysk.1", tmp_path)
    synopsis = "pysk juggle pysk juggle [-b | --balls 3|5] [--trick [NAME]] [ADDRESS ...]"
    said = "Juggle tokens. See pysk juggle --help, that is all. .TH is no request here, nor is 'this, or \\fBthis\\fR."
    options = "-b, --balls 3|5 How many. -1 is none. --trick [NAME] A trick, or .Sh all of them."
    assert f" {synopsis} {said} {options} Try it: pysk juggle --balls=3 'a b' | ~/x\\y " in page
    assert "--loud" not in page


def documented_keywords(share: Path) -> list[str]:
    items = re.findall(r"^\.It Cm (\w+)", written("pysk_config.5", share).read_text(), re.MULTILINE)
    # What follows in the lists of URLs begins with a small letter.
    return [item for item in items if item[0].isupper()]


def is_known(keyword: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    file = folder / "pysk_config"
    file.write_text(f"{keyword} ~/x\n")
    file.chmod(0o600)
    monkeypatch.setenv(config.VARIABLE, str(file))
    try:
        config.load()
    except ConfigurationError as error:
        return "unknown keyword" not in error.happened
    return True


def test_pysk_config_5_has_the_keywords_that_are_read_and_no_others(
    tmp_path: Path, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = documented_keywords(share)
    assert documented == sorted(documented)
    assert [keyword for keyword in documented if not is_known(keyword, tmp_path, monkeypatch)] == []
    # A keyword is a word in config.py, or one of those that follow KeyDirectoryLdap.
    texts = {node.value for node in ast.walk(ast.parse(inspect.getsource(config))) if isinstance(node, ast.Constant)}
    words = {text for text in texts if isinstance(text, str) and text.isalpha() and text.islower()}
    words |= {f"keydirectoryldap{each}" for each in config.LDAP_KEYWORDS}
    read = {word for word in words if is_known(word, tmp_path, monkeypatch)}
    assert {keyword.lower() for keyword in documented} == read


def test_pysk_config_5_has_the_defaults_and_limits(mandoc: Path, share: Path) -> None:
    page = as_text(mandoc, "pysk_config.5", share)
    items = re.split(rf" (?={'|'.join(rf'{keyword} ' for keyword in documented_keywords(share))})", page)

    def of(keyword: str) -> str:
        return next(item for item in items if item.startswith(f"{keyword} ") and "default" in item)

    seconds = f"from 1 to {config.MAX_TIMEOUT}"
    timeouts = {"Timeout": config.DEFAULT_TIMEOUT, "KeyDirectoryTimeout": config.DEFAULT_DIRECTORY_TIMEOUT}
    for keyword, default in timeouts.items():
        assert seconds in of(keyword)
        assert f"The default is {default}." in of(keyword)
    assert f"The default is {config.DEFAULT_DIRECTORY_MAX_AGE // 86400}d." in of("KeyDirectoryMaxAge")
    assert f"at most {config.MAX_DIRECTORY_MAX_AGE // 86400}d." in of("KeyDirectoryMaxAge")
    assert f"The default is {Configuration().presence}." in of("Presence")
    assert f"The default is {Configuration().log_level}." in of("LogLevel")
    assert f"no larger than {config.MAX_FILE_SIZE >> 20} MiB" in page
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(config.VARIABLE, raising=False)
        patch.setattr(config, "home_directory", lambda: "~")
        patch.setattr(config, "_read", lambda _path: None)
        default_configuration = config.load()
    assert f"The default is {default_configuration.known_keys}." in of("KnownKeys")
    assert f"The default is {default_configuration.directory_cache}." in of("KeyDirectoryCache")


def test_the_package_of_debian_that_is_said_to_let_people_use_usb_has_the_rules(mandoc: Path, share: Path) -> None:
    root = debian.unpack("udev")
    (rules,) = (root / path[1:] for path in devices._RULES if (root / path[1:]).exists())
    assert 'TAG+="security-device"' in rules.read_text()
    assert "rules in Debian's package udev give permission" in as_text(mandoc, "libpysk.8", share)
    assert "rules in Debian's package `udev` give it" in (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("words", [words for words, each in commands(main) if isinstance(each, click.Group)])
def test_the_summary_of_no_command_is_cut_at_80_columns(words: str) -> None:
    listed = subprocess.run(
        [Path(sys.executable).with_name("pysk"), *words.split()[1:], "--help"], check=True, capture_output=True,
        text=True, timeout=PATIENCE_S, env={"COLUMNS": "80"},
    ).stdout.partition("Commands:\n")[2]  # fmt: skip
    group = dict(commands(main))[words]
    assert isinstance(group, click.Group)
    lines = [line.split(maxsplit=1) for line in listed.splitlines()]
    assert [name for name, _ in lines] == sorted(group.commands)
    assert [summary for _, summary in lines if summary.endswith("...")] == []
