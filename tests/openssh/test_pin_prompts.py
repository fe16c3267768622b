"""Who asks for a PIN, and for how long it is remembered, as pysk_config has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest
from bench.sk_helper import HELPER
from support.keyrings import ANOTHER_SESSION, NO_KEYRINGS
from support.login import authorize, log_in, log_in_by_agent, succeeded
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, Agent, Person, provider_lines
from support.rebased import rebase
from support.traced import Home, of_pin, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sshd import Sshd

pytestmark = pytest.mark.usefixtures("keyring_alone")

NEW_PIN = "another horse"
COMMITS = 30
FEW_COMMITS = 3


@pytest.fixture
def strict(person: Person, server: Sshd, kind: str) -> Iterator[Path]:
    """Return a key that wants the PIN, and logs in to the server."""
    person.set_pin(PIN)
    _, key = person.enroll("id", kind, "verify-required")
    authorize(server, key, "verify-required")
    yield key
    forget(person)


def pysk(person: Person, *arguments: str, answers: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [person.pysk, *arguments],
        input=answers, env=person.environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip


def forget(person: Person) -> str:
    return pysk(person, "forget").stderr


def questions(person: Person) -> list[str]:
    path = person.folder / "questions"
    return path.read_text().splitlines() if path.exists() else []


def test_the_pin_is_asked_on_the_terminal_by_who_knows_what_it_is_for(
    person: Person, server: Sshd, strict: Path
) -> None:
    person.configure("Presence auto", "PinPrompt terminal")
    done = log_in(person, server, strict, [("PIN: ", WRONG_PIN), ("PIN: ", PIN)])
    assert done.status == 0, done
    assert "logged in" in done.screen
    assert PIN_PROMPT not in done.screen
    assert "libpysk: login as" in done.screen
    assert "with a key for ssh:" in done.screen
    assert f"libpysk: Security key: soft:{person.store}" in done.screen
    assert "libpysk: wrong PIN, 7 tries left" in done.screen
    assert PIN not in done.screen + done.errors
    assert provider_lines(done.errors) == []


def test_the_last_try_is_not_spent_unsaid(person: Person, server: Sshd, strict: Path) -> None:
    person.configure("Presence auto", "PinPrompt terminal")
    # The block after three wrong ones in a row ends with a new start of the machine, which a right one makes needless.
    for _ in range(2):
        log_in(person, server, strict, [("PIN: ", WRONG_PIN), ("PIN: ", "")])
    done = log_in(person, server, strict, [("PIN: ", "")])
    assert "6 tries left" not in done.screen
    assert provider_lines(done.errors) == ["libpysk: no PIN was entered; try again"]


def test_enrolling_asks_so_too(person: Person, kind: str) -> None:
    person.set_pin(PIN)
    person.configure("Presence auto", "PinPrompt terminal")
    done, key = person.enroll("id", kind, "resident", answers=[("PIN: ", PIN)])
    assert done.status == 0, done
    assert "libpysk: enrolling a key for ssh:" in done.screen
    assert PIN_PROMPT not in done.screen
    assert key.exists()


def test_an_agent_asks_by_ssh_askpass_and_says_what_for(person: Person, server: Sshd, strict: Path) -> None:
    person.configure("Presence auto", "PinPrompt askpass")
    with Agent(person, person.askpass(PIN)) as agent:
        assert agent.add(str(strict)).status == 0
        done = log_in_by_agent(person, server, agent)
    assert succeeded(done), done
    asked = questions(person)
    assert any(line.startswith("login as ") and line.endswith(", with a key for ssh:") for line in asked)
    assert "PIN: " in asked


def test_an_agent_without_ssh_askpass_says_what_is_missing(person: Person, server: Sshd, strict: Path) -> None:
    person.environment = {name: person.environment[name] for name in person.environment if "DISPLAY" not in name}
    helper = person.folder / "helper"
    program = person.environment.get("SSH_SK_HELPER", HELPER)
    helper.write_text(f"#!/bin/sh\nexec {program} 2>>{person.folder}/said\n")
    helper.chmod(0o700)
    with Agent(person, {"SSH_SK_HELPER": str(helper)}) as agent:
        assert agent.add(str(strict)).status == 0
        assert log_in_by_agent(person, server, agent).status == 255
    assert "libpysk: this key requires a PIN for every use; ssh-agent has nothing to ask with: start it with" in (
        (person.folder / "said").read_text()
    )


def test_a_remembered_pin_is_asked_for_once(person: Person, server: Sshd, strict: Path) -> None:
    person.configure("Presence auto", "RememberPin 10m")
    with Agent(person, person.askpass(PIN)) as agent:
        assert agent.add(str(strict)).status == 0
        for _ in range(3):
            done = log_in_by_agent(person, server, agent)
            assert succeeded(done), done
        assert forget(person) == "1 PIN forgotten\n"
        assert log_in_by_agent(person, server, agent).status == 255
    assert len([line for line in questions(person) if "Enter PIN" in line]) == 2


def test_a_rebase_of_many_commits_asks_for_the_pin_once(person: Person) -> None:
    person.set_pin(PIN)
    _, key = person.enroll("id", "ed25519-sk", "verify-required")
    person.configure("Presence auto", "RememberPin 10m")
    with Agent(person, person.askpass(PIN)) as agent:
        assert agent.add(str(key)).status == 0
        key.unlink()
        assert rebase(person, key.with_name("id.pub"), COMMITS, agent.environment) == ["G"] * COMMITS
    assert len([line for line in questions(person) if "Enter PIN" in line]) == 1
    assert forget(person) == "1 PIN forgotten\n"


def run_helper_after(person: Person, first: str) -> dict[str, str]:
    """Return the environment in which ssh-sk-helper runs after some code, and what it says goes to the file `said`."""
    program = person.folder / "helper"
    helper = person.environment.get("SSH_SK_HELPER", HELPER)
    program.write_text(
        f"#!{sys.executable}\n{first}\nimport os, sys\n"
        f"os.dup2(os.open({str(person.folder / 'said')!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)\n"
        f"os.execv({str(helper)!r}, sys.argv)\n"
    )
    program.chmod(0o700)
    return {"SSH_SK_HELPER": str(program)}


def test_another_session_finds_a_remembered_pin(person: Person, server: Sshd, strict: Path) -> None:
    person.configure("Presence auto", "RememberPin 10m")
    with Agent(person, person.askpass(PIN) | run_helper_after(person, ANOTHER_SESSION)) as agent:
        assert agent.add(str(strict)).status == 0
        for _ in range(2):
            assert succeeded(log_in_by_agent(person, server, agent))
    assert len([line for line in questions(person) if "Enter PIN" in line]) == 1


def test_without_keyrings_a_pin_is_asked_for_each_time_and_that_is_said(
    person: Person, server: Sshd, strict: Path
) -> None:
    person.configure("Presence auto", "RememberPin 10m")
    with Agent(person, person.askpass(PIN, PIN) | run_helper_after(person, NO_KEYRINGS)) as agent:
        assert agent.add(str(strict)).status == 0
        for _ in range(2):
            assert succeeded(log_in_by_agent(person, server, agent))
    assert len([line for line in questions(person) if "Enter PIN" in line]) == 2
    said = provider_lines((person.folder / "said").read_text())
    assert len(said) == 2
    assert said[0].startswith("libpysk: the PIN is not remembered, as the kernel keeps no keys here (Function not impl")


def test_a_remembered_pin_is_of_one_key_and_ends_with_its_time(person: Person, server: Sshd, strict: Path) -> None:
    _, other = person.enroll("other", "ed25519-sk", "verify-required", "application=ssh:other")
    person.configure("Presence auto", "RememberPin 2")
    with Agent(person, person.askpass(PIN, PIN, PIN)) as agent:
        assert agent.add(str(strict)).status == 0
        assert succeeded(log_in_by_agent(person, server, agent))
        time.sleep(3)
        assert succeeded(log_in_by_agent(person, server, agent))
        person.configure("Presence auto", "RememberPin 10m")
        assert agent.add(str(other)).status == 0
        other.rename(person.folder / "away")
        done, _ = person.sign(other, environment=agent.environment)
        assert done.status == 0, done
    assert len([line for line in questions(person) if "Enter PIN" in line]) == 3


def test_no_pin_is_remembered_unless_that_is_asked_for(person: Person, server: Sshd, strict: Path) -> None:
    person.configure("Presence auto", "Match application ssh:other", "RememberPin 10m")
    with Agent(person, person.askpass(PIN)) as agent:
        assert agent.add(str(strict)).status == 0
        assert succeeded(log_in_by_agent(person, server, agent))
        assert log_in_by_agent(person, server, agent).status == 255
    assert forget(person) == "0 PINs forgotten\n"


def test_a_remembered_pin_that_is_wrong_now_is_dropped_at_once(person: Person, server: Sshd, strict: Path) -> None:
    person.configure("Presence auto", "RememberPin 10m")
    with Agent(person, person.askpass(PIN, NEW_PIN)) as agent:
        assert agent.add(str(strict)).status == 0
        assert succeeded(log_in_by_agent(person, server, agent))
        pysk(person, "pin", "change", answers=f"{PIN}\n{NEW_PIN}\n")
        assert succeeded(log_in_by_agent(person, server, agent))
        assert pysk(person, "pin", "status").stdout == "a PIN is set, 8 tries left\n"
        assert succeeded(log_in_by_agent(person, server, agent))
    assert len([line for line in questions(person) if "Enter PIN" in line]) == 2


def test_a_remembered_pin_is_not_sent_where_a_try_is_missing(person: Person, server: Sshd, strict: Path) -> None:
    person.configure("Presence auto", "RememberPin 10m")
    with Agent(person, person.askpass(PIN, PIN)) as agent:
        assert agent.add(str(strict)).status == 0
        assert succeeded(log_in_by_agent(person, server, agent))
        with pytest.raises(subprocess.CalledProcessError):
            pysk(person, "keys", "list", answers=f"{WRONG_PIN}\n")
        assert succeeded(log_in_by_agent(person, server, agent))
    assert len([line for line in questions(person) if "Enter PIN" in line]) == 2


def test_whether_a_remembered_pin_is_used_and_why_not_is_in_the_trace(tmp_path: Path) -> None:
    home = Home(tmp_path)
    person = home.person
    home.configure("RememberPin 10m")
    person.set_pin(PIN, f"soft:{person.store}")
    _, key = person.enroll("id", "ed25519-sk", "verify-required")
    remembered = [
        "none is remembered for this key",
        "the PIN is remembered for 600 s",
        "the remembered PIN is used",
    ]
    with Agent(person, person.askpass(PIN, PIN)) as agent:
        assert agent.add(str(key)).status == 0
        key.rename(person.folder / "away")
        for _ in range(2):
            done, _ = person.sign(key, environment=agent.environment)
            assert done.status == 0, done
        with pytest.raises(subprocess.CalledProcessError):
            pysk(person, "keys", "list", f"soft:{person.store}", answers=f"{WRONG_PIN}\n")
        done, _ = person.sign(key, environment=agent.environment)
        assert done.status == 0, done
    forget(person)
    remembered.append("the remembered PIN is not used, as it is another authenticator's, or not all its tries are left")
    remembered.append("the PIN is remembered for 600 s")
    decisions = [line.removeprefix("RememberPin: ") for line in home.sentences if line.startswith("RememberPin: ")]
    assert decisions == remembered
    assert told(home.log.read_text(), [*of_pin(PIN), *home.secrets]) == []


def test_a_remembered_passphrase_is_asked_for_once(person: Person, server: Sshd) -> None:
    person.configure("Presence auto", "SealKeyHandle passphrase", "RememberPin 10m")
    twice = [("Passphrase for the new key: ", "correct horse"), ("Same passphrase again: ", "correct horse")]
    done, key = person.enroll("id", "ed25519-sk", answers=twice)
    assert done.status == 0, done
    authorize(server, key)
    with Agent(person, person.askpass("wrong", "correct horse")) as agent:
        assert agent.add(str(key)).status == 0
        # Nothing is remembered of one that was wrong.
        assert log_in_by_agent(person, server, agent).status == 255
        for _ in range(2):
            assert succeeded(log_in_by_agent(person, server, agent))
        assert forget(person) == "0 PINs and 1 passphrase forgotten\n"
        assert log_in_by_agent(person, server, agent).status == 255
    assert questions(person).count("Passphrase: ") == 3


def test_a_rebase_by_a_sealed_key_asks_for_each_commit_or_once_for_all(person: Person) -> None:
    person.configure("Presence auto", "SealKeyHandle passphrase")
    twice = [("Passphrase for the new key: ", "correct horse"), ("Same passphrase again: ", "correct horse")]
    done, key = person.enroll("id", "ed25519-sk", answers=twice)
    assert done.status == 0, done
    with Agent(person, person.askpass(*["correct horse"] * (FEW_COMMITS + 1))) as agent:
        assert agent.add(str(key)).status == 0
        assert rebase(person, key.with_name("id.pub"), FEW_COMMITS, agent.environment) == ["G"] * FEW_COMMITS
        assert questions(person).count("Passphrase: ") == FEW_COMMITS
        shutil.rmtree(person.folder / ".git")
        person.configure("Presence auto", "RememberPin 10m")
        assert rebase(person, key.with_name("id.pub"), FEW_COMMITS, agent.environment) == ["G"] * FEW_COMMITS
    assert forget(person) == "0 PINs and 1 passphrase forgotten\n"
    assert questions(person).count("Passphrase: ") == FEW_COMMITS + 1
