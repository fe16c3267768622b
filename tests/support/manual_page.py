"""The blocks of a manual page that people copy."""

from __future__ import annotations

import re

# What stands in mdoc(7) for characters that it has other uses for.
_ESCAPES = {r"\-": "-", r"\(aq": "'", r"\(ti": "~", r"\e": "\\"}


def blocks(source: str) -> list[list[str]]:
    """Return the lines of each literal block of a page in mdoc(7), as they are shown."""
    found = []
    for block in re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed$", source, re.DOTALL | re.MULTILINE):
        shown = re.sub(r"\\(\(..|.)", lambda escape: _ESCAPES[escape[0]], block)
        found.append(shown.splitlines())
    return found
