"""Asking for an authenticator's PIN in the ways that pysk_config orders (PinPrompt)."""

from __future__ import annotations

import os
import select
import termios

from sk_provider.reporting import printable

from .event import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .event import Event

PINENTRY = "/usr/bin/pinentry"
_DEFAULT_ASKPASS = "/usr/bin/ssh-askpass"
_MAX_ANSWER = 1024
"""Bytes; a PIN has 63 at most."""


class CannotAsk(Exception):
    """Nobody can be asked in this way. The sentence says why."""


class Question:
    """A question for a PIN. purpose: what it is for; token: which authenticator's it is, or ""; problem: what was wrong
    with the last answer, or what is to be known before the next, or ""; seconds: the person's time.
    """

    def __init__(self, purpose: str, token: str, problem: str, seconds: int) -> None:
        self.purpose = printable(purpose)
        self.token = printable(token)
        self.problem = printable(problem)
        self.seconds = seconds

    def lines(self) -> list[str]:
        """Return what the PIN is for, and of which authenticator it is."""
        return [self.purpose, *([f"Security key: {self.token}"] if self.token else [])]


def ask(way: str, question: Question, event: Event, *, trusts_environment: bool) -> str | None:
    """Ask in one way, of config.PIN_PROMPTS but the first; return None if the person has refused, or once event is set.

    trusts_environment: whether the variables may say what is done; if not, no program is started, that would see them.

    Raises CannotAsk.
    """
    if way != "terminal" and not trusts_environment:
        raise CannotAsk("this program has more rights than you, so it starts no other")
    ways: dict[str, Callable[[], str | None]] = {
        "terminal": lambda: _ask_on_terminal(question, event),
        "askpass": lambda: _ask_by_askpass(question, event),
        "pinentry": lambda: _ask_by_pinentry(question, event),
    }
    return ways[way]()


def _ask_on_terminal(question: Question, event: Event) -> str | None:
    terminal = _open_terminal()
    try:
        before = termios.tcgetattr(terminal)
        silent = before.copy()
        silent[3] = (silent[3] & ~termios.ECHO) | termios.ECHONL
        # Keys pressed before the question was seen are no answer to it.
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        try:
            text = "".join(f"libpysk: {line}\n" for line in [*question.lines(), question.problem] if line)
            return _answer_on_terminal(terminal, f"{text}PIN: ", event)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    except (OSError, termios.error):
        # It is no terminal for whoever has lost it, such as a process in the background whose shell is gone.
        raise CannotAsk("there is no terminal") from None
    finally:
        os.close(terminal)


def _open_terminal() -> int:
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        raise CannotAsk("there is no terminal") from None


def _answer_on_terminal(terminal: int, text: str, event: Event) -> str | None:
    left = text.encode()
    while not event.is_set():
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
            if event.is_set():
                break
            return _text(answer.rstrip(b"\n")) if answer.endswith(b"\n") else None
    return None


def _ask_by_askpass(question: Question, event: Event) -> str | None:
    from .child import Child

    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not has_display and os.environ.get("SSH_ASKPASS_REQUIRE", "").lower() != "force":
        raise CannotAsk("there is no DISPLAY for SSH_ASKPASS")
    program = os.environ.get("SSH_ASKPASS") or _DEFAULT_ASKPASS
    text = "\n".join([line for line in [*question.lines(), question.problem] if line] + ["PIN: "])
    answer = b""
    try:
        child = Child([program, text], {})
    except OSError as error:
        raise CannotAsk(f"{program} cannot be started ({error.strerror})") from None
    with child:
        while child.status is None:
            answer = (answer + child.read())[:_MAX_ANSWER]
            if child.status is None and event.is_set():
                return None
        return _text(answer.split(b"\n", 1)[0]) if child.status == 0 else None


def _ask_by_pinentry(question: Question, event: Event) -> str | None:
    from . import pinentry

    try:
        os.close(_open_terminal())
        terminal = "/dev/tty"
    except CannotAsk:
        terminal = None
    try:
        description = "\n".join(question.lines())
        return pinentry.get_pin(PINENTRY, description, question.problem, question.seconds, event, terminal)
    except pinentry.PinentryFailed as failure:
        raise CannotAsk(str(failure)) from None


def _text(answer: bytes) -> str:
    try:
        return answer.decode()
    except UnicodeDecodeError:
        raise CannotAsk("the answer is not UTF-8 text") from None
