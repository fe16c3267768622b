"""Keys in the machine's own TPM, at /dev/tpmrm0, for who has configured nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.openssh import Person, Signature, assert_signs, sign_at_once
from support.processes import helper_of

DEVICE = "/dev/tpmrm0"
# For root what permissions say is no more than for others.
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")

pytestmark = pytest.mark.long


def enrolled(person: Person) -> Path:
    done, key = person.enroll("id", "ecdsa-sk", "device=tpm:")
    assert done.status == 0, done
    return key


def test_a_key_signs_for_several_at_once_beside_those_who_are_killed(person: Person) -> None:
    key = enrolled(person)
    assert_signs(person, key)
    document = person.folder / "killed"
    document.write_text("a message")
    for number in range(4):
        process = subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, document],
            env=person.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        helper = helper_of(process.pid)
        time.sleep(number / 2)
        with suppress(ProcessLookupError):
            os.kill(helper, signal.SIGKILL)
        process.wait(60)
    assert sign_at_once(person, key, 4) == []
    counters = {Signature(path.read_text()).counter for path in person.folder.glob("document*.sig")}
    assert len(counters) >= 4


def test_it_is_listed_and_who_may_not_use_it_is_told_how_to(person: Person) -> None:
    def devices(*program: str) -> dict[str, object]:
        done = subprocess.run(
            [*program, person.pysk, "devices", "--json"],
            env=person.environment, cwd="/", capture_output=True, text=True, check=False, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        (told,) = (each for each in json.loads(done.stdout) if each["address"] == "tpm:")
        assert isinstance(told, dict)
        return told

    enrolled(person)
    assert devices()["status"] == "ready"
    os.chmod(DEVICE, 0)
    try:
        told = devices(*UNPRIVILEGED)
    finally:
        os.chmod(DEVICE, 0o660)
    assert (told["status"], told["problem"]) == ("forbidden", f"this account may not use the TPM ({DEVICE})")
    assert "--groups tss" in str(told["remedy"])
