"""What is requested of a directory, done in this process, which may be one of its own for that: see child."""

from __future__ import annotations

from sk_provider.errors import DirectoryError, SecurityKeyError

from . import exchange, load, split
from .exchange import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .exchange import Request

_GRACE = 1
"""Seconds after the deadline, by which whoever has asked has ended the process."""
_MEMORY = 512 << 20
"""Bytes that the process may take, whatever a server sends to libraries that read it whole."""


def carry_out(request: Request) -> Answer:
    """Return what comes of a request.

    Raises DirectoryError and ConfigurationError if the directory cannot be asked.
    """
    kind: Any = load(split(request.url)[0], own_only=request.own_only)
    answer = Answer()
    if request.action == exchange.LOOK_UP:
        for record in kind.look_up(request.url, request.user, request.settings, answer.leave_out):
            if record.user == request.user:
                answer.records.append(record)
            else:
                answer.leave_out(f"{request.url} has answered with another user's key; ask its administrator")
    elif not hasattr(kind, "add") or not hasattr(kind, "remove"):
        raise DirectoryError(f"{request.url} cannot be written by this program", "write it with its own tools")
    elif request.action != exchange.REMOVE and request.handle_digest and not hasattr(kind, "replace"):
        raise DirectoryError(
            f"{request.url} cannot have a record replaced by this program", "remove it, and add the other"
        )
    elif request.action == exchange.CHECK:
        if hasattr(kind, "check"):
            kind.check(request.url, request.user, request.handle_digest, request.settings)
    elif request.action == exchange.ADD:
        kind.add(request.url, request.record, request.settings)
    elif request.action == exchange.REPLACE:
        answer.removed = kind.replace(request.url, request.handle_digest, request.record, request.settings)
    else:
        answer.removed = kind.remove(request.url, request.user, request.handle_digest, request.settings)
    return answer


def main() -> None:
    """Carry out the request on standard input, and write the answer to standard output."""
    import os
    import resource
    import signal
    import sys

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most), most))
    # There may be a password in it.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A library may print what it likes.
    output = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    # What the host ignores or blocks is inherited.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    request = exchange.parse_request(sys.stdin.buffer.read())
    # Whoever has asked may be killed before it can end this process.
    signal.alarm(int(request.settings.deadline) + _GRACE)
    try:
        answer = carry_out(request)
    except SecurityKeyError as error:
        answer = Answer()
        answer.failure = error.happened, error.remedy
    except Exception as error:  # noqa: BLE001 - a library's, or a third party's
        answer = Answer()
        answer.failure = (
            f"{request.url} cannot be asked ({type(error).__name__})",
            "report this as a bug of libpysk, with the URL",
        )
    content = exchange.answer_to_bytes(answer)
    if len(content) > exchange.MAX_ANSWER:
        answer = Answer()
        answer.failure = f"{request.url} has too many keys for one user", "ask its administrator"
        content = exchange.answer_to_bytes(answer)
    while content:
        content = content[os.write(output, content) :]
