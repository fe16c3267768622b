"""Logging in with keys in a TPM, by file and by agent, with a PIN, and to a host whose own key is in one."""

from __future__ import annotations

from pathlib import Path

from support.login import authorize, log_in, log_in_by_agent, succeeded
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, Agent, Person, enrolled, provider_lines
from support.sshd import Sshd, keygen

KIND = "ecdsa-sk"


def test_a_key_logs_in_by_file_and_by_agent(owner: Person, server: Sshd) -> None:
    key = enrolled(owner, KIND)
    authorize(server, key)
    assert succeeded(log_in(owner, server, key))
    with Agent(owner) as agent:
        assert agent.add(str(key)).status == 0
        done = log_in_by_agent(owner, server, agent)
        assert succeeded(done), done


def test_the_pin_logs_in_and_a_wrong_one_does_not(owner: Person, server: Sshd) -> None:
    owner.set_pin(PIN)
    done, key = owner.enroll("id", KIND, "verify-required")
    assert done.status == 0, done
    authorize(server, key, "verify-required")
    assert log_in(owner, server, key, [(PIN_PROMPT, WRONG_PIN)]).status == 255
    done = log_in(owner, server, key, [(PIN_PROMPT, PIN)])
    assert succeeded(done), done


def test_a_downloaded_key_logs_in(owner: Person, server: Sshd) -> None:
    owner.set_pin(PIN)
    done, key = owner.enroll("id", KIND, "resident", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    done = owner.run("ssh-keygen", "-K", "-N", "", answers=[("PIN for authenticator", PIN)])
    assert done.status == 0, done
    downloaded = owner.folder / "id_ecdsa_sk_rk"
    authorize(server, key)
    done = log_in(owner, server, downloaded)
    assert succeeded(done), done


def test_a_host_proves_itself(owner: Person, tmp_path: Path) -> None:
    done, host_key = owner.enroll("host_key", KIND, "no-touch-required")
    assert done.status == 0, done
    client = owner.folder / "client"
    keygen("-t", "ed25519", "-f", str(client))
    folder = tmp_path / "sshd"
    folder.mkdir()
    variables = {"PYSK_CONFIG": str(owner.config)}
    with Sshd(folder, [host_key], [f"SecurityKeyProvider {owner.provider}"], variables) as server:
        authorize(server, client)
        done = log_in(owner, server, client)
        assert succeeded(done), done
        assert provider_lines(server.log()) == []
