from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sk_provider.authenticator import resident
from sk_provider.authenticator.store import Store

WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A process that uses the store, with all that it has said."""

    def __init__(self, path: str, number: int, *count: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), path, str(number), *count],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.errors = ""
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        code = self.process.wait(timeout=120)
        for thread in self._threads:
            thread.join(timeout=30)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def acknowledged(self) -> tuple[list[int], set[str], set[str]]:
        """The counters, the credentials that were made, and those whose deletion was begun."""
        counters, made, deleted = [], set(), set()
        for line in self.lines:
            if not line.endswith("\n"):
                continue
            word, *arguments = line.split()
            if word == "store":
                continue
            if word == "deleting":
                deleted.add(arguments[1])
            else:
                counters.append(int(arguments[0]))
                made.add(arguments[1])
        return counters, made, deleted


def make_room(path: str) -> None:
    """Keep the store small enough that the next round has slots, as a person would by deleting keys."""
    with Store.open(path).transaction() as state:
        for credential_id in list(state.credentials)[:-10]:
            del state.credentials[credential_id]


@pytest.mark.parametrize("workers", [1, 4])
def test_nothing_acknowledged_is_lost_when_processes_are_killed_at_random(tmp_path: Path, workers: int) -> None:
    path = str(tmp_path / "store")
    chance = random.Random(workers)
    counter = 0
    kept: set[str] = set()
    store_id = None
    for round_number in range(12):
        running = [Worker(path, round_number * 10 + n) for n in range(workers)]
        deadline = time.monotonic() + 60
        while not all(worker.lines for worker in running) and time.monotonic() < deadline:
            time.sleep(0.01)
            assert all(worker.process.poll() is None for worker in running), running[0].errors
        time.sleep(chance.uniform(0.0, 0.25))
        for worker in running:
            worker.kill()
        store = Store.open(path)
        assert store_id in (None, store.store_id)
        store_id = store.store_id
        state = store.read()
        for worker in running:
            counters, made, deleted = worker.acknowledged()
            assert counters == sorted(set(counters))
            assert max(counters, default=0) <= state.counter
            kept |= made - deleted
        assert kept <= {credential_id.hex() for credential_id in state.credentials}
        assert all(resident.find(state, credential_id) for credential_id in state.credentials)
        assert state.counter >= counter
        make_room(path)
        state = store.read()
        counter = state.counter
        kept &= {credential_id.hex() for credential_id in state.credentials}
        assert set(os.listdir(path)) <= {"state", "lock"}
    assert counter > 12 * workers


def test_processes_killed_while_they_create_a_store_leave_none_or_a_whole_one(tmp_path: Path) -> None:
    chance = random.Random(1)
    found = 0
    for number in range(12):
        path = str(tmp_path / f"store-{number}")
        running = [Worker(path, n, "0") for n in range(2)]
        time.sleep(chance.uniform(0.0, 0.5))
        for worker in running:
            worker.kill()
        left = Store.find(path)
        found += left is not None
        created = Store.create(path)
        assert left is None or left.store_id == created.store_id


def test_twenty_processes_at_once_share_one_store(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "store")
    running = [Worker(path, number, "4") for number in range(20)]
    for worker in running:
        assert worker.wait() == 0, worker.errors
    assert len({worker.lines[0] for worker in running}) == 1
    counters: list[int] = []
    made: set[str] = set()
    deleted: set[str] = set()
    for worker in running:
        own_counters, own_made, own_deleted = worker.acknowledged()
        counters += own_counters
        made |= own_made
        deleted |= own_deleted
    state = Store.open(path).read()
    assert sorted(counters) == list(range(1, 20 * 8 + 1))
    assert state.counter == 20 * 8
    assert {credential_id.hex() for credential_id in state.credentials} == made - deleted
    assert len(made - deleted) == 20 * 3
    assert set(os.listdir(path)) == {"state", "lock"}
