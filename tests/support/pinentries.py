"""Debian's pinentries, unpacked, for a copy of the installed package that asks by one of them."""

from __future__ import annotations

from support import debian
from support.provider_tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def program(kind: str, folder: Path) -> Path:
    """Return the path of a program, in a folder, that is pinentry-tty or pinentry-curses."""
    package = f"pinentry-{kind}"
    # Of another release they have other names; of the C library there is one already.
    needed = [each for each in debian.depends(package) if each.startswith("lib") and each != "libc6"]
    root = debian.unpack(package, *needed)
    libraries = ":".join(str(path) for path in (*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")))
    path = folder / package
    path.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {root}/usr/bin/{package} "$@"\n')
    path.chmod(0o755)
    return path


def provider(pinentry: Path, folder: Path) -> Path:
    """Return the library of a copy, in a folder, whose pinentry is at that path."""
    tree = Tree(folder / "tree")
    tree.append("asking/pins.py", f"PINENTRY = {str(pinentry)!r}")
    tree.carry()
    return tree.library
