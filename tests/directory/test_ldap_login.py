"""Keys that stock OpenSSH has from a real slapd alone: ssh-add for an agent, and sshd for a login."""

from __future__ import annotations

import base64
import os
import signal
import socket
from contextlib import contextmanager

import pytest
from support.for_all import Installation, installed_for_all
from support.openssh import PIN, PIN_PROMPT, Agent, Person, enrolled, provider_lines
from support.slapd import DOMAIN, ME, Slapd
from support.slapd import person as entry_of
from support.soft_token import ES256, Device, credential_id
from support.soft_token import Person as Toucher
from support.sshd import Sshd, keygen

from sk_provider.authenticator.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.terminal import Done


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed_for_all() as installation:
        yield installation


@pytest.fixture
def server(installation: Installation, tmp_path: Path) -> Iterator[Sshd]:
    """An sshd that has keys from pysk alone."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    keygen("-t", "ed25519", "-f", str(folder / "host_key"))
    with Sshd(folder, [folder / "host_key"], installation.sshd_options) as server:
        yield server
    assert not server.authorized_keys.exists()


@pytest.fixture
def agent(person: Person) -> Iterator[Agent]:
    with Agent(person) as agent:
        yield agent


@contextmanager
def account(slapd: Slapd, *object_classes: str, **attributes: list[str]) -> Iterator[None]:
    """Have an entry of whoever runs this."""
    name, entry = entry_of(ME, *object_classes, attributes=attributes)
    slapd.add(name, entry)
    try:
        yield
    finally:
        slapd.delete(name)


def configure(person: Person, installation: Installation, slapd: Slapd, *lines: str) -> None:
    """Have the person and sshd use the server."""
    ca = installation.write("ca.pem", slapd.ca.read_text())
    both = (f"KeyDirectory {slapd.ldaps}", f"KeyDirectoryCA {ca}", *lines)
    person.configure("Presence auto", *both)
    installation.configure(*both)


def log_in(person: Person, server: Sshd, agent: Agent) -> Done:
    return person.run(*server.client(), "echo logged in", environment=agent.environment)


def assert_logs_in(person: Person, server: Sshd, agent: Agent) -> None:
    done = log_in(person, server, agent)
    assert done.status == 0, (done, server.log())
    assert "logged in" in done.screen


def test_login_with_a_key_that_its_owner_has_put_into_the_directory_and_nowhere_else(
    person: Person, agent: Agent, server: Sshd, installation: Installation, slapd: Slapd, kind: str
) -> None:
    key = enrolled(person, kind)
    configure(person, installation, slapd)
    # By the socket the server knows who that is.
    itself = ("--url", slapd.ldapi)
    with account(slapd):
        done = person.run(str(person.pysk), "directory", "add", *itself, str(key))
        assert done.status == 0, done
        for path in person.folder.glob("id*"):
            path.unlink()
        assert log_in(person, server, agent).status == 255
        done = agent.add("-K", answers=[(PIN_PROMPT, "")])
        assert done.status == 0, done
        assert_logs_in(person, server, agent)
        # In a pipe it prints a line for each key, and nothing else.
        done = person.run("sh", "-c", f"'{person.pysk}' directory list | cat")
        (digest,) = (line.split()[0] for line in done.screen.splitlines())
        done = person.run(str(person.pysk), "directory", "remove", "--yes", *itself, digest)
        assert done.status == 0, done
        assert log_in(person, server, agent).status == 255


def test_login_with_a_passkey_of_the_domain_as_its_policy_demands(
    person: Person, server: Sshd, installation: Installation, slapd: Slapd
) -> None:
    store = Store.create(str(person.store))
    made = Device(store, Toucher()).make(DOMAIN, b"an account", ES256)
    assert made.auth_data.credential_data is not None
    public_key = made.auth_data.credential_data.public_key
    point = base64.b64encode(public_key[-2] + public_key[-3]).decode()
    passkey = f"passkey:{base64.b64encode(credential_id(made)).decode()},{point}"
    person.set_pin(PIN)
    configure(person, installation, slapd)

    def export(agent: Agent) -> None:
        command = f"'{person.pysk}' directory export | ssh-add -S '{person.provider}' -"
        done = person.run("sh", "-c", command, environment=agent.environment)
        assert done.status == 0, done

    with account(slapd, "ipaPasskeyUser", ipapasskey=[passkey]), Agent(person) as agent:
        slapd.set_policy("FALSE")
        export(agent)
        assert_logs_in(person, server, agent)
        slapd.set_policy("TRUE")
        # The key was exported before that was demanded.
        assert log_in(person, server, agent).status == 255
        assert "user verification" in server.log()
        with Agent(person, person.askpass(PIN)) as asking:
            export(asking)
            assert_logs_in(person, server, asking)
    slapd.set_policy(None)


def test_a_server_that_hangs_costs_ssh_add_and_sshd_the_deadline_and_only_its_own_keys(
    person: Person, agent: Agent, server: Sshd, installation: Installation, slapd: Slapd
) -> None:
    person.set_pin(PIN)
    done, _ = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    configure(person, installation, slapd, "KeyDirectoryTimeout 1")
    os.kill(slapd.pid, signal.SIGSTOP)
    try:
        done = agent.add("-K", answers=[(PIN_PROMPT, PIN)])
        answer = installation.authorized_keys(server.user)
    finally:
        os.kill(slapd.pid, signal.SIGCONT)
    assert done.status == 0, done
    (sentence,) = provider_lines(done.errors)
    assert "has not answered within 1 second" in sentence
    assert agent.add("-l").status == 0
    assert (answer.returncode, answer.stdout) == (1, "")


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_silent_server_costs_ssh_add_the_deadline(
    person: Person, agent: Agent, installation: Installation, slapd: Slapd, scheme: str
) -> None:
    enrolled(person)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        person.configure("Presence auto", f"KeyDirectory {url}", "KeyDirectoryTimeout 1")
        done = agent.add("-K", answers=[(PIN_PROMPT, "")])
    assert any(line.startswith(f"libpysk: {url} ") and "not answer" in line for line in provider_lines(done.errors))
