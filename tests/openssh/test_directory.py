"""Keys that are in no file of the user's: ssh-add -K and ssh-keygen -K get them from a directory."""

from __future__ import annotations

import base64
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fido2.ctap2 import Ctap2
from support import directory
from support.openssh import PIN, PIN_PROMPT, Agent, KeyFile, Person, provider_lines
from support.serve import connect_unix, open_device, serve
from support.sshd import Sshd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.relay import Connect
    from support.serve import Served
    from support.terminal import Done

WANTS_PIN = "libpysk: the authenticator requires its PIN to list its keys; enter it when you are asked"
NEVER = "after:60000"


@pytest.fixture
def records(person: Person) -> Path:
    """The file that is the person's directory."""
    path = person.folder / "records"
    configure(person)
    return path


def configure(person: Person, *lines: str, device: str | None = None) -> None:
    person.configure("Presence auto", f"KeyDirectory file:{person.folder}/records", *lines, device=device)


def enroll(person: Person, name: str, *options: str) -> Path:
    """Return the path of a key that the person's authenticator holds, or another that is named among the options."""
    wants_pin = person.pin and "resident" in options
    done, key = person.enroll(name, "ed25519-sk", *options, answers=[(PIN_PROMPT, PIN)] if wants_pin else [])
    assert done.status == 0, done
    return key


def download(person: Person, pin: str = "") -> tuple[dict[bytes, KeyFile], Done]:
    """Return the keys that ssh-keygen -K writes, by their key handles, and its end."""
    done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, pin)])
    paths = [path for path in person.folder.glob("id_*_rk*") if path.suffix != ".pub"]
    keys = {KeyFile(path).key_handle: KeyFile(path) for path in paths}
    assert len(keys) == len(paths)
    return keys, done


def handles(*keys: Path) -> set[bytes]:
    return {KeyFile(key).key_handle for key in keys}


def test_an_agent_gets_the_key_from_a_file_and_logs_in(
    person: Person, agent: Agent, server: Sshd, kind: str, records: Path
) -> None:
    _, key = person.enroll("original", kind)
    directory.write(records, key)
    server.authorized_keys.write_text((person.folder / "original.pub").read_text())
    for path in (key, person.folder / "original.pub"):
        path.unlink()
    person.set_pin(PIN)
    done = agent.add("-K", answers=[(PIN_PROMPT, "")])
    assert done.status == 0, done
    assert provider_lines(done.errors) == [WANTS_PIN]
    done = person.run(*server.client(), "echo logged in", environment=agent.environment)
    assert done.status == 0, done
    assert "logged in" in done.screen


def test_a_sealed_key_from_a_directory_is_listed_and_asks_for_its_passphrase(
    person: Person, server: Sshd, records: Path
) -> None:
    key = enroll(person, "original")
    subprocess.run(
        [person.pysk, "seal", key], input="correct horse\n", env=person.environment, text=True, check=True, timeout=60,
    )  # fmt: skip
    directory.write(records, key)
    server.authorized_keys.write_text((person.folder / "original.pub").read_text())
    for path in (key, person.folder / "original.pub"):
        path.unlink()
    with Agent(person, person.askpass("correct horse", "wrong")) as agent:
        assert agent.add("-K", answers=[(PIN_PROMPT, "")]).status == 0
        for status in (0, 255):
            done = person.run(*server.client(), "echo logged in", environment=agent.environment)
            assert done.status == status, done


def test_the_keys_of_token_and_directory_are_listed_each_once(person: Person, records: Path) -> None:
    person.set_pin(PIN)
    both = enroll(person, "both", "resident", "user=alice")
    only_token = enroll(person, "only-token", "resident", "application=ssh:token")
    only_directory = enroll(person, "only-directory")
    directory.write(records, both, only_directory, only_directory)
    keys, done = download(person, PIN)
    assert done.status == 0, done
    assert provider_lines(done.errors) == []
    assert set(keys) == handles(both, only_token, only_directory)
    # As the authenticator lists it.
    assert (person.folder / "id_ed25519_sk_rk_alice").exists()


def test_several_keys_of_one_application_have_names_of_their_own(person: Person, records: Path) -> None:
    keys = [enroll(person, f"key{number}") for number in range(3)]
    directory.write(records, *keys)
    listed, done = download(person)
    assert done.status == 0, done
    assert set(listed) == handles(*keys)


class Tokens:
    """Two authenticators that can be connected, a and b, and one that never is, with keys that each of them holds."""

    def __init__(self, person: Person, sockets: Path) -> None:
        self.person = person
        self.sockets = sockets
        self.a, self.b = self._enroll("a", "plain"), self._enroll("b", "plain")
        self.absent = self._enroll("c", "plain")
        self.hidden = self._enroll("c", "verifying", "verify-required")

    @property
    def all(self) -> set[bytes]:
        return handles(self.a, self.b, self.absent, self.hidden)

    def connect(self, name: str) -> AbstractContextManager[Served]:
        """Serve one, which nobody touches."""
        return serve("--store", str(self.sockets / f"{name}-store"), f"unix:{self.sockets}/{name}", presence=NEVER)

    def _enroll(self, token: str, name: str, *options: str) -> Path:
        address = f"unix:{self.sockets}/{token}"
        with serve("--store", str(self.sockets / f"{token}-store"), address):
            if options:
                self.person.set_pin(PIN, address)
            return enroll(self.person, f"{token}-{name}", *options, f"device={address}")


@pytest.fixture
def tokens(person: Person, sockets: Path, records: Path) -> Tokens:
    tokens = Tokens(person, sockets)
    configure(person, device=f"unix:{sockets}/a unix:{sockets}/b")
    directory.write(records, tokens.a, tokens.b, tokens.absent, tokens.hidden)
    return tokens


def test_what_no_connected_token_holds_is_left_out_unless_one_could_hide_it(person: Person, tokens: Tokens) -> None:
    with tokens.connect("b"):
        listed, done = download(person)
    assert done.status == 0, done
    assert set(listed) == handles(tokens.b, tokens.hidden)


def test_several_tokens_are_asked_and_none_is_touched(person: Person, tokens: Tokens) -> None:
    with tokens.connect("a"), tokens.connect("b"):
        listed, done = download(person)
    assert done.status == 0, done
    assert set(listed) == handles(tokens.a, tokens.b, tokens.hidden)
    assert provider_lines(done.errors) == [
        (
            "libpysk: several authenticators are connected, whose keys are listed only with a PIN; enter "
            "one when you are asked"
        )
    ]


def test_all_keys_are_listed_where_no_token_is_connected(person: Person, tokens: Tokens) -> None:
    listed, done = download(person)
    assert done.status == 0, done
    assert provider_lines(done.errors) == []
    assert set(listed) == tokens.all


def test_a_token_that_does_not_answer_may_hold_any_key(person: Person, tokens: Tokens, connect: Connect) -> None:
    with connect(lambda *_: []) as dead, tokens.connect("b"):
        configure(person, "Timeout 1", device=f"{dead.address} unix:{tokens.sockets}/b")
        listed, done = download(person)
    assert done.status == 0, done
    assert set(listed) == tokens.all


def test_a_record_with_another_public_key_than_the_tokens_is_left_out(
    person: Person, tokens: Tokens, records: Path
) -> None:
    line = directory.line(tokens.b).split()
    line[2:4] = directory.line(tokens.a).split()[2:4]
    records.write_text(" ".join(line) + "\n")
    with tokens.connect("b"):
        listed, _ = download(person)
    assert listed == {}


def test_a_directory_that_cannot_be_asked_costs_only_its_own_keys(person: Person, records: Path) -> None:
    key = enroll(person, "original")
    directory.write(records, key)
    person.set_pin(PIN)
    person.configure(f"KeyDirectory file:{person.folder}/missing file:{records}")
    listed, done = download(person, PIN)
    assert done.status == 0, done
    assert set(listed) == handles(key)
    assert provider_lines(done.errors) == [
        f"libpysk: {person.folder}/missing does not exist; make it, or correct KeyDirectory"
    ]


def test_where_all_fail_the_host_is_told_so(person: Person, sockets: Path) -> None:
    configure(person, device=f"unix:{sockets}/nowhere")
    listed, done = download(person)
    assert done.status != 0
    assert listed == {}
    assert provider_lines(done.errors) == [
        f"libpysk: {person.folder}/records does not exist; make it, or correct KeyDirectory",
        f"libpysk: nobody listens at unix:{sockets}/nowhere; start or forward the authenticator",
    ]


def test_nobody_is_told_that_there_is_no_token_where_a_directory_knows_nobody(person: Person, sockets: Path) -> None:
    configure(person, device=f"unix:{sockets}/nowhere")
    directory.write(person.folder / "records")
    _, done = download(person, PIN)
    assert done.status == 0, done
    assert provider_lines(done.errors) == [
        f"libpysk: nobody listens at unix:{sockets}/nowhere; start or forward the authenticator"
    ]


def test_another_users_keys_are_listed_for_whom_pysk_config_names(person: Person, records: Path) -> None:
    key, other = enroll(person, "original"), enroll(person, "other")
    records.write_text(f"{directory.line(key, 'alice')}\n{directory.line(other)}\n")
    assert set(download(person)[0]) == handles(other)
    configure(person, "KeyDirectoryUser alice")
    assert set(download(person)[0]) >= handles(key)


def test_a_key_that_pam_u2f_knows_logs_in(person: Person, agent: Agent, server: Sshd, sockets: Path) -> None:
    """The credential is registered as pamu2fcfg does it, under an origin that is no application of ssh's."""
    origin = "pam://office"
    with serve("--store", str(person.store), f"unix:{sockets}/token"), connect_unix(f"{sockets}/token") as connected:
        made = Ctap2(open_device(connected)).make_credential(
            bytes(32), {"id": origin, "name": origin}, {"id": b"me", "name": "me"}, [{"type": "public-key", "alg": -7}]
        )
    credential = made.auth_data.credential_data
    assert credential is not None
    handle, point = credential.credential_id, credential.public_key[-2] + credential.public_key[-3]
    fields = (base64.b64encode(handle).decode(), base64.b64encode(point).decode(), "es256", "+presence")
    authfile = person.folder / "u2f_keys"
    authfile.write_text(f"{server.user}:{','.join(fields)}\n")
    authfile.chmod(0o600)
    person.configure("Presence auto", f"KeyDirectory pam-u2f:{authfile}?origin={origin}")

    listed, done = download(person)
    assert listed == {}
    assert "pysk directory export" in provider_lines(done.errors)[-1]
    done = person.run(
        "sh", "-c", f"'{person.pysk}' directory authorized-keys {server.user} >'{server.authorized_keys}' && "
        f"'{person.pysk}' directory export | ssh-add -S '{person.provider}' -",
        environment=agent.environment,
    )  # fmt: skip
    assert done.status == 0, done
    done = person.run(*server.client(), "echo logged in", environment=agent.environment)
    assert done.status == 0, done
    assert "logged in" in done.screen
