from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.credentials import purpose
from sk_provider.credentials.purpose import Purpose

HOST_KEY = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)


def string(content: bytes | str) -> bytes:
    encoded = content.encode() if isinstance(content, str) else content
    return len(encoded).to_bytes(4, "big") + encoded


def sshsig(namespace: str | bytes) -> bytes:
    return b"SSHSIG" + string(namespace) + string(b"") + string("sha512") + string(bytes(64))


def login(user: str | bytes, method: str = "publickey", *, host_key: bytes | None = None) -> bytes:
    blob = string(bytes(32)) + b"\x32" + string(user) + string("ssh-connection") + string(method) + b"\x01"
    blob += string("sk-ssh-ed25519@openssh.com") + string(b"key")
    return blob if host_key is None else blob + string(host_key)


BOUND = "publickey-hostbound-v00@openssh.com"
MESSAGES = {
    "git": (sshsig("git"), "git signature"),
    "file": (sshsig("file"), "file signature"),
    "mail": (sshsig("mail@example.com"), "signature for mail@example.com"),
    "login": (login("root"), "login as root"),
    "bound": (
        login("root", BOUND, host_key=HOST_KEY),
        "login as root at SHA256:" + base64.b64encode(hashlib.sha256(HOST_KEY).digest()).rstrip(b"=").decode(),
    ),
    "certificate": (string("ssh-ed25519-cert-v01@openssh.com") + bytes(20), "certificate"),
    "krl": (b"SSHKRL\n\0" + bytes(20), "key revocation list"),
    "proof": (string("hostkeys-prove-00@openssh.com") + string(bytes(32)) + string(HOST_KEY), "proof of a host key"),
    "exchange hash": (bytes(32), "signature"),
    "nothing": (b"", "signature"),
}


@pytest.mark.parametrize(("message", "words"), MESSAGES.values(), ids=MESSAGES)
def test_what_is_signed_says_what_it_is_for(message: bytes, words: str) -> None:
    assert purpose.of_message(message).describe() == words


def test_a_server_may_have_a_name() -> None:
    assert purpose.of_message(login("root", BOUND, host_key=HOST_KEY)).describe("web.example") == (
        "login as root at web.example"
    )


@pytest.mark.parametrize("message", [MESSAGES[name][0] for name in ("git", "login", "bound", "proof")])
def test_a_message_with_a_byte_more_or_less_is_for_nothing_that_is_known(message: bytes) -> None:
    assert purpose.of_message(message + b"\0").kind == purpose.UNKNOWN
    for length in range(len(message)):
        assert purpose.of_message(message[:length]).kind == purpose.UNKNOWN


@pytest.mark.parametrize("message", [sshsig(b"\xff"), login(b"\xff"), login("root", "password")])
def test_what_no_client_would_send_is_for_nothing_that_is_known(message: bytes) -> None:
    assert purpose.of_message(message).kind == purpose.UNKNOWN


def test_names_of_others_neither_steer_a_terminal_nor_fill_it() -> None:
    assert purpose.of_message(login("\x1b[2Jroot\n")).describe() == 'login as "?[2Jroot?"'
    assert len(purpose.of_message(sshsig("n" * 1000)).describe()) < 100


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("root at home", 'login as "root at home" at '),
        ("root, with a key for ssh:", 'login as "root, with a key for ssh:" at '),
        ('root" at "home', r'login as "root\" at \"home" at '),
        ("root\\", r'login as "root\\" at '),
        ("root\nat", 'login as "root?at" at '),
        ("", 'login as "" at '),
        ("r" * 65, f'login as "{"r" * 61}"... at '),
        ("r" * 61 + "...", f"login as {'r' * 61}... at "),
        ("alice.b-c_d+e@example.org", "login as alice.b-c_d+e@example.org at "),
    ],
)
def test_a_name_that_others_choose_cannot_be_taken_for_more(user: str, words: str) -> None:
    found = purpose.of_message(login(user, BOUND, host_key=HOST_KEY))
    assert found.describe() == words + purpose.fingerprint(HOST_KEY)
    assert found.describe("[web.example]:22").removeprefix(words) == "[web.example]:22"


@given(st.text(max_size=80), st.text(max_size=80))
def test_names_are_told_apart_in_what_is_shown(user: str, host: str) -> None:
    name = r'([A-Za-z0-9._+/=:@\[\]%$-]+|"(?:[^"\\]|\\["\\])*"(?:\.\.\.)?)'
    shown = purpose.of_message(login(user, BOUND, host_key=HOST_KEY)).describe(host or "home")
    assert re.fullmatch(rf"login as {name} at {name}", shown)


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(message: bytes) -> None:
    found = purpose.of_message(message)
    assert isinstance(found, Purpose)
    assert found.describe().isprintable()
