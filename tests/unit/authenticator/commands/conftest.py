"""The tests of what a client sees run twice: with keys that the store seals, and with keys in a TPM."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.soft_token import Device, Person
from support.swtpm import Swtpm

from sk_provider.authenticator.store import Store
from sk_provider.operation import Operation
from sk_provider.tpm.keeper import TpmKeepers
from sk_provider.tpm.state import TpmState
from sk_provider.tpm.tss import Tpm

TPM_TOO = (
    "test_client_pin",
    "test_credential_management",
    "test_extensions",
    "test_get_assertion",
    "test_make_credential",
)
"""The modules in which a keeper has a part."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make_keepers" in metafunc.fixturenames:
        marked = [mark for mark in metafunc.definition.iter_markers() if mark.name == "store_only"]
        has_part = metafunc.module.__name__.rpartition(".")[2] in TPM_TOO and not marked
        metafunc.parametrize("make_keepers", ["store", "tpm"] if has_part else ["store"], indirect=True)


@pytest.fixture(scope="module")
def swtpm() -> Iterator[Swtpm]:
    # Not for longer: elsewhere tests look whether this process has children left.
    with tempfile.TemporaryDirectory(prefix="pysk-tpm-") as folder, Swtpm(Path(folder)) as tpm:
        yield tpm


@pytest.fixture
def make_keepers(request: pytest.FixtureRequest) -> Iterator[Callable[[], TpmKeepers] | None]:
    """What makes the keepers of a power-up, None for the store's own."""
    if request.param == "store":
        yield None
        return
    tpm: Swtpm = request.getfixturevalue("swtpm")
    tpm.begin_anew()
    made: list[TpmKeepers] = []

    def make() -> TpmKeepers:
        keepers = TpmKeepers(Tpm(tpm.tcti, Operation(60), is_shared=False), "the store", "begin anew")
        made.append(keepers)
        return keepers

    yield make
    for keepers in made:
        keepers.forget()


@pytest.fixture
def store(make_keepers: Callable[[], TpmKeepers] | None) -> Iterator[Store]:
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        if make_keepers is None:
            yield Store.create(f"{folder}/store")
        else:
            keepers = make_keepers()
            store = Store.create(f"{folder}/store", keepers.new_state, TpmState)
            keepers.idle()
            yield store


@pytest.fixture
def make_device(store: Store, person: Person, make_keepers: Callable[[], TpmKeepers] | None) -> Callable[[str], Device]:
    return lambda name: Device(store, person, name, make_keepers)
