"""What a signature loads and opens inside ssh-sk-helper: it is what a person waits for."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench import sk_helper, virtual_token
from bench.measure import compile_tool
from support.openssh import PIN, PIN_PROMPT, enrolled
from support.serve import serve
from support.watched import Watched, assert_lean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.openssh import Person
    from support.watched import Told

    Lean = tuple[Told, Person]

MESSAGE = b"a message"  # as Person.sign() has it

# Not even a PIN wants these.
NEVER = {
    "asyncio", "click", "ctypes", "email", "fido2.client", "fido2.pcsc", "http", "importlib.metadata",
    "pathlib", "sk_provider.authenticator", "smartcard", "socket", "sqlite3", "ssl", "subprocess",
    "unittest", "urllib",
}  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("watched"))


@pytest.fixture
def person(watched: Watched, tmp_path: Path) -> Person:
    return watched.person(tmp_path)


@contextmanager
def served(person: Person, address: str) -> Iterator[None]:
    """Serve a token with the person's store at an address, which their pysk_config names."""
    with serve("--store", str(person.store), address) as token:
        person.configure(device=token.names[0])
        yield


@pytest.fixture(scope="module")
def lean(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Lean:
    """What a signature has loaded, by a token at a Unix socket that has key handles of another kind than ours."""
    folder = tmp_path_factory.mktemp("lean")
    person = watched.person(folder)
    challenge = folder / "challenge"
    challenge.write_bytes(secrets.token_bytes(32))
    token, program = virtual_token.VirtualKey(), compile_tool("token", folder)
    with virtual_token.running(program, token.answers(challenge.read_bytes()), folder, [0]) as (address,):
        person.configure(device=address)
        key = enrolled(person, "ed25519-sk", f"challenge={challenge}")
        sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(key)]
        data = sk_helper.signed_data(sk_helper.capture(sign, person.environment, folder, MESSAGE))
    (folder / "token-0").unlink()  # which the next token binds
    with virtual_token.running(program, token.answers(b"", data), folder, [0]):
        return watched.sign(person, key), person


def test_a_signature_without_a_pin_loads_nothing_heavy(lean: Lean) -> None:
    told, _ = lean
    assert "sk_provider.transports.unix" in told.modules
    assert_lean(told)


def test_a_signature_without_a_pin_opens_its_configuration_and_nothing_else(lean: Lean) -> None:
    told, person = lean
    assert told.opened == [str(person.config), "/etc/ssh/pysk_config"]


def test_a_signature_over_udp_loads_nothing_heavy_and_opens_no_module(watched: Watched, person: Person) -> None:
    with served(person, "udp:127.0.0.1:0"):
        told = watched.sign(person, enrolled(person))
    assert "sk_provider.transports.udp" in told.modules
    assert_lean(told)
    assert watched.module_files(told) == []


def test_a_signature_by_one_of_several_tokens_loads_nothing_heavy_and_opens_no_module(
    watched: Watched, person: Person, sockets: Path, tmp_path: Path
) -> None:
    other = f"unix:{sockets}/other"
    with served(person, f"unix:{sockets}/token"), serve("--store", str(tmp_path / "other"), other):
        key = enrolled(person)
        person.configure(device=f"unix:{sockets}/token {other}")
        told = watched.sign(person, key)
    assert "sk_provider.client.candidates" in told.modules
    assert_lean(told)
    assert watched.module_files(told) == []


def test_a_signature_by_the_software_authenticator_opens_no_module_and_wants_all_that_is_carried_for_it(
    watched: Watched, person: Person
) -> None:
    told = watched.sign(person, enrolled(person))
    assert watched.module_files(told) == []
    assert watched.carried_for_soft() - told.modules == set()


def test_a_signature_with_a_pin_loads_the_client_of_fido2_and_nothing_beside_it(
    watched: Watched, person: Person, sockets: Path
) -> None:
    with served(person, f"unix:{sockets}/token"):
        person.set_pin(PIN)
        _, key = person.enroll("id", "ed25519-sk", "verify-required")
        told = watched.sign(person, key, answers=[(PIN_PROMPT, PIN)])
    assert "fido2.ctap2.pin" in told.modules
    assert told.modules & NEVER == set()
