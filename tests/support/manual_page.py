"""The blocks of a manual page that people copy."""

from __future__ import annotations

import re
from pathlib import Path

import sk_provider

# What stands in mdoc(7) for characters that it has other uses for.
_ESCAPES = {r"\-": "-", r"\(aq": "'", r"\(ti": "~", r"\e": "\\"}


def blocks(source: str) -> list[list[str]]:
    """Return the lines of each literal block of a page in mdoc(7), as they are shown."""
    found = []
    for block in re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed$", source, re.DOTALL | re.MULTILINE):
        shown = re.sub(r"\\(\(..|.)", lambda escape: _ESCAPES[escape[0]], block)
        found.append(shown.splitlines())
    return found


def transport_block(beginning: str) -> str:
    """Return the block of pysk_transport(7) that begins so."""
    page = Path(sk_provider.__file__).parent / "manual/pysk_transport.7"
    (block,) = [lines for lines in blocks(page.read_text()) if lines[0].startswith(beginning)]
    return "\n".join(block) + "\n"


def write_transport(folder: Path) -> None:
    """Make the package pysk-door in a folder, as pysk_transport(7) has one do it."""
    package = folder / "pysk-door"
    package.mkdir()
    for name, beginning in (
        ("pyproject.toml", "[build-system]"),
        ("pysk_door.py", '"""door:'),
        ("test_door.py", "from sk_provider.testing"),
    ):
        (package / name).write_text(transport_block(beginning))
