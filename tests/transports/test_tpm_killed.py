"""Who is killed while a TPM works for them, and what is in the memory of who signs by one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from support.openssh import Person, Signature, enrolled, provider_lines
from support.processes import helper_of
from support.swtpm import Manager, Swtpm

KIND = "ecdsa-sk"


def counter(owner: Person, key: Path) -> int:
    """Have the key sign, fail unless that verifies and nothing is said, and return the signature counter."""
    done, signature = owner.sign(key)
    assert done.status == 0, done
    assert provider_lines(done.errors) == []
    assert owner.verify(key, signature).returncode == 0
    return Signature(signature.read_text()).counter


def test_who_is_killed_at_any_moment_costs_others_nothing(owner: Person, tpm: Swtpm, manager: Manager) -> None:
    key = enrolled(owner, KIND)
    counters = [counter(owner, key)]
    document = owner.folder / "killed"
    document.write_text("a message")
    before = manager.commands
    counters.append(counter(owner, key))
    for number in range(1, manager.commands - before + 1, 2):
        process: list[subprocess.Popen[bytes]] = []
        left = number

        def kill(command: bytes, process: list[subprocess.Popen[bytes]] = process) -> None:
            nonlocal left
            left -= 1
            if not left:
                # What it asked for is done, of which it never hears.
                tpm.send(command)
                os.kill(helper_of(process[0].pid), signal.SIGKILL)
                raise ConnectionError

        manager.answer = kill
        process.append(
            subprocess.Popen(
                ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, document],
                env=owner.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        assert process[0].wait(60) != 0
        manager.answer = lambda _: None
    counters.append(counter(owner, key))
    assert counters == sorted(set(counters))
    assert tpm.loaded() == []


def test_those_who_sign_beside_who_is_killed_all_succeed(owner: Person) -> None:
    key = enrolled(owner, KIND)
    randomly = random.Random(0)
    command = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key)]
    documents = [owner.folder / f"document{number}" for number in range(12)]
    running = []
    for document in documents:
        document.write_text("a message")
        running.append(
            subprocess.Popen(
                [*command, document],
                env=owner.environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in running[::2]:
        helper = helper_of(process.pid)
        time.sleep(randomly.uniform(0, 0.3))
        with suppress(ProcessLookupError):
            os.kill(helper, signal.SIGKILL)
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    assert [end for end in ends[1::2] if end[1] != 0 or provider_lines(end[0])] == []
    counters = [Signature(path.read_text()).counter for path in owner.folder.glob("document*.sig")]
    assert len(counters) == len(set(counters)) >= 6
