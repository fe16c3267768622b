"""These tests run in a virtual machine, whose kernel makes USB HID devices of what `pysk serve uhid:` tells it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from support import vm
from support.elsewhere import Place
from support.openssh import Person
from support.serve import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 6000  # seconds for the boot and all tests, those that take long included


def pytest_configure(config: pytest.Config) -> None:
    run = functools.partial(vm.run, timeout=TIMEOUT - 60)
    config.pluginmanager.register(Place(Path(__file__).parent, run, timeout=TIMEOUT))


@pytest.fixture
def person(person: Person) -> Person:
    """Somebody who has configured nothing: what is plugged in is used."""
    person.config.write_text("")
    return person


@pytest.fixture(scope="module")
def token() -> Iterator[str]:
    """The path of a token's hidraw device; it needs no touch, and tests set no PIN on it.

    It is unplugged before the next module, whose tests may want to have no other token than their own.
    """
    with serve("uhid:") as served:
        yield served.names[0]
