"""What pysk's commands say of keys in a TPM, and of a TPM that cannot be used."""

from __future__ import annotations

import json
import subprocess

from support.openssh import PIN, PIN_PROMPT, Person, assert_signs, enrolled
from support.swtpm import Manager, Swtpm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KIND = "ecdsa-sk"


def run(person: Person, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Run pysk as a script does."""
    return subprocess.run(
        [person.pysk, *arguments],
        input=answer, text=True, env=person.environment, cwd=person.folder, check=False, capture_output=True,
        timeout=60,
    )  # fmt: skip


def address(owner: Person, manager: Manager) -> str:
    return f"{manager.address}@{owner.store}"


def devices(owner: Person, address: str) -> dict[str, Any]:
    """Return what pysk devices tells of an address."""
    (told,) = json.loads(run(owner, "devices", "--json", address).stdout)
    assert isinstance(told, dict)
    return told


def test_a_tpm_is_listed_before_and_after_its_first_key(owner: Person, manager: Manager) -> None:
    told = devices(owner, address(owner, manager))
    assert told["status"] == "not-made"
    assert told["remedy"].startswith("enroll a key with -O device=")
    assert not owner.store.exists()
    enrolled(owner, KIND)
    told = devices(owner, address(owner, manager))
    assert (told["status"], told["problem"], told["ecdsa_sk"], told["ed25519_sk"]) == ("ready", None, True, False)
    assert (told["pin"], told["resident_keys_left"], told["transports"]) == ("not-set", 100, ["internal"])
    assert told["name"] == "pysk keys in the TPM"
    done = run(owner, "devices")
    assert done.returncode == 0, done
    assert address(owner, manager) in done.stdout


def test_it_is_tried_from_end_to_end(owner: Person, manager: Manager) -> None:
    enrolled(owner, KIND)
    done = run(owner, "try", "--json", address(owner, manager))
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert told["succeeded"]
    assert {step["key_type"] for step in told["steps"]} == {None, KIND}


def test_its_resident_keys_are_listed_and_deleted(owner: Person, manager: Manager) -> None:
    owner.set_pin(PIN)
    enrolling, _ = owner.enroll("id", KIND, "resident", answers=[(PIN_PROMPT, PIN)])
    assert enrolling.status == 0, enrolling
    done = run(owner, "keys", "list", "--json", answer=f"{PIN}\n")
    (key,) = json.loads(done.stdout)
    assert (key["type"], key["application"]) == ("ecdsa-sk", "ssh:")
    assert run(owner, "keys", "delete", "--yes", key["key"], answer=f"{PIN}\n").returncode == 0
    assert json.loads(run(owner, "keys", "list", "--json", answer=f"{PIN}\n").stdout) == []


def test_where_it_was_cleared_each_command_says_so_and_a_reset_begins_anew(
    owner: Person, tpm: Swtpm, manager: Manager
) -> None:
    key = enrolled(owner, KIND)
    tpm.clear()
    place = address(owner, manager)
    told = devices(owner, place)
    assert told["status"] == "failed"
    assert "cleared" in told["problem"]
    for arguments in (["keys", "list"], ["pin", "set"], ["try"], ["devices"]):
        done = run(owner, *arguments, place, answer=f"{PIN}\n")
        assert done.returncode == 1
        assert "was cleared" in done.stderr
        assert "pysk reset" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done
    done = run(owner, "reset", "--yes", place)
    assert done.returncode == 0, done
    key.unlink()
    assert_signs(owner, enrolled(owner, KIND))


def test_where_it_is_locked_each_command_says_so_and_other_keys_go_on(
    owner: Person, tpm: Swtpm, manager: Manager
) -> None:
    owner.set_pin(PIN)
    key = enrolled(owner, KIND)
    tpm.lock()
    done = run(owner, "devices", address(owner, manager))
    assert done.returncode == 0, done
    assert "the TPM is locked" in done.stderr
    assert "blocked" in done.stdout
    done = run(owner, "keys", "list", answer=f"{PIN}\n")
    assert done.returncode == 1
    assert "the TPM is locked" in done.stderr
    assert_signs(owner, key)
    tpm.unlock()
    assert run(owner, "keys", "list", answer=f"{PIN}\n").returncode == 0


def test_where_none_answers_that_is_told(owner: Person, tpm: Swtpm) -> None:
    enrolled(owner, KIND)
    tpm.vanish()
    told = devices(owner, f"{tpm.address}@{owner.store}")
    assert (told["status"], told["remedy"]) == ("not-there", "start it, or correct the address")
