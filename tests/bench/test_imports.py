"""What a signature loads and opens inside ssh-sk-helper: it is what a person waits for."""

from __future__ import annotations

import compileall
import json
import secrets
import subprocess
from pathlib import Path

import pytest
from bench import resident, sk_helper, virtual_token
from bench.measure import PATIENCE_S, compile_tool, environment
from support import provider_tree
from support.serve import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Whoever imports one of these for every signature makes everybody wait.
HEAVY = {
    "ast", "cffi", "click", "collections", "contextlib", "cryptography", "ctypes", "dataclasses", "enum",
    "fido2", "functools", "hashlib", "importlib.machinery", "importlib.metadata", "inspect", "json", "logging",
    "os", "pathlib", "re", "socket", "subprocess", "tempfile", "threading", "traceback", "typing", "warnings",
}  # fmt: skip

# What the standard library may give besides what the bare interpreter has.
LEAN = {"_sha2", "_sha256", "_socket", "pwd", "time"}

# Not even a PIN wants these.
NEVER = {
    "asyncio", "click", "ctypes", "email", "fido2.client", "fido2.pcsc", "http", "importlib.metadata",
    "pathlib", "sk_provider.authenticator", "smartcard", "socket", "sqlite3", "ssl", "subprocess",
    "unittest", "urllib",
}  # fmt: skip

# The first of our modules to be imported, and the end of a signature.
WATCH = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
before = sorted(sys.modules)
"""
TELL = """
_sign = sign


def sign(request, configuration, operation):
    import sys

    from sk_provider import before, opened

    response = _sign(request, configuration, operation)
    found = sorted(sys.modules), list(opened)
    import json

    with open({path!r}, "w") as file:
        json.dump({{"before": before, "modules": found[0], "opened": found[1]}}, file)
    return response
"""

PIN = "correct horse"
DOCUMENT = b"a document\n"


class Told:
    """The modules that there were when ours were first looked for, those in the end, and the files opened between."""

    def __init__(self, before: list[str], modules: list[str], opened: list[str]) -> None:
        self.modules = set(modules)
        self.imported = self.modules - set(before)
        self.opened = opened


class Watched:
    """A copy of the provider that writes down what a signature has loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = provider_tree.Tree(folder / "tree")
        self._told = folder / "told"
        self.tree.append("__init__.py", WATCH)
        self.tree.append("sign.py", TELL.format(path=str(self._told)))
        # As an installer leaves it.
        compileall.compile_dir(self.tree.package, quiet=1)
        self.tree.carry()

    def environment(self, *lines: str) -> dict[str, str]:
        config = self.folder / "pysk_config"
        config.touch(mode=0o600)
        config.write_text("".join(f"{line}\n" for line in lines))
        return environment(self.folder, SSH_SK_PROVIDER=self.tree.library, PYSK_CONFIG=config)

    def enroll(self, variables: Mapping[str, str], *options: str) -> Path:
        key = self.folder / "key"
        for path in (key, self.folder / "key.pub"):
            path.unlink(missing_ok=True)
        self._run(["ssh-keygen", "-q", "-t", "ed25519-sk", "-N", "", "-f", str(key), *options], variables)
        return key

    def sign(self, key: Path, variables: Mapping[str, str]) -> tuple[bytes, Told]:
        """Have the document signed, and return the signature and what was told."""
        signature = self._run(sign_command(key), variables)
        return signature, Told(**json.loads(self._told.read_text()))

    def _run(self, command: list[str], variables: Mapping[str, str]) -> bytes:
        done = subprocess.run(
            command, env=dict(variables), input=DOCUMENT, capture_output=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def sign_command(key: Path) -> list[str]:
    return ["ssh-keygen", "-q", "-Y", "sign", "-n", "bench", "-f", str(key)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def lean(watched: Watched) -> Told:
    """What a signature without a PIN by a token at a Unix socket has loaded."""
    folder = watched.folder
    challenge = folder / "challenge"
    challenge.write_bytes(secrets.token_bytes(32))
    token, program = virtual_token.VirtualKey(), compile_tool("token", folder)
    with virtual_token.running(program, token.answers(challenge.read_bytes()), folder, [0]) as (address,):
        variables = watched.environment(f"Device {address}")
        key = watched.enroll(variables, "-O", f"challenge={challenge}")
        data = sk_helper.signed_data(sk_helper.capture(sign_command(key), variables, folder, DOCUMENT))
    (folder / "token-0").unlink()  # which the next token binds
    with virtual_token.running(program, token.answers(b"", data), folder, [0]):
        signature, told = watched.sign(key, variables)
    assert sk_helper.verify_armoured(signature, key.with_name("key.pub"), data) == virtual_token.COUNTER
    return told


def test_a_signature_without_a_pin_loads_nothing_heavy(lean: Told) -> None:
    assert "sk_provider.transports.unix" in lean.modules
    assert lean.modules & HEAVY == set()
    assert {name for name in lean.imported if not name.startswith("sk_provider.")} <= LEAN


def test_a_signature_without_a_pin_opens_its_configuration_and_nothing_else(lean: Told, watched: Watched) -> None:
    assert lean.opened == [str(watched.folder / "pysk_config"), "/etc/ssh/pysk_config"]


def test_a_signature_with_a_pin_loads_the_client_of_fido2_and_nothing_beside_it(watched: Watched) -> None:
    folder = watched.folder
    store, socket = folder / "store", folder / "socket"
    resident.make_store(store, PIN)
    askpass = folder / "askpass"
    askpass.touch(mode=0o700)
    askpass.write_text(f"#!/bin/sh\necho '{PIN}'\n")
    variables = watched.environment(f"Device unix:{socket}") | {
        "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":nowhere",
    }  # fmt: skip
    with serve("--store", str(store), f"unix:{socket}"):
        key = watched.enroll(variables, "-O", "verify-required")
        data = sk_helper.signed_data(sk_helper.capture(sign_command(key), variables, folder, DOCUMENT))
        signature, told = watched.sign(key, variables)
    sk_helper.verify_armoured(signature, key.with_name("key.pub"), data)
    assert "fido2.ctap2.pin" in told.modules
    assert told.modules & NEVER == set()
