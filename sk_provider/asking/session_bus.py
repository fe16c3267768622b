"""The message bus of the user's session, by which programs on the desktop are reached."""

from __future__ import annotations

import os
import stat

_VARIABLE = "DBUS_SESSION_BUS_ADDRESS"


def address() -> str | None:
    """Return the bus's D-Bus address, None if there is none.

    It is as the environment says, or else, as in an agent that was started before the session, the socket below
    /run/user, which must be the user's own.
    """
    named = os.environ.get(_VARIABLE)
    if named:
        return named
    user = os.geteuid()
    path = f"/run/user/{user}/bus"
    try:
        status = os.stat(path)
    except OSError:
        return None
    return f"unix:path={path}" if stat.S_ISSOCK(status.st_mode) and status.st_uid == user else None


def variables() -> dict[str, str]:
    """Return what a program's environment needs besides ours to find the bus."""
    found = address()
    return {} if found is None else {_VARIABLE: found}
