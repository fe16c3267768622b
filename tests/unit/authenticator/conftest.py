from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator

import pytest
from support.soft_token import Device, Person

from sk_provider.authenticator.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    # In memory where there is such a folder: what a test of behaviour costs is else the disk's time alone.
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Store.create(f"{folder}/store")


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def make_device(store: Store, person: Person) -> Callable[[str], Device]:
    return lambda name: Device(store, person, name)


@pytest.fixture
def device(make_device: Callable[[str], Device]) -> Device:
    return make_device("fido2.1")
