"""The transport that pysk_transport(7) shows, by the kit, as the page says."""

from __future__ import annotations

from types import ModuleType

from support import manual_page
from support.hurried import Hurried

from sk_provider.testing import ReportConformance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def page_block(beginning: str) -> dict[str, Any]:
    """Return the names that a block of the page defines."""
    names: dict[str, Any] = {}
    exec(manual_page.transport_block(beginning), names)
    return names


class TestDoor(Hurried, ReportConformance):
    """The page's own test, in less time."""

    scheme = "door"
    transport = ModuleType("pysk_door")
    connect = page_block("from sk_provider.testing")["TestDoor"].connect


vars(TestDoor.transport).update(page_block('"""door:'))
