"""An OpenLDAP server, for the tests of one module."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from support.slapd import Slapd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    # A socket's path must be short, which a test's folder is not.
    with tempfile.TemporaryDirectory(prefix="pysk-") as folder, Slapd(Path(folder)) as slapd:
        yield slapd
