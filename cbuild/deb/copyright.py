"""Prints the copyright file of a Debian package: what each of the Python packages in a folder says of its licence."""

from __future__ import annotations

import email.parser
import json
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

OURS = "sk-provider"
# What every Debian system has is not repeated: how such a text is known, and where it is.
COMMON = {
    "Apache License\n                           Version 2.0, January 2004": "/usr/share/common-licenses/Apache-2.0",
    "Mozilla Public License Version 2.0\n======": "/usr/share/common-licenses/MPL-2.0",
}

# What libraries hold that no file of their packages tells the licence of.
WITHIN = {
    "cffi": """Its library contains libffi, Copyright (c) 1996-2026 Anthony Green, Red Hat, Inc and others.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the ``Software''), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED ``AS IS'', WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.  IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.""",
}
# Of components that are named without one.
LICENCES = {"openssl": "Apache-2.0"}


def main() -> None:
    """Print it for the packages in the folder that is named. Raises ValueError if one of them tells no licence."""
    infos = sorted(Path(sys.argv[1]).glob("*.dist-info"), key=lambda info: (not info.name.startswith("sk_"), info.name))
    for info in infos:
        metadata = email.parser.HeaderParser().parsestr((info / "METADATA").read_text("utf-8"))
        name, version = metadata["Name"], metadata["Version"]
        heading = f"libpysk (Python's {name}) {version}"
        if name != OURS:
            heading = f"{name} {version}, below /usr/lib/pysk, as it is at https://pypi.org/project/{name}/{version}/"
        texts = list(_licences(info))
        if not texts:
            raise ValueError(f"{name} {version} has no file with its licence")
        if name in WITHIN:
            texts.append(WITHIN[name])
        print(f"{heading}\n{'=' * len(heading)}", *texts, sep="\n\n", end="\n\n\n")  # noqa: T201


def _licences(info: Path) -> Iterator[str]:
    """Yield the texts that a package says its licence with, and those of what its libraries hold of others."""
    folder = info / "licenses"
    # Older ones have them beside their metadata.
    for path in sorted(folder.rglob("*") if folder.is_dir() else info.glob("LICEN*")):
        if path.is_file():
            text = path.read_text("utf-8").strip("\n")
            common = next((place for begin, place in COMMON.items() if begin in text), None)
            yield f"{path.name}: on Debian systems, its text is in {common}." if common else text
    for path in sorted(info.glob("sboms/*.json")):
        components = json.loads(path.read_text("utf-8")).get("components", ())
        lines = [f"    {each['name']} {each['version']}: {_expression(each)}" for each in components]
        yield "\n".join(("Its library contains, under these licences (SPDX):", "", *lines))


def _expression(component: dict[str, Any]) -> str:
    """Return the licence of a component of a CycloneDX document. Raises KeyError if it is not known."""
    if "licenses" not in component:
        return LICENCES[component["name"]]
    return ", ".join(each.get("expression") or each["license"]["id"] for each in component["licenses"])


if __name__ == "__main__":
    main()
