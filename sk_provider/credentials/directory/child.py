"""A process of its own that asks a directory: it is ended at the deadline, whatever a library does there.

It runs the Python and the packages that this process runs, and has nothing else of it: no environment that could choose
code, no descriptor, no terminal.
"""

from __future__ import annotations

import time

from sk_provider import isolated
from sk_provider.errors import DirectoryError

from . import exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import subprocess

    from sk_provider.transport_api import Event

    from .exchange import Answer, Request

_PROGRAM = "from sk_provider.credentials.directory import carry_out; carry_out.main()"

_VARIABLES = ("KRB5CCNAME",)
"""What is handed on where the environment is trusted: where a person's Kerberos tickets are."""

_TICK = 0.1
_ENDS_WITHIN = 1.0
"""Seconds, of a process that was killed."""


def ask(request: Request, event: Event | None = None, *, trusts_environment: bool = False) -> Answer:
    """Have a process carry out a request, within the settings' deadline.

    event: ends the wait before that; trusts_environment: see Configuration.

    Raises DirectoryError if there is no answer, or if that is a failure, and the event's reason() if it is set.
    """
    import os
    import socket
    import subprocess

    environment = {name: os.environ[name] for name in _VARIABLES if trusts_environment and name in os.environ}
    deadline = time.monotonic() + request.settings.deadline
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = _start(request.url, theirs, environment)
        try:
            # A host that is not prepared for it would be ended by SIGPIPE.
            ours.sendall(exchange.request_to_bytes(request), getattr(socket, "MSG_NOSIGNAL", 0))
            ours.shutdown(socket.SHUT_WR)
            answer = exchange.parse_answer(_receive(ours, request, deadline, event))
        except (OSError, ValueError):
            raise DirectoryError(
                f"{request.url} cannot be asked, because the process that asks it ended",
                "report this as a bug of libpysk, with the URL",
            ) from None
        finally:
            process.kill()
            try:
                process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                # It hangs in the kernel, and ends when that lets it go.
                pass
    error = answer.error()
    if error is not None:
        raise error
    return answer


def _start(url: str, theirs: socket.socket, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the process, with this socket for standard input and output. Raises DirectoryError if that fails."""
    import subprocess

    command = isolated.python(_PROGRAM)
    try:
        # In a session of its own: a terminal's Ctrl-C is for the host, which knows what it interrupts.
        return subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise DirectoryError(
            f"{url} cannot be asked, because {command[0]} cannot be started ({error.strerror})",
            "install that program, or raise this one's limits (ulimit -u, ulimit -v)",
        ) from None


def _receive(ours: socket.socket, request: Request, deadline: float, event: Event | None) -> bytes:
    """Return all that the process sends until it ends. Raises DirectoryError if that takes too long, or is too much."""
    import select

    poll = select.poll()
    poll.register(ours, select.POLLIN)
    content = b""
    while len(content) <= exchange.MAX_ANSWER:
        if event is not None and event.is_set():
            raise event.reason()
        if time.monotonic() >= deadline:
            raise exchange.too_late(request)
        if poll.poll(_TICK * 1000):
            piece = ours.recv(exchange.MAX_ANSWER)
            if not piece:
                return content
            content += piece
    raise ValueError
