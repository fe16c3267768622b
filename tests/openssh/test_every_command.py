"""Every command of pysk as somebody in a hurry calls it: with what is not there, and where nothing can be asked.

The commands are those that click has, and what is put in the place of each word of theirs stands in two tables: who
adds a command adds the words that are new, and nothing else.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
import pytest
from support.openssh import PIN, PIN_PROMPT, Person
from support.relay import Relay
from support.serve import serve

from sk_provider.cli import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

# One of the commands forgets PINs.
pytestmark = pytest.mark.usefixtures("keyring_alone")

PATIENCE_S = 60

USUAL: dict[tuple[str, str] | str, str] = {
    "ADDRESS": "soft:{folder}/store",
    "FILE": "attestation",
    "KEY": "{key}",
    "KEYFILE": "id",
    "NAME": "work",
    "USER": "me",
    "unix:PATH": "unix:{sockets}/shared",
    "--challenge": "challenge",
    "--key": "id.pub",
}
"""What the words of a command line are, in whichever command."""

USUAL_OF: dict[tuple[str, str] | str, str] = {
    ("serve", "ADDRESS"): "unix:{sockets}/served",
    ("directory add", "KEYFILE"): "other",
}
"""What they are in one that means another thing by them."""

LASTING = ("serve", "share")
"""Commands that go on until they are interrupted, once they have written a line."""

TELLING = ("doctor",)
"""Commands that write on standard output why the status is 1."""

ANSWERS = {"reset": "y\n"}
"""What a command reads that asks for something else than a PIN."""

STARTING = 'exec "$0" "$@"'
WAITING = re.compile(rb": (?:\^C)*$|blinks|^(?:serving|sharing) ")
"""How a screen looks where a person is waited for, or a client."""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command that is no group, with its name as it is typed."""
    waiting: list[tuple[str, click.Command]] = [("", main)]
    for name, command in waiting:
        if isinstance(command, click.Group):
            waiting += [(f"{name} {each}".strip(), command.commands[each]) for each in sorted(command.commands)]
        else:
            yield name, command


def words_of(name: str, command: click.Command, usual: Mapping[tuple[str, str] | str, str]) -> dict[str, str]:
    """Return what is written after a command's name: each word of its usage and what it stands for."""
    pieces = [piece for piece in command.collect_usage_pieces(click.Context(command)) if piece != "[OPTIONS]"]
    options = [each.opts[0] for each in command.params if isinstance(each, click.Option) and each.required]
    words = [*re.findall(r"(?:unix:)?[A-Z]+", " ".join(pieces)), *options]
    return {word: usual.get((name, word)) or usual[word] for word in words}


def line_of(name: str, words: dict[str, str]) -> list[str]:
    """Return a command line without the program."""
    line = name.split()
    for word, value in words.items():
        line += [word, value] if word.startswith("--") else [value]
    return line


class Case:
    """A command as it was called, and how it ended."""

    def __init__(self, name: str, line: list[str], status: int, output: bytes, errors: bytes) -> None:
        self.name = name
        self.line = line
        self.status = status
        self.output = output.decode(errors="replace")
        self.errors = errors.decode(errors="replace")

    def __repr__(self) -> str:
        return f"pysk {' '.join(self.line)!r}: {self.status}\n-- stdout\n{self.output}\n-- stderr\n{self.errors}"

    def check(self) -> Case:
        """Fail if Python has told of anything, or if the last line does not tell a failure."""
        assert "Traceback" not in self.errors + self.output, self
        assert self.status in (0, 1, 2), self
        if self.status == 2 or (self.status == 1 and self.name not in TELLING):
            # What a command warns of stands before that; who says no needs no sentence.
            assert self.errors.splitlines()[-1].startswith(("pysk: ", "Aborted!")), self
        return self


class Everyone:
    """A person with keys in a token, in files and in a directory, who calls one command after the other."""

    def __init__(self, person: Person, sockets: Path) -> None:
        self.person = person
        self.folder = person.folder
        person.configure(
            "Presence auto", f"KeyDirectory file:{self.folder}/records", "KeyDirectoryUser me", "KnownKeys none"
        )
        person.set_pin(PIN)
        (self.folder / "challenge").write_bytes(bytes(32))
        options = ("challenge=challenge", "write-attestation=attestation", "resident")
        done, _ = person.enroll("id", "ed25519-sk", *options, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        done, _ = person.enroll("other", "ecdsa-sk", "application=ssh:other")
        assert done.status == 0, done
        self._usual: dict[tuple[str, str] | str, str] = {}
        added = self.call("directory add", ["directory", "add", "id"])
        places = {"folder": self.folder, "sockets": sockets, "key": added.errors.split()[0]}
        self._usual = {word: value.format(**places) for each in (USUAL, USUAL_OF) for word, value in each.items()}

    def lines(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield each command with its usual words."""
        for name, command in commands():
            yield name, words_of(name, command, self._usual)

    def call(
        self, name: str, line: list[str], stdin: str = "", script: str = STARTING, **variables: str | None
    ) -> Case:
        """Call a command by a shell's script; variables are left out of the environment where they are None."""
        environment = {**self.person.environment, **variables}
        process = subprocess.Popen(
            ["sh", "-c", script, str(self.person.pysk), *line],
            env={name: value for name, value in environment.items() if value is not None}, cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        first = b""
        if name in LASTING:
            assert select.select([process.stdout], [], [], PATIENCE_S)[0], line
            first = os.read(process.stdout.fileno(), 4096)
            if first:
                process.send_signal(signal.SIGINT)
        output, errors = process.communicate(stdin.encode(), PATIENCE_S)
        return Case(name, line, process.returncode, first + output, errors)

    def interrupt(self, name: str, line: list[str]) -> tuple[Case, bool]:
        """Call a command at a terminal, and type Ctrl-C once it asks or lasts; return also whether it came to that."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", str(self.person.pysk), *line],
            env=self.person.environment, cwd=self.folder, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        screen, is_interrupted = b"", False
        try:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                if select.select([ours], [], [], 0.2)[0]:
                    screen += os.read(ours, 4096)
                # More than once: input() of Python's loses one that comes just before it waits.
                elif WAITING.search(screen):
                    os.write(ours, b"\x03")
                    is_interrupted = True
        except OSError:
            pass  # which Linux reports once nobody has the other side open
        finally:
            os.close(ours)
        return Case(name, line, process.wait(PATIENCE_S), b"", screen), is_interrupted

    def call_all(self, calls: Sequence[Callable[[], Case]]) -> list[Case]:
        """Make calls, two at a time."""
        with ThreadPoolExecutor(2) as pool:
            return [case.check() for case in pool.map(lambda call: call(), calls)]

    def files(self) -> dict[str, bytes | None]:
        """Return what the person has."""
        found = sorted(self.folder.rglob("*"))
        return {str(path): path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory, provider: Path) -> Iterator[Everyone]:
    """Return somebody whom nothing that is done here changes."""
    with tempfile.TemporaryDirectory(prefix="pysk-") as sockets:
        yield Everyone(Person(tmp_path_factory.mktemp("everyone"), provider), Path(sockets))


SURROUNDINGS: dict[str, tuple[str, str, dict[str, str | None]]] = {
    "no input, locale or home": (
        f"{STARTING} <&-", "",
        {
            "LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": None, "TERM": None,
            "COLUMNS": "20", "TMPDIR": "/nonexistent",
        },
    ),
    "no folder": (
        f"mkdir gone.$$; cd gone.$$; rmdir ../gone.$$; {STARTING}", "", {"HOME": "/nonexistent", "TERM": "dumb"}
    ),
    "a line without end": (f"ulimit -v 2000000; {STARTING} </dev/zero", "", {}),
    # Neither in /tmp nor elsewhere.
    "nothing can be written": (f"ulimit -f 0; {STARTING}", f"{PIN}\n{PIN}\n", {}),
}  # fmt: skip


@pytest.mark.parametrize(("script", "stdin", "variables"), SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_whatever_is_missing_around_a_command_is_one_sentence_at_most(
    everyone: Everyone, script: str, stdin: str, variables: dict[str, str | None]
) -> None:
    before = everyone.files()
    calls = []
    for name, words in everyone.lines():
        answers = ANSWERS.get(name, "") + stdin if stdin else ""
        calls.append(partial(everyone.call, name, line_of(name, words), answers, script, **variables))
    everyone.call_all(calls)
    assert everyone.files().keys() == before.keys()


WRONG = {
    "ADDRESS": ("", "bogus:x", "unix:/nonexistent/socket", "soft:/dev/null"),
    "FILE": (".", "loop"),
    "KEY": ("ffff",),
    "KEYFILE": (".", "loop", "challenge"),
    "NAME": ("x" * 2000,),
    "USER": (),  # an unknown one is one without keys
    "unix:PATH": ("unix:/nonexistent/socket",),
    "--challenge": (".", "loop"),
    "--key": (".", "loop", "challenge"),
}


def test_what_is_not_there_or_is_something_else_is_told_and_changes_nothing(everyone: Everyone) -> None:
    (everyone.folder / "loop").symlink_to("loop")
    before = everyone.files()
    calls = []
    for name, words in everyone.lines():
        for word in words:
            for wrong in WRONG[word]:
                stdin = ANSWERS.get(name, "") + f"{PIN}\n"
                calls.append(partial(everyone.call, name, line_of(name, {**words, word: wrong}), stdin))
    for case in everyone.call_all(calls):
        assert case.status in (1, 2), case
    assert everyone.files() == before


@pytest.mark.parametrize("reports", [3, 8])
def test_a_token_that_is_pulled_out_in_the_middle_is_told(everyone: Everyone, sockets: Path, reports: int) -> None:
    def call(number: int, name: str, words: dict[str, str]) -> Case:
        def spoil(_direction: str, report: int, content: bytes) -> list[bytes] | None:
            return None if report >= reports else [content]

        with Relay(sockets / f"relay{number}", sockets / "token", spoil) as relay:
            line = line_of(name, {**words, "ADDRESS": relay.address})
            case = everyone.call(name, line, ANSWERS.get(name, "") + f"{PIN}\n{PIN}1\n")
            if len(relay.reports) > reports and name not in LASTING:
                assert case.status == 1, case
            return case

    with serve(f"unix:{sockets}/token"):
        everyone.person.set_pin(PIN, f"unix:{sockets}/token")
        lines = [(name, words) for name, words in everyone.lines() if "ADDRESS" in words and name != "serve"]
        everyone.call_all([partial(call, number, *line) for number, line in enumerate(lines)])


def test_ctrl_c_ends_whatever_waits_and_leaves_nothing_half_done(everyone: Everyone) -> None:
    before = everyone.files()
    with ThreadPoolExecutor(2) as pool:
        lines = [(name, line_of(name, words)) for name, words in everyone.lines()]
        for case, is_interrupted in pool.map(lambda line: everyone.interrupt(*line), lines):
            assert "Traceback" not in case.errors, case
            if is_interrupted and case.name not in LASTING:
                assert case.status == 1, case
                last = case.errors.splitlines()[-1].rpartition("^C")[2]
                assert last.startswith(("pysk: ", "Aborted!")), case
    # What they hold may be other: a counter of signatures.
    assert everyone.files().keys() == before.keys()


def members(data: Any) -> Iterator[str]:
    """Yield the names of all members of what JSON has."""
    for each in data if isinstance(data, list) else []:
        yield from members(each)
    for name, each in data.items() if isinstance(data, dict) else []:
        yield name
        yield from members(each)


def test_json_is_whole_and_each_member_is_in_the_manual(everyone: Everyone) -> None:
    helps = {name: command.help or "" for name, command in commands()}
    for name, words in everyone.lines():
        if "--json" not in [each for parameter in dict(commands())[name].params for each in parameter.opts]:
            continue
        case = everyone.call(name, [*line_of(name, words), "--json"], f"{PIN}\n").check()
        assert case.output, case
        found = set(members(json.loads(case.output)))
        help_of = helps[name] + "".join(helps[each] for each in re.findall(r"`pysk ([a-z ]+) --json`", helps[name]))
        assert found, case
        assert [each for each in sorted(found) if not re.search(rf"\b{each}\b", help_of)] == [], case
