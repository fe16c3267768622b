"""The transport that pysk_transport(7) shows, by the kit, as the page says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from support import manual_page
from support.hurried import Hurried

import sk_provider
from sk_provider.testing import ReportConformance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def page_block(beginning: str) -> dict[str, Any]:
    """Return the names that a block of the page defines."""
    page = Path(sk_provider.__file__).parent / "manual/pysk_transport.7"
    (block,) = [lines for lines in manual_page.blocks(page.read_text()) if lines[0].startswith(beginning)]
    names: dict[str, Any] = {}
    exec("\n".join(block), names)
    return names


class TestDoor(Hurried, ReportConformance):
    """The page's own test, in less time."""

    scheme = "door"
    transport = ModuleType("pysk_door")
    connect = page_block("from sk_provider.testing")["TestDoor"].connect


vars(TestDoor.transport).update(page_block('"""door:'))
