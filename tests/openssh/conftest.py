"""Which OpenSSH is under test, and an agent that somebody uses."""

from __future__ import annotations

import pytest
from support.openssh import Agent, Person, version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_report_header() -> str:
    return f"OpenSSH: {'.'.join(map(str, version()))}"


@pytest.fixture
def key(person: Person) -> Path:
    done, path = person.enroll("id", "ed25519-sk")
    assert done.status == 0, done
    return path


@pytest.fixture
def agent(person: Person) -> Iterator[Agent]:
    with Agent(person) as agent:
        yield agent
