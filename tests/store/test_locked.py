from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.openssh import Person, provider_lines
from support.processes import END_S, has_open, helper_of, in_time, interrupt
from support.serve import wait_until

from sk_provider.authenticator.store import LOCK_PATIENCE


@pytest.fixture
def key(person: Person) -> Path:
    done, path = person.enroll("key", "ed25519-sk")
    assert done.status == 0, done
    return path


@pytest.fixture
def locked(person: Person, key: Path) -> Iterator[None]:
    """The person's store, while another process changes it and does not come to an end."""
    descriptor = os.open(person.store / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


@pytest.mark.usefixtures("locked")
def test_a_locked_store_is_waited_for_no_longer_than_a_person_is(person: Person, key: Path) -> None:
    person.configure("Timeout 1")
    done, _ = in_time(1, lambda: person.sign(key))
    assert done.status == 255
    assert provider_lines(done.errors) == [
        "libpysk: nobody answered within 1 second; try again and touch the authenticator"
    ]


@pytest.mark.usefixtures("locked")
def test_waiting_for_a_locked_store_can_be_interrupted(person: Person, key: Path) -> None:
    document = person.folder / "document"
    document.write_bytes(b"a document")
    process = subprocess.Popen(
        ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(document)],
        env=person.environment, start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    helper = helper_of(process.pid)
    wait_until(lambda: has_open(helper, person.store / "lock"), "the waiting")
    assert END_S < LOCK_PATIENCE
    interrupt(process)
