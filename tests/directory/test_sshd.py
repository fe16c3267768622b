"""Logging in to a real sshd that asks pysk for keys, and what it is answered, by whoever it runs that as."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.certificates import Authority
from support.for_all import Installation, installed_for_all
from support.openssh import PIN, PIN_PROMPT, Agent, KeyFile, Person, provider_lines
from support.soft_token import EDDSA, ES256, Device, credential_id
from support.soft_token import Person as Toucher
from support.sshd import Sshd, free_port, keygen
from support.system_log import SystemLog
from support.web import WebServer, drip

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.authenticator.store import Store
from sk_provider.credentials import key_file
from sk_provider.credentials.directory.file import line_of
from sk_provider.credentials.directory.record import Record
from sk_provider.credentials.public_key import public_key_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.terminal import Done

    Publish = Callable[..., str]

DOMAIN = "example.com"


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed_for_all() as installation:
        yield installation


@pytest.fixture(scope="module")
def authority(installation: Installation) -> Authority:
    made = Authority(installation.folder)
    made.certificate.chmod(0o644)
    return made


@pytest.fixture
def web(authority: Authority) -> Iterator[WebServer]:
    with WebServer(authority.issue()) as server:
        yield server


@pytest.fixture
def publish(request: pytest.FixtureRequest, installation: Installation, web: WebServer) -> Publish:
    """Have a directory, of one kind or another, with records, and return its URL."""

    def publish(*records: Record) -> str:
        if getattr(request, "param", "file") == "file":
            path = installation.write("records", "".join(f"{line_of(record)}\n" for record in records))
            return f"file:{path}"
        web.documents.clear()
        for user in {record.user for record in records}:
            web.publish(user, *(member(record) for record in records if record.user == user))
        return web.url()

    return publish


def member(record: Record) -> dict[str, object]:
    return {
        "public_key": record.public_line(),
        "key_handle": base64.b64encode(record.key_handle).decode(),
        "options": record.options(),
        "comment": record.comment,
    }


@contextmanager
def asking_sshd(installation: Installation, folder: Path) -> Iterator[Sshd]:
    """An sshd that has keys from pysk alone."""
    folder.mkdir()
    keygen("-t", "ed25519", "-f", str(folder / "host_key"))
    with Sshd(folder, [folder / "host_key"], installation.sshd_options) as server:
        yield server
    assert not server.authorized_keys.exists()


@pytest.fixture
def server(installation: Installation, tmp_path: Path) -> Iterator[Sshd]:
    with asking_sshd(installation, tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def agent(person: Person) -> Iterator[Agent]:
    with Agent(person) as agent:
        yield agent


def configure(person: Person, installation: Installation, authority: Authority, *urls: str) -> None:
    """Have the person and sshd use the same directories."""
    lines = (f"KeyDirectory {' '.join(urls)}", f"KeyDirectoryCA {authority.certificate}")
    person.configure("Presence auto", *lines)
    installation.configure(*lines)


def log_in(person: Person, server: Sshd, agent: Agent) -> Done:
    return person.run(*server.client(), "echo logged in", environment=agent.environment)


def assert_logs_in(person: Person, server: Sshd, agent: Agent) -> None:
    done = log_in(person, server, agent)
    assert done.status == 0, done
    assert "logged in" in done.screen


def registered(person: Person, algorithm: int, user: str, flags: int = FLAG_USER_PRESENCE) -> Record:
    """Return the record of a credential that python-fido2 registers for a domain, as a browser does."""
    store = Store.open(str(person.store)) if person.store.exists() else Store.create(str(person.store))
    made = Device(store, Toucher()).make(DOMAIN, b"an account", algorithm)
    assert made.auth_data.credential_data is not None
    number = ALGORITHM_ECDSA if algorithm == ES256 else ALGORITHM_ED25519
    public_key = public_key_bytes(made.auth_data.credential_data.public_key, algorithm)
    return Record(user, DOMAIN, number, public_key, credential_id(made), flags, "of a browser")


@pytest.mark.parametrize(("publish", "kind"), [("file", "ed25519-sk"), ("https", "ecdsa-sk")], indirect=["publish"])
def test_login_with_no_key_file_anywhere(
    person: Person, agent: Agent, server: Sshd, installation: Installation, authority: Authority, publish: Publish,
    kind: str,
) -> None:  # fmt: skip
    done, key = person.enroll("id", kind)
    assert done.status == 0, done
    record = key_file.parse(key.read_bytes(), str(key), server.user)
    for path in person.folder.glob("id*"):
        path.unlink()
    configure(person, installation, authority, publish(record))
    assert log_in(person, server, agent).status == 255
    done = agent.add("-K", answers=[(PIN_PROMPT, "")])
    assert done.status == 0, done
    assert_logs_in(person, server, agent)
    configure(person, installation, authority, publish(Record("mallory", *record.identity())))
    assert log_in(person, server, agent).status == 255


@pytest.mark.parametrize(("publish", "algorithm"), [("https", ES256), ("file", EDDSA)], indirect=["publish"])
def test_login_with_a_credential_that_python_fido2_registered_for_a_domain(
    person: Person, agent: Agent, server: Sshd, installation: Installation, authority: Authority, publish: Publish,
    algorithm: int,
) -> None:  # fmt: skip
    configure(person, installation, authority, publish(registered(person, algorithm, server.user)))
    assert log_in(person, server, agent).status == 255
    command = f"'{person.pysk}' directory export | ssh-add -S '{person.provider}' -"
    done = person.run("sh", "-c", command, environment=agent.environment)
    assert done.status == 0, done
    assert_logs_in(person, server, agent)


def test_exported_keys_keep_the_flags_that_sshd_insists_on(
    person: Person, server: Sshd, installation: Installation, authority: Authority, publish: Publish
) -> None:
    person.set_pin(PIN)
    flags = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
    configure(person, installation, authority, publish(registered(person, ES256, server.user, flags)))
    done = person.run(str(person.pysk), "directory", "export", "--output", "keys")
    assert done.status == 0, done
    (path,) = (path for path in (person.folder / "keys").iterdir() if path.suffix != ".pub")
    assert KeyFile(path).flags == flags
    with Agent(person, person.askpass(PIN)) as agent:
        assert agent.add(str(path)).status == 0
        assert_logs_in(person, server, agent)
    # And whoever takes them away is not let in.
    path.write_bytes(key_file.serialize(Record(*_fields(path, server.user), FLAG_USER_PRESENCE)))
    with Agent(person) as agent:
        assert agent.add(str(path)).status == 0
        assert log_in(person, server, agent).status == 255
    assert "user verification" in server.log()


def _fields(path: Path, user: str) -> tuple[str, str, int, bytes, bytes]:
    record = key_file.parse(path.read_bytes(), str(path), user)
    return record.user, record.application, record.algorithm, record.public_key, record.key_handle


RECORD = Record("alice", "ssh:", ALGORITHM_ED25519, bytes(range(32)), b"a key handle", FLAG_USER_PRESENCE, "blue")


def test_a_key_has_the_options_that_its_flags_demand(installation: Installation) -> None:
    keys = [Record("alice", *RECORD.identity()[:3], b"%d" % flags, flags, f"flags {flags}") for flags in (0, 1, 4, 5)]
    path = installation.write("records", "".join(f"{line_of(record)}\n" for record in keys))
    installation.configure(f"KeyDirectory file:{path}")
    done = installation.authorized_keys("alice")
    key = RECORD.public_line().removesuffix(" blue")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"no-touch-required {key} flags 0",
        f"{key} flags 1",
        f"no-touch-required,verify-required {key} flags 4",
        f"verify-required {key} flags 5",
    ]


@pytest.fixture
def log(installation: Installation, tmp_path: Path) -> SystemLog:
    """The system's log, which everybody may write."""
    folder = installation.folder / tmp_path.name
    folder.mkdir()
    folder.chmod(0o777)
    return SystemLog(folder)


def test_nobody_that_is_known_has_no_keys(installation: Installation, log: SystemLog) -> None:
    path = installation.write("records", f"{line_of(RECORD)}\n")
    installation.configure(f"KeyDirectory file:{path}", "KeyDirectoryUser alice")
    for user in ("bob", "", "..", "alice ", "a\nlice", "-"):
        done = installation.authorized_keys(user, **log.variables)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert log.lines() == []


def test_a_failure_prints_nothing_and_is_logged(installation: Installation, log: SystemLog) -> None:
    gone = f"https://localhost:{free_port()}/%u"
    for lines, sentence in (
        ((f"KeyDirectory {gone}",), "localhost cannot be reached (Connection refused); check that it is running"),
        (("KeyDirectory file:/no/such/file",), "/no/such/file does not exist; make it, or correct KeyDirectory"),
        ((), "no key directory is configured; write KeyDirectory and a URL into ~/.ssh/pysk_config"),
        (("KeyDirectory nonsense",), "nonsense is not a key directory's URL; write one such as file:/etc/ssh/sk_keys"),
        (("NoSuchKeyword yes",), f"{installation.config} line 1: unknown keyword NoSuchKeyword; see pysk_config"),
    ):
        installation.configure(*lines)
        logged = len(log.lines())
        done = installation.authorized_keys("alice", **log.variables)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"pysk: {sentence}")
        (line,) = log.lines()[logged:]
        assert line.startswith(sentence)


def test_a_directory_that_fails_costs_only_its_own_keys(installation: Installation, log: SystemLog) -> None:
    path = installation.write("records", f"{line_of(RECORD)}\n")
    installation.configure(f"KeyDirectory https://localhost:{free_port()}/%u file:{path}")
    done = installation.authorized_keys("alice", **log.variables)
    assert (done.returncode, done.stdout) == (0, f"{RECORD.authorized_keys_line()}\n")
    (line,) = log.lines()
    assert line.startswith("localhost cannot be reached")
    # Of somebody who is not in the others it is not known that they have none.
    assert installation.authorized_keys("bob", **log.variables).returncode == 1


def test_what_is_no_key_is_left_out_and_logged(installation: Installation, log: SystemLog, web: WebServer) -> None:
    authority = installation.folder / "authority.pem"
    installation.configure(f"KeyDirectory {web.url()}", f"KeyDirectoryCA {authority}")
    hostile = member(RECORD) | {"comment": 'x\ncommand="id" ssh-ed25519 AAAA\r\x1b[2J'}
    foreign = member(RECORD) | {"public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="}
    web.publish("alice", foreign, hostile, member(RECORD) | {"options": ['command="id"']})
    done = installation.authorized_keys("alice", **log.variables)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert line == f'{RECORD.public_line().removesuffix("blue")}x?command="id" ssh-ed25519 AAAA??[2J'
    (logged,) = log.lines()
    assert logged.startswith("localhost: a key has no public key of a security key, and is left out")


# Runs the command with a home, or a patience, that this process may not give it.
CHANGED = """
import importlib, sys
from sk_provider import config
from sk_provider.cli import main
config.home_directory = lambda: sys.argv[1]
importlib.import_module("sk_provider.cli.directory")._PATIENCE = 1
main(["directory", "authorized-keys", "alice"])
"""


def run_at_home(home: Path, config: str) -> subprocess.CompletedProcess[str]:
    """Look alice up with the pysk_config of a home."""
    (home / ".ssh").mkdir()
    (home / ".ssh/pysk_config").write_text(config)
    command = [sys.executable, "-I", "-c", CHANGED, str(home)]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=False, timeout=60)


def test_the_log_file_gets_the_failures(tmp_path: Path) -> None:
    # That of a configuration which the environment names may not be set.
    done = run_at_home(tmp_path, f"KeyDirectory file:/no/such/file\nLogFile {tmp_path}/log\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "/no/such/file does not exist" in (tmp_path / "log").read_text()


def test_sshd_is_answered_in_time_whatever_is_configured(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/%u"
        done = run_at_home(tmp_path, f"KeyDirectory {url}\nKeyDirectoryTimeout 300\nLogFile {tmp_path}/log\n")
    assert (done.returncode, done.stdout) == (1, "")
    sentence = "alice was not looked up within 1 seconds; set a shorter KeyDirectoryTimeout"
    assert done.stderr == f"pysk: {sentence}\n"
    assert (tmp_path / "log").read_text().endswith(f"{sentence}\n")


def test_login_goes_on_from_the_cache_and_not_with_a_key_that_was_removed(
    person: Person, agent: Agent, server: Sshd, installation: Installation, authority: Authority, web: WebServer
) -> None:
    done, key = person.enroll("id", "ed25519-sk")
    assert done.status == 0, done
    web.publish(server.user, member(key_file.parse(key.read_bytes(), str(key), server.user)))
    folder = installation.folder / "cache"
    folder.mkdir(mode=0o777, exist_ok=True)
    folder.chmod(0o777)
    configure(person, installation, authority, web.url())
    lines = (f"KeyDirectory {web.url()}", f"KeyDirectoryCA {authority.certificate}", f"KeyDirectoryCache {folder}")
    installation.configure(*lines)
    assert agent.add(str(key)).status == 0
    assert provider_lines(agent.add("-l").errors) == []
    assert_logs_in(person, server, agent)
    (cached,) = folder.iterdir()
    assert cached.owner() == installation.user
    web.__exit__()
    try:
        assert_logs_in(person, server, agent)
    finally:
        web.__enter__()
    # Nor does a silent one take the time that it takes to tell the answer before.
    web.answer = drip
    installation.configure(*lines, "KeyDirectoryTimeout 3")
    assert installation.authorized_keys(server.user).stdout.startswith("sk-ssh-ed25519@openssh.com ")
    web.answer = web.answer_with_document
    del web.documents[f"/{server.user}.json"]
    assert log_in(person, server, agent).status == 255
    assert list(folder.iterdir()) == []
