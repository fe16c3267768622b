"""Real prompts at a terminal, which is afterwards as it was, however the asking ends."""

from __future__ import annotations

import signal
import sys

import pytest
from support import pinentries
from support.openssh import PIN, WRONG_PIN, Person
from support.watched_terminal import CTRL_C, WatchedTerminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PROMPT = {"terminal": "PIN: ", "askpass": "PIN: ", "tty": "PIN:", "curses": "PIN:"}
PINENTRIES = ("tty", "curses")
# One that is no program of the terminal's would have no Ctrl-C of it.
ASKPASS = "#!/bin/sh\ntrap '' INT\nprintf 'PIN: ' >/dev/tty\nexec sleep 600\n"
HOST_WITH_THREADS = """
import ctypes, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
library, response = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()
flags = ctypes.c_uint8(0x21)  # user presence, resident key
library.sk_enroll(
    ctypes.c_uint32(1), bytes(32), ctypes.c_size_t(32), b"ssh:", flags, None, None, ctypes.byref(response)
)
"""
ENDS = (CTRL_C, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return, by the kind of pinentry, the library that asks by it."""
    found = {}
    for kind in PINENTRIES:
        folder = tmp_path_factory.mktemp(kind)
        folder.chmod(0o755)
        found[kind] = pinentries.provider(pinentries.program(kind, folder), folder)
    return found


def enrolling(person: Person, way: str, providers: dict[str, Path], *lines: str) -> WatchedTerminal:
    """Let ssh-keygen make a key, for which the PIN is wanted, and asked for in a way."""
    person.set_pin(PIN)
    person.configure("Presence auto", f"PinPrompt {'pinentry' if way in providers else way}", *lines)
    if way in providers:
        person.environment["SSH_SK_PROVIDER"] = str(providers[way])
    if way == "askpass":
        askpass = person.folder / "askpass"
        askpass.write_text(ASKPASS)
        askpass.chmod(0o755)
        person.environment |= {"SSH_ASKPASS": str(askpass), "DISPLAY": ":0"}
    command = ["ssh-keygen", "-t", "ed25519-sk", "-O", "resident", "-N", "", "-f", str(person.folder / "id")]
    return WatchedTerminal(command, {**person.environment, "TERM": "linux"}, person.folder)


@pytest.mark.parametrize("way", ["terminal", *PINENTRIES])
def test_a_wrong_pin_is_said_and_a_right_one_is_used(person: Person, way: str, providers: dict[str, Path]) -> None:
    with enrolling(person, way, providers) as terminal:
        terminal.wait_for(PROMPT[way])
        terminal.type(WRONG_PIN + "\r")
        terminal.wait_for("7 tries left")
        if way == "terminal":
            terminal.wait_for(PROMPT[way])
        terminal.type(PIN + "\r")
        terminal.end()
        assert "enrolling a key for ssh:" in terminal.screen
        assert PIN not in terminal.screen + terminal.said()
        assert WRONG_PIN not in terminal.screen + terminal.said()
    assert (person.folder / "id").exists()


@pytest.mark.parametrize("end", ENDS, ids=["ctrl-c", "sigterm", "sighup"])
@pytest.mark.parametrize("way", ["terminal", "askpass", *PINENTRIES])
def test_a_pin_that_nobody_wants_any_more_is_not_asked_for(
    person: Person, way: str, providers: dict[str, Path], end: str | signal.Signals
) -> None:
    with enrolling(person, way, providers) as terminal:
        terminal.wait_for(PROMPT[way])
        if isinstance(end, str):
            terminal.type(end)
        else:
            terminal.end_all(end)
        terminal.end()
        assert "cannot" not in terminal.said()
    assert not (person.folder / "id").exists()


@pytest.mark.parametrize("end", ENDS, ids=["ctrl-c", "sigterm", "sighup"])
def test_a_terminal_shows_what_is_typed_again_once_a_host_with_threads_is_ended(
    person: Person, provider: Path, end: str | signal.Signals
) -> None:
    person.set_pin(PIN)
    person.configure("Presence auto", "PinPrompt terminal")
    command = [sys.executable, "-I", "-c", HOST_WITH_THREADS, str(provider)]
    with WatchedTerminal(command, person.environment, person.folder) as terminal:
        terminal.wait_for(PROMPT["terminal"])
        if isinstance(end, str):
            terminal.type(end)
        else:
            terminal.end_all(end)
        terminal.end()


@pytest.mark.parametrize("way", ["terminal", *PINENTRIES])
def test_a_prompt_ends_with_the_persons_time(person: Person, way: str, providers: dict[str, Path]) -> None:
    with enrolling(person, way, providers, "Timeout 2") as terminal:
        terminal.wait_for(PROMPT[way])
        terminal.end()
        assert "libpysk: n" in terminal.said()
    assert not (person.folder / "id").exists()
