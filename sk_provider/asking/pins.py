"""Asking for an authenticator's PIN, or a passphrase, in the ways that pysk_config orders (PinPrompt)."""

from __future__ import annotations

import os
import select
import termios
from contextlib import ExitStack, contextmanager

from sk_provider.reporting import printable

from . import DEFAULT_ASKPASS
from . import terminal as terminals
from .event import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .event import Event

PINENTRY = "/usr/bin/pinentry"
_MAX_ANSWER = 1024
"""Bytes; a PIN has 63 at most."""
_NO_TERMINAL = "there is no terminal"
_HAS_MORE_RIGHTS = "this program has more rights than you, so it starts no other"


class CannotAsk(Exception):
    """Nobody can be asked in this way. The sentence says why."""


class Question:
    """A question for a PIN. purpose: what it is for; token: which authenticator's it is, or ""; problem: what was wrong
    with the last answer, or what is to be known before the next, or ""; seconds: the person's time; wanted: what is
    asked for, if that is another secret than a PIN.
    """

    def __init__(self, purpose: str, token: str, problem: str, seconds: int, wanted: str = "PIN") -> None:
        self.purpose = printable(purpose)
        self.token = printable(token)
        self.problem = printable(problem)
        self.seconds = seconds
        self.wanted = wanted

    def lines(self) -> list[str]:
        """Return what it is for, and of which authenticator it is."""
        return [self.purpose, *([f"Security key: {self.token}"] if self.token else [])]


def ask(way: str, question: Question, event: Event, *, trusts_environment: bool) -> str | None:
    """Ask in one way, of config.PIN_PROMPTS but the first; return None if the person has refused, or once event is set.

    trusts_environment: whether the variables may say what is done; if not, no program is started, that would see them.

    Raises CannotAsk.
    """
    if way != "terminal" and not trusts_environment:
        raise CannotAsk(_HAS_MORE_RIGHTS)
    ways: dict[str, Callable[[], str | None]] = {
        "terminal": lambda: _ask_on_terminal(question, event),
        "askpass": lambda: _ask_by_askpass(question, event),
        "pinentry": lambda: _ask_by_pinentry(question, event),
    }
    return ways[way]()


def check(way: str, *, trusts_environment: bool) -> None:
    """Raise CannotAsk if nobody can be asked in one way, as far as that can be told without asking."""
    if way != "terminal" and not trusts_environment:
        raise CannotAsk(_HAS_MORE_RIGHTS)
    if way == "terminal":
        terminal = terminals.open_terminal()
        if terminal is None:
            raise CannotAsk(_NO_TERMINAL)
        os.close(terminal)
    elif way == "askpass":
        askpass()
    elif not os.access(PINENTRY, os.X_OK):
        raise CannotAsk(f"{PINENTRY} cannot be started")


def askpass() -> str:
    """Return the program that SSH_ASKPASS names, by ssh's rules. Raises CannotAsk if it is not to be asked with."""
    requirement = os.environ.get("SSH_ASKPASS_REQUIRE", "").lower()
    if requirement == "never":
        raise CannotAsk("SSH_ASKPASS_REQUIRE is never")
    if requirement != "force" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise CannotAsk("there is no DISPLAY for SSH_ASKPASS")
    return os.environ.get("SSH_ASKPASS") or DEFAULT_ASKPASS


@contextmanager
def pinentry_terminal() -> Iterator[str | None]:
    """Yield the path of the terminal that a pinentry may use, None for none; afterwards it is as it was before."""
    with ExitStack() as stack:
        terminal = terminals.open_terminal()
        if terminal is not None:
            stack.callback(os.close, terminal)
            try:
                stack.enter_context(terminals.kept(terminal))
            except (OSError, termios.error):  # see _ask_on_terminal()
                terminal = None
        yield None if terminal is None else terminals.PATH


def _ask_on_terminal(question: Question, event: Event) -> str | None:
    terminal = terminals.open_terminal()
    if terminal is None:
        raise CannotAsk(_NO_TERMINAL)
    text = "".join(f"libpysk: {line}\n" for line in [*question.lines(), question.problem] if line)
    try:
        with terminals.signals_held() as have_come, terminals.silent(terminal):
            return _answer_on_terminal(terminal, f"{text}{question.wanted}: ", lambda: event.is_set() or have_come())
    except (OSError, termios.error):
        # It is no terminal for whoever has lost it, such as a process in the background whose shell is gone.
        raise CannotAsk(_NO_TERMINAL) from None
    finally:
        os.close(terminal)


def _answer_on_terminal(terminal: int, text: str, is_over: Callable[[], bool]) -> str | None:
    left = text.encode()
    while not is_over():
        if left:
            if select.select([], [terminal], [], TICK)[1]:
                try:
                    left = left[os.write(terminal, left) :]
                except BlockingIOError:  # it has room for less than a character
                    select.select([], [], [], TICK)
        elif select.select([terminal], [], [], TICK)[0]:
            try:
                answer = os.read(terminal, _MAX_ANSWER)
            except BlockingIOError:  # another program has read it
                continue
            if is_over():
                break
            return _text(answer.rstrip(b"\n")) if answer.endswith(b"\n") else None
    return None


def _ask_by_askpass(question: Question, event: Event) -> str | None:
    from .child import NotStarted, running

    program = askpass()
    text = "\n".join([line for line in [*question.lines(), question.problem] if line] + [f"{question.wanted}: "])
    answer = b""
    try:
        with running([program, text], {}) as child:
            while child.status is None:
                answer = (answer + child.read())[:_MAX_ANSWER]
                if child.status is None and event.is_set():
                    return None
    except NotStarted as reason:
        raise CannotAsk(f"{program} cannot be started ({reason})") from None
    # As ssh takes it (readpass.c): there are programs of other systems' that end a line in two characters.
    return _text(answer.replace(b"\r", b"\n").split(b"\n", 1)[0]) if child.status == 0 else None


def _ask_by_pinentry(question: Question, event: Event) -> str | None:
    from . import pinentry

    description = "\n".join(question.lines())
    with pinentry_terminal() as terminal:
        try:
            return pinentry.get_pin(
                PINENTRY, description, question.problem, question.seconds, event, terminal, question.wanted
            )
        except pinentry.PinentryFailed as failure:
            raise CannotAsk(str(failure)) from None


def _text(answer: bytes) -> str:
    try:
        return answer.decode()
    except UnicodeDecodeError:
        raise CannotAsk("the answer is not UTF-8 text") from None
