"""People with tokens behind Unix sockets, and relays in between that see every report."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.relay import Relay
from support.serve import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.relay import Connect, Spoil


@pytest.fixture
def sockets() -> Iterator[Path]:
    # A socket's path must be short, which a test's folder is not.
    with tempfile.TemporaryDirectory(prefix="pysk-") as folder:
        yield Path(folder)


@pytest.fixture
def connect(sockets: Path) -> Connect:
    """Serve a token and put a relay before it; each call makes a new one."""
    number = 0

    @contextmanager
    def connect(spoil: Spoil | None = None, *options: str, presence: str = "auto") -> Iterator[Relay]:
        nonlocal number
        number += 1
        token, relayed = sockets / f"token{number}", sockets / f"relay{number}"
        with ExitStack() as stack:
            stack.enter_context(serve(*options, f"unix:{token}", presence=presence))
            yield stack.enter_context(Relay(relayed, token, spoil))

    return connect
