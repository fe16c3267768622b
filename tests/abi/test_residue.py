"""What is left of secrets in the memory of a host that goes on: Python can wipe neither bytes nor text."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support import sk_host
from support.openssh import Person

from sk_provider.authenticator.key_handle import SealingKeeper
from sk_provider.authenticator.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

MOST_OF_A_PRIVATE_KEY, MOST_OF_THE_SECRET = 3, 12
"""Copies that a test puts up with, after four operations that each read and write the store, and open the key."""


def events(output: IO[bytes]) -> dict[str, sk_host.Event]:
    """Return the last event of each label, once the host has come to rest."""
    found: dict[str, sk_host.Event] = {}
    while "rest" not in found:
        event = json.loads(output.readline())
        found[event["label"]] = event
    return found


def writable_memory(process: int) -> Iterator[bytes]:
    with open(f"/proc/{process}/mem", "rb", buffering=0) as content:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            place, access, *_ = line.split()
            if access.startswith("rw"):
                first, last = (int(address, 16) for address in place.split("-"))
                content.seek(first)
                yield content.read(last - first)


def test_few_copies_of_a_private_key_and_of_the_stores_secret_are_left(
    host: Path, library: Path, person: Person
) -> None:
    process = subprocess.Popen(
        (host, "rest", library),
        env=person.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        found = events(process.stdout)
        assert [found[label]["rc"] for label in ("enroll", "sign")] == [0, 0]
        state = Store.open(str(person.store)).read()
        key = SealingKeeper(state.store_id, state.secret).open(
            bytes.fromhex(found["enroll"]["key_handle"]), sk_host.RP_ID_HASH
        )
        assert key is not None
        memory = list(writable_memory(process.pid))
        process.communicate(timeout=60)
    assert sum(part.count(key._private_key) for part in memory) <= MOST_OF_A_PRIVATE_KEY
    assert 0 < sum(part.count(state.secret) for part in memory) <= MOST_OF_THE_SECRET
