from __future__ import annotations

import errno
import os
import stat
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
def fail_to_last(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the disk fail as a name in a directory shall last, once after so many that do: the new name is there."""
    fsync = os.fsync
    left = -1

    def failing(fd: int) -> None:
        nonlocal left
        fsync(fd)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            left -= 1
            if left == -1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    def fail(after: int) -> None:
        nonlocal left
        left = after

    monkeypatch.setattr(os, "fsync", failing)
    return fail


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def make_device(store: Store, person: Person) -> Callable[[str], Device]:
    return lambda name: Device(store, person, name)


@pytest.fixture
def device(make_device: Callable[[str], Device]) -> Device:
    return make_device("fido2.1")
