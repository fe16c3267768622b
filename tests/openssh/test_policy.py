"""What pysk_config forbids, by what a signature is for, in real programs."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from support.login import authorize, log_in, log_in_by_agent, succeeded
from support.openssh import Agent, Person, enrolled, provider_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.sshd import Sshd


@pytest.fixture
def key(person: Person, server: Sshd) -> Path:
    key = enrolled(person)
    authorize(server, key)
    return key


def fingerprint(server: Sshd) -> str:
    blob = base64.b64decode((server.authorized_keys.parent / "host_key.pub").read_text().split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()


def test_signatures_of_one_namespace_are_forbidden_and_others_made(person: Person, key: Path) -> None:
    person.configure("Presence auto", "Match namespace file", "Deny yes")
    done, _ = person.sign(key)
    assert done.status != 0
    assert provider_lines(done.errors) == [
        f"libpysk: {person.config} line 4 forbids this file signature (Deny); change that file if it should not"
    ]
    person.configure("Presence auto", "Match namespace git", "Deny yes")
    assert person.sign(key)[0].status == 0


def test_what_is_forbidden_but_for_one_purpose_is_done_for_that_alone(person: Person, server: Sshd, key: Path) -> None:
    person.configure("Presence auto", "Match namespace file", "Deny no", "Match all", "Deny yes")
    assert person.sign(key)[0].status == 0
    done = log_in(person, server, key)
    assert done.status == 255
    assert provider_lines(done.errors)[0].startswith(f"libpysk: {person.config} line 6 forbids this login as ")


@pytest.mark.parametrize("by_agent", [False, True])
def test_a_login_is_told_by_its_user_and_the_servers_key(
    person: Person, server: Sshd, key: Path, by_agent: bool
) -> None:
    with Agent(person) as agent:
        assert agent.add(str(key)).status == 0

        def logs_in() -> bool:
            return succeeded(log_in_by_agent(person, server, agent) if by_agent else log_in(person, server, key))

        for line in ("user nobody-else", "hostkey SHA256:another", f"user * hostkey !{fingerprint(server)},*"):
            person.configure("Presence auto", f"Match {line}", "Deny yes")
            assert logs_in(), line
        for line in ("user *", f"hostkey {fingerprint(server)}", f"user * hostkey {fingerprint(server)}"):
            person.configure("Presence auto", f"Match {line}", "Deny yes")
            assert not logs_in(), line


def test_an_agent_can_be_told_from_ssh(person: Person, server: Sshd, key: Path) -> None:
    person.configure("Presence auto", "Match host-program agent", "Deny yes")
    with Agent(person) as agent:
        assert agent.add(str(key)).status == 0
        assert log_in_by_agent(person, server, agent).status == 255
    assert succeeded(log_in(person, server, key))
    person.configure("Presence auto", "Match host-program ssh", "Deny yes")
    assert log_in(person, server, key).status == 255
    assert person.sign(key)[0].status == 0


def test_another_authenticator_serves_another_purpose(person: Person, key: Path) -> None:
    person.configure("Presence auto", device=f"soft:{person.folder}/none")
    text = person.config.read_text()
    person.config.write_text(f"Match namespace file\nDevice soft:{person.store}\nMatch all\n{text}")
    assert person.sign(key)[0].status == 0
    person.config.write_text(f"Match namespace git\nDevice soft:{person.store}\nMatch all\n{text}")
    done, _ = person.sign(key)
    assert done.status != 0
    assert "neither the default one (soft:) nor named" in provider_lines(done.errors)[0]
