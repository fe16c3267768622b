from __future__ import annotations

import posix
import re
from base64 import b64encode
from pathlib import Path

import pytest

from sk_provider import config, enroll, policy, resident, sign
from sk_provider.api import ALGORITHM_ED25519, FLAG_USER_PRESENCE, EnrollRequest, ResidentRequest, SignRequest
from sk_provider.asking import hosts
from sk_provider.config import Configuration
from sk_provider.credentials import purpose
from sk_provider.errors import OperationForbidden
from sk_provider.operation import Operation

HOST_KEY = b"a host key"


def string(content: bytes | str) -> bytes:
    encoded = content.encode() if isinstance(content, str) else content
    return len(encoded).to_bytes(4, "big") + encoded


GIT = b"SSHSIG" + string("git") + string(b"") + string("sha512") + string(bytes(64))
LOGIN_FIELDS = ("ssh-connection", "publickey-hostbound-v00@openssh.com")
LOGIN = b"".join([string(bytes(32)), b"\x32", string("root"), *map(string, LOGIN_FIELDS), b"\x01"])
LOGIN += string("sk-ssh-ed25519@openssh.com") + string(b"key") + string(HOST_KEY)

ENROLLING = EnrollRequest(ALGORITHM_ED25519, bytes(32), "ssh:a", FLAG_USER_PRESENCE, None, None, None)


def signing(message: bytes | None) -> SignRequest:
    read = None if message is None else lambda: message
    return SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:a", b"key", FLAG_USER_PRESENCE, None, None, read)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pysk_config"
    monkeypatch.setitem(posix.environ, b"PYSK_CONFIG", bytes(path))
    return path


def load(path: Path, text: str) -> Configuration:
    path.write_text(text)
    path.chmod(0o600)
    return config.load()


@pytest.mark.parametrize(
    ("line", "message", "applies"),
    [
        ("application ssh:a", None, True),
        ("application ssh:b", GIT, False),
        ("namespace git", GIT, True),
        ("namespace *", LOGIN, False),
        ("namespace *", None, False),
        ("user root", LOGIN, True),
        ("user root", GIT, False),
        (f"hostkey {purpose.fingerprint(HOST_KEY)}", LOGIN, True),
        ("hostkey SHA256:other", LOGIN, False),
        ("application ssh:* user root", LOGIN, True),
        ("namespace *", bytes(32), False),
    ],
)
def test_an_operation_is_what_its_message_says(path: Path, line: str, message: bytes | None, applies: bool) -> None:
    configuration = load(path, f"Match {line}\nPresence auto\n")
    policy.apply(configuration, "ssh:a", None if message is None else lambda: message)
    assert (configuration.presence == "auto") is applies


def test_the_program_that_asks_can_be_told_from_others(path: Path) -> None:
    name = hosts.program()
    assert name
    configuration = load(path, f"Match host-program {name}\nPresence auto\nMatch host-program agent\nDeny yes\n")
    policy.apply(configuration, "ssh:", None)
    assert configuration.presence == "auto"


@pytest.mark.parametrize(
    ("message", "words"),
    [(GIT, "this git signature"), (None, "this operation"), (bytes(32), "this operation")],
)
def test_what_is_forbidden_is_said_with_its_line(path: Path, message: bytes | None, words: str) -> None:
    configuration = load(path, "\nDeny yes\n")
    with pytest.raises(OperationForbidden, match=re.escape(f"{path} line 2 forbids {words} (Deny); ")):
        policy.apply(configuration, "ssh:", None if message is None else lambda: message)


def test_the_first_line_that_applies_decides_whether_it_is_forbidden(path: Path) -> None:
    configuration = load(path, "Match namespace git\nDeny no\nMatch all\nDeny yes\n")
    policy.apply(configuration, "ssh:", lambda: GIT)
    with pytest.raises(OperationForbidden):
        policy.apply(configuration, "ssh:", lambda: LOGIN)


def test_every_operation_is_judged_before_an_authenticator_is_looked_for(path: Path) -> None:
    configuration = load(path, "Device unix:/nothing\nDeny yes\n")
    operation = Operation(1)
    with pytest.raises(OperationForbidden, match="forbids this git signature"):
        sign.sign(signing(GIT), configuration, operation)
    with pytest.raises(OperationForbidden, match="forbids this operation"):
        enroll.enroll(ENROLLING, configuration, operation)
    with pytest.raises(OperationForbidden, match="forbids this operation"):
        resident.load_resident_keys(ResidentRequest(None, None), configuration, operation)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (signing(GIT), "git signature, with a key for ssh:a"),
        (signing(LOGIN), "login as root at home.invalid, with a key for ssh:a"),
        (signing(None), "signature, with a key for ssh:a"),
        (ENROLLING, "enrolling a key for ssh:a"),
        (ResidentRequest(None, None), "listing the resident keys"),
    ],
    ids=["git", "login", "unknown", "enroll", "list"],
)
def test_what_a_request_is_for_is_said_in_words(
    request_: EnrollRequest | SignRequest | ResidentRequest,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "home_directory", lambda: str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"home.invalid ssh-ed25519 {b64encode(HOST_KEY).decode()}\n")
    assert policy.describe(request_) == words
