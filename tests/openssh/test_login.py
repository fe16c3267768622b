"""Logging in to a real sshd, by key file, by agent, and to a host whose own key is an sk key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench.sk_helper import HELPER
from support.login import authorize, log_in, log_in_by_agent, succeeded
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, Agent, Person, provider_lines
from support.sshd import Sshd, keygen


def test_login_by_key_file(person: Person, server: Sshd, kind: str) -> None:
    _, key = person.enroll("id", kind)
    authorize(server, key)
    done = log_in(person, server, key)
    assert succeeded(done), done


def test_login_by_key_file_with_the_pin(person: Person, server: Sshd, kind: str) -> None:
    person.set_pin(PIN)
    _, key = person.enroll("id", kind, "verify-required")
    authorize(server, key, "verify-required")
    done = log_in(person, server, key, [(PIN_PROMPT, PIN)])
    assert succeeded(done), done


def test_wrong_pin_does_not_log_in(person: Person, server: Sshd, kind: str) -> None:
    person.set_pin(PIN)
    _, key = person.enroll("id", kind, "verify-required")
    authorize(server, key)
    done = log_in(person, server, key, [(PIN_PROMPT, WRONG_PIN)])
    assert done.status == 255, done
    assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]


def test_pin_is_asked_through_askpass(person: Person, server: Sshd, kind: str) -> None:
    person.set_pin(PIN)
    _, key = person.enroll("id", kind, "verify-required")
    authorize(server, key, "verify-required")
    person.environment |= person.askpass(PIN)
    done = log_in(person, server, key)
    assert succeeded(done), done
    assert (person.folder / "questions").read_text().count(PIN_PROMPT) == 1


def test_untouched_key_logs_in_only_where_no_touch_is_required(person: Person, server: Sshd, kind: str) -> None:
    _, key = person.enroll("id", kind, "no-touch-required")
    authorize(server, key)
    assert log_in(person, server, key).status == 255
    assert "user presence" in server.log()
    authorize(server, key, "no-touch-required")
    done = log_in(person, server, key)
    assert succeeded(done), done


def test_unverified_key_does_not_log_in_where_verification_is_required(person: Person, server: Sshd, kind: str) -> None:
    _, key = person.enroll("id", kind)
    authorize(server, key, "verify-required")
    assert log_in(person, server, key).status == 255
    assert "user verification" in server.log()


def test_login_by_daemonised_agent(person: Person, server: Sshd, kind: str) -> None:
    _, key = person.enroll("id", kind)
    authorize(server, key)
    seen = person.folder / "seen"
    with Agent(person, recording_helper(person, seen)) as agent:
        assert os.getsid(agent.pid) == agent.pid
        assert agent.add(str(key)).status == 0
        key.unlink()
        for _ in range(3):
            done = log_in_by_agent(person, server, agent)
            assert succeeded(done), done
    # What the provider has of a daemon: the root as its folder, and no standard error.
    assert seen.read_text().split() == ["/", os.devnull] * 3


def recording_helper(person: Person, seen: Path) -> dict[str, str]:
    """Return the environment in which ssh-sk-helper's folder and standard error are written down at each start."""
    helper = person.environment.get("SSH_SK_HELPER", HELPER)
    program = person.folder / "helper"
    program.write_text(f"""#!/bin/sh
readlink /proc/$$/cwd /proc/$$/fd/2 >>'{seen}'
exec {helper} "$@"
""")
    program.chmod(0o700)
    return {"SSH_SK_HELPER": str(program)}


def test_agent_asks_for_presence_through_askpass(person: Person, server: Sshd, kind: str) -> None:
    _, key = person.enroll("id", kind)
    authorize(server, key)
    person.configure("Presence ask")
    with Agent(person, person.askpass("yes")) as agent:
        assert agent.add(str(key)).status == 0
        assert succeeded(log_in_by_agent(person, server, agent))
        # The only answer has been given, and none is a refusal.
        refused = log_in_by_agent(person, server, agent)
        assert refused.status == 255
        assert "agent refused operation" in refused.errors


def test_agent_asks_for_the_pin_through_askpass(person: Person, server: Sshd, kind: str) -> None:
    person.set_pin(PIN)
    _, key = person.enroll("id", kind, "verify-required")
    authorize(server, key, "verify-required")
    with Agent(person, person.askpass(PIN)) as agent:
        assert agent.add(str(key)).status == 0
        done = log_in_by_agent(person, server, agent)
    assert succeeded(done), done


def test_agent_that_can_ask_nobody_refuses_and_lives_on(person: Person, agent: Agent, server: Sshd) -> None:
    person.set_pin(PIN)
    _, strict = person.enroll("strict", "ed25519-sk", "verify-required")
    authorize(server, strict)
    assert agent.add(str(strict)).status == 0
    done = log_in_by_agent(person, server, agent)
    assert done.status == 255
    assert "agent refused operation" in done.errors
    _, key = person.enroll("id", "ed25519-sk")
    authorize(server, key)
    assert agent.add(str(key)).status == 0
    done = log_in_by_agent(person, server, agent)
    assert succeeded(done), done


def test_agent_logs_in_with_resident_key_that_was_given_as_a_file(
    person: Person, agent: Agent, server: Sshd, kind: str
) -> None:
    _, key = person.enroll("id", kind, "resident")
    authorize(server, key)
    assert agent.add(str(key)).status == 0
    done = log_in_by_agent(person, server, agent)
    assert succeeded(done), done


def test_forwarded_agent_signs_for_a_second_login(person: Person, agent: Agent, server: Sshd) -> None:
    _, key = person.enroll("id", "ed25519-sk")
    authorize(server, key)
    assert agent.add(str(key)).status == 0
    inner = " ".join(server.client())
    done = person.run(*server.client("-A"), inner, "echo logged in", environment=agent.environment)
    assert succeeded(done), done


@pytest.fixture
def sk_host(person: Person, kind: str, tmp_path: Path) -> Sshd:
    """A server whose only host key is an sk key, and which like a service knows nothing of a person's environment."""
    _, host_key = person.enroll("host_key", kind, "no-touch-required")
    folder = tmp_path / "sshd"
    folder.mkdir()
    return Sshd(
        folder,
        [host_key],
        [f"SecurityKeyProvider {person.provider}"],
        {"PYSK_CONFIG": str(person.config), "HOME": os.devnull},
    )


def test_host_proves_itself_with_an_sk_key(person: Person, sk_host: Sshd, kind: str) -> None:
    _, key = person.enroll("id", kind, "user=person")
    with sk_host as server:
        authorize(server, key)
        done = log_in(person, server, key)
        assert succeeded(done), done


def test_host_whose_authenticator_is_gone_lets_nobody_be_deceived(person: Person, sk_host: Sshd) -> None:
    # Of the two, only the host needs the authenticator.
    key = person.folder / "plain"
    keygen("-t", "ed25519", "-f", str(key))
    with sk_host as server:
        authorize(server, key)
        assert succeeded(log_in(person, server, key))
        person.store.rename(person.folder / "elsewhere")
        done = log_in(person, server, key)
        assert done.status == 255, done
        assert "logged in" not in done.screen


def test_a_host_that_can_ask_nobody_says_that_its_key_wants_a_pin(person: Person, kind: str, tmp_path: Path) -> None:
    person.set_pin(PIN)
    _, host_key = person.enroll("host_key", kind, "verify-required", "no-touch-required")
    folder = tmp_path / "sshd"
    folder.mkdir()
    variables = {"PYSK_CONFIG": str(person.config), "HOME": os.devnull}
    with Sshd(folder, [host_key], [f"SecurityKeyProvider {person.provider}"], variables) as server:
        done = log_in(person, server, host_key)
        assert done.status == 255, done
    # It is its errors that a service's manager logs.
    assert provider_lines(server.log()) == [
        "libpysk: this key requires a PIN for every use; sshd cannot ask for a PIN: use a HostKey that needs none"
    ]
