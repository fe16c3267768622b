"""Asking a person to confirm: in the ways that pysk_config orders (PinPrompt), or by ssh(1)'s own rules."""

from __future__ import annotations

import posix
import select
import termios

from sk_provider.errors import PresenceDenied
from sk_provider.reporting import printable

from . import DEFAULT_ASKPASS
from .event import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .event import Event

_MAX_ANSWER = 256

CONFIRMED = 1
REFUSED = 2
UNANSWERED = 3


def confirm_in_ways(
    ways: tuple[str, ...],
    question: str,
    event: Event,
    *,
    purpose: str,
    seconds: int,
    trusts_environment: bool,
    aside: str = "",
) -> int:
    """Ask a person in the first way that can; return CONFIRMED, REFUSED, or UNANSWERED once event is set.

    ways: of config.PIN_PROMPTS, "host" meaning confirm()'s own; purpose: what it is for, or ""; seconds: the person's
    time; the rest: as confirm() has it.

    Raises PresenceDenied if there is nobody who could be asked.
    """
    unable: list[str] = []
    denied: PresenceDenied | None = None
    for way in ways:
        try:
            if way == "host":
                return confirm(question, event, purpose=purpose, trusts_environment=trusts_environment, aside=aside)
            answer = _confirm_in_way(way, question, event, purpose, seconds, trusts_environment=trusts_environment)
        except PresenceDenied as error:
            denied, reason = error, error.happened
        else:
            if isinstance(answer, int):
                return answer
            reason = answer
        if event.is_set():
            return UNANSWERED
        unable.append(f"{way}: {reason}")
    if denied is not None and len(unable) == 1:
        raise denied
    raise PresenceDenied(
        f"nobody can be asked to confirm ({'; '.join(unable)}){aside}", "correct PinPrompt in pysk_config"
    )


def _confirm_in_way(
    way: str, question: str, event: Event, purpose: str, seconds: int, *, trusts_environment: bool
) -> int | str:
    """Return the answer, or why nobody can be asked in that way.

    Raises PresenceDenied if a program cannot be started.
    """
    from . import pinentry, pins

    lines = _lines(purpose, question)
    if way == "terminal":
        answer = _confirm_on_the_terminal(lines, event)
        return "there is no terminal" if answer is None else answer
    if not trusts_environment:
        return "this program has more rights than you, so it starts no other"
    try:
        if way == "askpass":
            return _confirm_by_askpass(pins.askpass(), lines, event)
        with pins.pinentry_terminal() as terminal:
            agreed = pinentry.confirm(pins.PINENTRY, "\n".join(lines), seconds, event, terminal)
    except (pins.CannotAsk, pinentry.PinentryFailed) as reason:
        return str(reason)
    if agreed is None:
        return UNANSWERED
    return CONFIRMED if agreed else REFUSED


def confirm(question: str, event: Event, *, purpose: str = "", trusts_environment: bool = True, aside: str = "") -> int:
    """Ask a person; return CONFIRMED, REFUSED, or UNANSWERED once event is set.

    purpose: what it is for, or ""; trusts_environment: whether the variables may name a program to ask with; not in a
    program that has more rights than whoever started it; aside: what is said as well where nobody can be asked.

    Raises PresenceDenied if there is nobody who could be asked.
    """
    lines = _lines(purpose, question)
    variable = _variable if trusts_environment else _no_variable
    requirement = variable("SSH_ASKPASS_REQUIRE").lower()
    has_display = bool(variable("DISPLAY") or variable("WAYLAND_DISPLAY"))
    askpass_first = requirement == "force" or (requirement == "prefer" and has_display)
    if not askpass_first:
        answer = _confirm_on_the_terminal(lines, event)
        if answer is not None:
            return answer
    program = variable("SSH_ASKPASS")
    if requirement != "never" and (askpass_first or has_display):
        return _confirm_by_askpass(program or DEFAULT_ASKPASS, lines, event)
    if program and requirement != "never":
        raise PresenceDenied(
            f"nobody can be asked to confirm (no terminal, and for SSH_ASKPASS no DISPLAY){aside}",
            "start the program that asked, such as ssh-agent, with DISPLAY set as well",
        )
    raise PresenceDenied(
        f"nobody can be asked to confirm (no terminal, no SSH_ASKPASS){aside}",
        "start the program that asked, such as ssh-agent, with SSH_ASKPASS and DISPLAY set; "
        "or, in CI, write `Presence auto` in pysk_config",
    )


def _lines(purpose: str, question: str) -> list[str]:
    return [printable(line) for line in (purpose, question) if line]


def _variable(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def _no_variable(_name: str) -> str:
    return ""


def _open_terminal() -> int | None:
    try:
        return posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return None


def _confirm_on_the_terminal(lines: list[str], event: Event) -> int | None:
    """Return the answer, None if there is no terminal."""
    terminal = _open_terminal()
    if terminal is None:
        return None
    try:
        return _confirm_on_terminal(terminal, lines, event)
    except (OSError, termios.error):
        # It is no terminal for whoever has lost it, such as a process in the background whose shell is gone.
        return None
    finally:
        posix.close(terminal)


def _confirm_on_terminal(terminal: int, lines: list[str], event: Event) -> int:
    # Keys pressed before the question was seen are no answer to it.
    termios.tcflush(terminal, termios.TCIFLUSH)
    text = "".join(f"\nlibpysk: {line}" for line in lines)[1:]
    _write(terminal, f"{text} Press Enter to confirm, or type no: ".encode(), event)
    while not event.is_set():
        if select.select([terminal], [], [], TICK)[0]:
            try:
                answer = posix.read(terminal, _MAX_ANSWER)
            except BlockingIOError:  # another program has read it
                continue
            # Whoever pressed ^C meant it, whatever they pressed next.
            if event.is_set():
                break
            if answer.strip().lower() in (b"", b"y", b"yes") and answer.endswith(b"\n"):
                return CONFIRMED
            return REFUSED
    try:
        posix.write(terminal, b"\n")
    except BlockingIOError:  # whoever looks there sees no more than before
        pass
    return UNANSWERED


def _write(terminal: int, text: bytes, event: Event) -> None:
    """Write as the terminal takes it, which may be stopped, or have room for a part only, until event is set."""
    while text and not event.is_set():
        if select.select([], [terminal], [], TICK)[1]:
            try:
                text = text[posix.write(terminal, text) :]
            except BlockingIOError:  # it has room for less than a character
                select.select([], [], [], TICK)


def _confirm_by_askpass(program: str, lines: list[str], event: Event) -> int:
    """Ask by a program: it agrees by ending well, and printing nothing or yes (readpass.c, ask_permission())."""
    from .child import NotStarted, running

    answer: bytes = b""
    try:
        with running([program, "\n".join(lines)], {"SSH_ASKPASS_PROMPT": "confirm"}) as child:
            while child.status is None:
                answer = (answer + child.read())[:_MAX_ANSWER]
                if child.status is None and event.is_set():
                    return UNANSWERED
    except NotStarted as reason:
        raise PresenceDenied(
            f"{program} cannot be started to ask for confirmation ({reason})", "install it or set SSH_ASKPASS"
        ) from None
    return CONFIRMED if child.status == 0 and answer.strip().lower() in (b"", b"yes") else REFUSED
