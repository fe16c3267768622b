"""A notification on the desktop, shown by a process of its own until its standard input ends.

So it is withdrawn however the process ends that wants it shown, and never keeps it waiting. See the Desktop
Notifications Specification 1.2, org.freedesktop.Notifications.
"""

from __future__ import annotations

import json
import os
import sys

from sk_provider import isolated

from . import child, session_bus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PATIENCE = 5
"""Seconds in which the bus, and who shows notifications, must answer."""
_MEMORY = 512 << 20
"""Bytes that the process may take, whatever it is sent."""

_FOR_GOOD = 0
"""What tells a server to show it until it is withdrawn, instead of for so many milliseconds."""
_CRITICAL = 2
"""The urgency of what is shown in a full screen too: without it, nothing goes on."""


class CannotShow(Exception):
    """Nothing can be shown. The sentence says why."""


def show(summary: str, body: str, seconds: int) -> Callable[[], None]:
    """Have it shown, and return what withdraws it; seconds: after which it is withdrawn in any case.

    Raises CannotShow if there is no session bus, or no process can be started.
    """
    if session_bus.address() is None:
        raise CannotShow("there is no session bus")
    program = isolated.python("from sk_provider.asking import desktop_notice; desktop_notice.main()")
    try:
        process = child.start(program, session_bus.variables(), has_input=True, is_silent=True)
    except child.NotStarted as reason:
        raise CannotShow(f"no process can be started ({reason})") from None
    text = json.dumps({"summary": summary, "body": body, "seconds": seconds})
    try:
        os.write(process.stdin.fileno(), f"{text}\n".encode())  # type: ignore[union-attr]  # a pipe was asked for
    except OSError:  # it has ended
        pass

    def withdraw() -> None:
        process.stdin.close()  # type: ignore[union-attr]  # as above
        child.reap(process)

    return withdraw


def main() -> None:
    """Show what the first line of standard input says, until standard input ends."""
    import resource
    import signal

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # What the host ignores or blocks is inherited.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.alarm(2 * _PATIENCE)
    text = json.loads(sys.stdin.readline())
    signal.alarm(text["seconds"] + 2 * _PATIENCE)
    _show_until_the_end(text["summary"], text["body"])


def _show_until_the_end(summary: str, body: str) -> None:
    import html

    from jeepney import DBusAddress, new_method_call
    from jeepney.io.blocking import open_dbus_connection

    notifications = DBusAddress(
        "/org/freedesktop/Notifications",
        bus_name="org.freedesktop.Notifications",
        interface="org.freedesktop.Notifications",
    )
    with open_dbus_connection(session_bus.address() or "", auth_timeout=_PATIENCE) as bus:

        def call(method: str, signature: str | None = None, *values: Any) -> tuple[Any, ...]:
            reply = bus.send_and_get_reply(new_method_call(notifications, method, signature, values), timeout=_PATIENCE)
            answer: tuple[Any, ...] = reply.body
            return answer

        # What is to be signed has names in it that others choose.
        if "body-markup" in call("GetCapabilities")[0]:
            body = html.escape(body, quote=False)
        hints = {"urgency": ("y", _CRITICAL), "transient": ("b", True)}
        arguments: tuple[Any, ...] = ("libpysk", 0, "dialog-password", summary, body, [], hints, _FOR_GOOD)
        number = call("Notify", "susssasa{sv}i", *arguments)[0]
        sys.stdin.read()
        call("CloseNotification", "u", number)
