"""Whether the packages were installed with their compiled bytecode, without which every use compiles them anew."""

from __future__ import annotations

import posix
import sys

PACKAGES = ("sk_provider", "fido2", "cryptography")


def advice(site_packages: str) -> str | None:
    """Return what to tell a person about the packages in a folder that have no bytecode, None if all have.

    pip compiles what it installs, unless it is told --no-compile.
    """
    compiled = f"__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    lacking = [
        name
        for name in PACKAGES
        if not _exists(f"{site_packages}/{name}/{compiled}") and _exists(f"{site_packages}/{name}/__init__.py")
    ]
    if not lacking:
        return None
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folders = " ".join(f"{site_packages}/{name}" for name in lacking)
    return (
        f"{', '.join(lacking)} installed without compiled bytecode, which slows every use; "
        f"run {python} -m compileall -q {folders}"
    )


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True
