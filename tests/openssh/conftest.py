"""Which OpenSSH is under test, and an agent that somebody uses."""

from __future__ import annotations

import pytest
from support.openssh import Agent, Person, version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_report_header() -> str:
    return f"OpenSSH: {'.'.join(map(str, version()))}"


@pytest.fixture
def agent(person: Person) -> Iterator[Agent]:
    with Agent(person) as agent:
        yield agent
