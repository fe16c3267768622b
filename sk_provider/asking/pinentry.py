"""Asking for a PIN by pinentry, GnuPG's program for that, which comes as a window or on a terminal.

It speaks Assuan on its standard streams (libassuan's manual, "Client requests" and "Server responses"; pinentry's,
"Protocol").
"""

from __future__ import annotations

import os

from . import session_bus
from .child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .event import Event

_MAX_LINE = 1000
"""Bytes of a line, without its end."""
_MAX_OUTPUT = 1 << 16
"""Bytes that it may print in all."""
_CODE = 0xFFFF
"""The bits of an error's number that are its code, beside its source."""
_UNANSWERED = (62, 99, 198)
"""GPG_ERR_TIMEOUT, GPG_ERR_CANCELED, GPG_ERR_FULLY_CANCELED."""


class PinentryFailed(Exception):
    """Pinentry cannot be started, has ended, or has given what is no answer."""


class _Refused(Exception):
    """Pinentry has answered a request with ERR. code: libgpg-error's."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def get_pin(
    program: str, description: str, problem: str, seconds: int, event: Event, terminal: str | None
) -> str | None:
    """Ask by a pinentry; return None if the person has cancelled it, or once event is set.

    program: its path; description: what the PIN is for, of one or more lines; problem: what was wrong with the last
    answer, or ""; seconds: the person's time; terminal: the path of the terminal that it may use, None for none.

    Raises PinentryFailed.
    """
    try:
        child = Child([program], session_bus.variables(), has_input=True)
    except OSError as error:
        raise PinentryFailed(f"{program} cannot be started ({error.strerror})") from None
    options = {
        "ttyname": terminal,
        "ttytype": terminal and os.environ.get("TERM"),
        "display": os.environ.get("DISPLAY"),
    }
    requests = {"SETTITLE": "libpysk", "SETPROMPT": "PIN:", "SETDESC": description, "SETERROR": problem}
    with child:
        pinentry = _Pinentry(child, event)
        try:
            pinentry.greeting()
            for name, value in options.items():
                if value:
                    pinentry.try_request(f"OPTION {name}={value}")
            pinentry.try_request(f"SETTIMEOUT {seconds}")
            for command, text in requests.items():
                if text:
                    pinentry.try_request(f"{command} {_escaped(text)}")
            return pinentry.request(b"GETPIN").decode()
        except _Unanswered:
            return None
        except _Refused as refused:
            if refused.code in _UNANSWERED:
                return None
            raise PinentryFailed(f"{program} has failed (error {refused.code})") from None
        except UnicodeDecodeError:
            raise PinentryFailed(f"{program} has given a PIN that is not UTF-8 text") from None
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
            if self._child.status is not None:
                raise EOFError
            if self._event.is_set():
                raise _Unanswered
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
