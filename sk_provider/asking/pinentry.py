"""Asking for a PIN by pinentry, GnuPG's program for that, which comes as a window or on a terminal.

It speaks Assuan on its standard streams (libassuan's manual, "Client requests" and "Server responses"; pinentry's,
"Protocol").
"""

from __future__ import annotations

import os

from . import session_bus
from .child import Child, NotStarted, running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .event import Event

_MAX_LINE = 1000
"""Bytes of a line, without its end."""
_MAX_OUTPUT = 1 << 16
"""Bytes that it may print in all."""
_CODE = 0xFFFF
"""The bits of an error's number that are its code, beside its source."""
_TIMEOUT = 62
"""GPG_ERR_TIMEOUT."""
_DECLINED = (99, 114, 198)
"""GPG_ERR_CANCELED, GPG_ERR_NOT_CONFIRMED, GPG_ERR_FULLY_CANCELED."""


class PinentryFailed(Exception):
    """Pinentry cannot be started, has ended, or has given what is no answer."""


class _Declined(Exception):
    """The person has cancelled it, or does not agree."""


class _Refused(Exception):
    """Pinentry has answered a request with ERR. code: libgpg-error's."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def get_pin(
    program: str,
    description: str,
    problem: str,
    seconds: int,
    event: Event,
    terminal: str | None,
    wanted: str = "PIN",
) -> str | None:
    """Ask by a pinentry; return None if the person has cancelled it, or once event is set.

    program: its path; description: what the PIN is for, of one or more lines; problem: what was wrong with the last
    answer, or ""; seconds: the person's time; terminal: the path of the terminal that it may use, None for none;
    wanted: what is asked for.

    Raises PinentryFailed.
    """
    texts = {"SETPROMPT": f"{wanted}:", "SETDESC": description, "SETERROR": problem}
    try:
        answer = _ask(program, texts, b"GETPIN", seconds, event, terminal)
        return None if answer is None else answer.decode()
    except _Declined:
        return None
    except UnicodeDecodeError:
        raise PinentryFailed(f"{program} has given a PIN that is not UTF-8 text") from None


def confirm(program: str, question: str, seconds: int, event: Event, terminal: str | None) -> bool | None:
    """Ask by a pinentry whether the person agrees; return None if nobody has answered, or once event is set.

    The parameters are those of get_pin(). Raises PinentryFailed.
    """
    try:
        answer = _ask(program, {"SETDESC": question}, b"CONFIRM", seconds, event, terminal)
    except _Declined:
        return False
    return None if answer is None else True


def _ask(
    program: str, texts: dict[str, str], request: bytes, seconds: int, event: Event, terminal: str | None
) -> bytes | None:
    """Return the answer to a request that is made after a pinentry was given texts, None if there is none.

    Raises PinentryFailed, and _Declined if the person has chosen to give none.
    """
    options = {
        "ttyname": terminal,
        "ttytype": terminal and os.environ.get("TERM"),
        "display": os.environ.get("DISPLAY"),
    }
    try:
        with running([program], session_bus.variables(), has_input=True) as child:
            pinentry = _Pinentry(child, event)
            pinentry.greeting()
            for name, value in options.items():
                # A terminal's type is what the other end of a login says.
                if value and value.isprintable():
                    pinentry.try_request(f"OPTION {name}={value}")
            pinentry.try_request(f"SETTIMEOUT {seconds}")
            for command, text in {"SETTITLE": "libpysk", **texts}.items():
                if text:
                    pinentry.try_request(f"{command} {_escaped(text)}")
            return pinentry.request(request)
    except NotStarted as reason:
        raise PinentryFailed(f"{program} cannot be started ({reason})") from None
    except _Unanswered:
        return None
    except _Refused as refused:
        if refused.code == _TIMEOUT:
            return None
        if refused.code in _DECLINED:
            raise _Declined from None
        raise PinentryFailed(f"{program} has failed (error {refused.code})") from None
    except (OSError, EOFError, ValueError):
        raise PinentryFailed(f"{program} does not speak as a pinentry does") from None


class _Unanswered(Exception):
    """Waiting for an answer makes no sense any more."""


class _Pinentry:
    """What is said to a pinentry and by it. Raises OSError, EOFError or ValueError if it does not do its part."""

    def __init__(self, child: Child, event: Event) -> None:
        self._child = child
        self._event = event
        self._buffer = b""
        self._printed = 0

    def greeting(self) -> None:
        """Wait until it is ready."""
        self._response()

    def try_request(self, line: str) -> None:
        """Make a request that it need not know."""
        try:
            self.request(line.encode("utf-8", "surrogateescape")[:_MAX_LINE])
        except _Refused:
            pass

    def request(self, line: bytes) -> bytes:
        """Make a request, and return its data. Raises _Refused, and _Unanswered once event is set."""
        self._child.write(line)
        return self._response()

    def _response(self) -> bytes:
        data = b""
        while True:
            line = self._line()
            keyword, _, rest = line.partition(b" ")
            match keyword:
                case b"OK":
                    return data
                case b"ERR":
                    raise _Refused(int(rest.split(b" ", 1)[0]) & _CODE)
                case b"D":
                    data += _unescaped(rest)
                case b"INQUIRE":
                    self._child.write(b"CAN")
                case b"S":
                    pass
                case _:
                    if not line.startswith(b"#"):
                        raise ValueError(keyword)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            # One at the person's terminal ends by their ^C as well.
            if self._event.is_set():
                raise _Unanswered
            if self._child.status is not None:
                raise EOFError
            piece = self._child.read()
            self._printed += len(piece)
            self._buffer += piece
            if self._printed > _MAX_OUTPUT:
                raise ValueError(self._printed)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _escaped(text: str) -> str:
    """Return text as an argument of a request, of at most _MAX_LINE bytes with the request."""
    escaped = ""
    for character in text:
        piece = f"%{ord(character):02X}" if character in "%\r\n" else character
        if len((escaped + piece).encode("utf-8", "replace")) > _MAX_LINE - len("SETPROMPT "):
            break
        escaped += piece
    return escaped


def _unescaped(data: bytes) -> bytes:
    first, *others = data.split(b"%")
    return first + b"".join(bytes([int(other[:2], 16)]) + other[2:] for other in others)
