"""Another package's transport, pigeon:, as pip would install it."""

from __future__ import annotations

import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest

METADATA = "Metadata-Version: 2.1\nName: pigeon\nVersion: 1\n"
# The second cannot be loaded, and the last is no transport.
ENTRY_POINTS = "[sk_provider.transports]\npigeon = pigeon_transport\nlame = no_such\n[others]\nowl = pigeon_transport\n"
MODULE = "pigeon_transport"
SOURCE = """
from sk_provider.transports import join

asked = []
held = []


def discover(location):
    return [location]


def open(location, configuration, operation, *, may_create):
    raise AssertionError(join("pigeon", location))


def open_holder(key_handle, locations, configuration, operation):
    asked.append((key_handle, locations))
    return held[0] if held else None
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package in a folder, from which modules are imported until the end of the test."""
    metadata = folder / "pigeon-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA)
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)


def is_loaded() -> bool:
    """Return whether any of its code was run."""
    return MODULE in sys.modules
