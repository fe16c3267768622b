"""These tests run in namespaces of their own beside a pcscd, in whose virtual reader `pysk serve vpcd:` puts a card."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import pytest
from support import pcscd
from support.elsewhere import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 900  # seconds for all tests, which are slow where they need a virtual machine


def pytest_configure(config: pytest.Config) -> None:
    run = functools.partial(pcscd.run, timeout=TIMEOUT - 60)
    config.pluginmanager.register(Place(Path(__file__).parent, run, timeout=TIMEOUT))


@pytest.fixture(autouse=True)
def card_is_taken_out() -> Iterator[None]:
    """Let pcscd notice that a test's card is gone: it looks each 0.4 s, and never sees one that is exchanged faster."""
    yield
    time.sleep(pcscd.POLLING_INTERVAL)
