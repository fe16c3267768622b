"""Directories as tests make them: a file's line for a key that ssh-keygen has made."""

from __future__ import annotations

import base64
import getpass

from support.openssh import USER_VERIFIED, KeyFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def line(key: Path, user: str | None = None) -> str:
    """Return the line of a key file, for a user or for whoever runs the tests."""
    options = "verify-required" if KeyFile(key).flags & USER_VERIFIED else "-"
    public = key.with_name(key.name + ".pub").read_text().strip()
    type_name, blob, *comment = public.split(" ", 2)
    handle = base64.b64encode(KeyFile(key).key_handle).decode()
    return " ".join([user or getpass.getuser(), options, type_name, blob, handle, *comment])


def write(path: Path, *keys: Path) -> str:
    """Write a file of the records of these keys, and return its URL."""
    path.write_text("".join(f"{line(key)}\n" for key in keys))
    path.chmod(0o644)
    return f"file:{path}"
