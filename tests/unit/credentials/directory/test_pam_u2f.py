"""Authfiles of pam_u2f, of every age."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import ED25519, HOSTILE_TEXTS, POINT, lines_of

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.config import Configuration
from sk_provider.credentials.directory import pam_u2f, settings
from sk_provider.credentials.directory.record import Record
from sk_provider.errors import DirectoryError

HANDLE = b"\xff\xfe\xfd" * 21 + b"!"
ORIGIN = f"pam://{os.uname().nodename}"
VERIFIED = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


ES256 = f"{base64_of(HANDLE)},{base64_of(POINT[1:])},es256"
EDDSA = f"{base64_of(HANDLE)},{base64_of(ED25519)},eddsa"
OLD = f"{base64.urlsafe_b64encode(HANDLE).decode().rstrip('=')},{POINT.hex()}"


def look_up(folder: Path, *lines: str, query: str = "") -> tuple[list[Record], list[str]]:
    path = folder / "u2f_keys"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o644)
    told: list[str] = []
    found = pam_u2f.look_up(f"pam-u2f:{path}{query}", "alice", settings.of(Configuration()), told.append)
    return found, told


@pytest.mark.parametrize(
    ("credential", "algorithm", "public_key", "flags"),
    [
        (f"{ES256},+presence", ALGORITHM_ECDSA, POINT, FLAG_USER_PRESENCE),
        (f"{EDDSA},+presence", ALGORITHM_ED25519, ED25519, FLAG_USER_PRESENCE),
        (f"{ES256},+presence+verification", ALGORITHM_ECDSA, POINT, VERIFIED),
        (f"{EDDSA},+presence+pin", ALGORITHM_ED25519, ED25519, VERIFIED),
        (f"{EDDSA},+presence+pin,a fifth", ALGORITHM_ED25519, ED25519, VERIFIED),
        (f"{ES256},", ALGORITHM_ECDSA, POINT, FLAG_USER_PRESENCE),
        (ES256, ALGORITHM_ECDSA, POINT, FLAG_USER_PRESENCE),
        (OLD, ALGORITHM_ECDSA, POINT, FLAG_USER_PRESENCE),
    ],
)
def test_every_form_of_a_credential_is_a_record(
    credential: str, algorithm: int, public_key: bytes, flags: int, tmp_path: Path
) -> None:
    (found,), told = look_up(tmp_path, "bob:nonsense", f"alice:{credential}")
    assert (found.user, found.application, found.key_handle) == ("alice", ORIGIN, HANDLE)
    assert (found.algorithm, found.public_key, found.flags) == (algorithm, public_key, flags)
    assert told == []


def test_a_line_has_several_credentials_and_the_last_line_counts(tmp_path: Path) -> None:
    found, _ = look_up(tmp_path, f"alice:{OLD}", f"alice:{ES256},+presence:{EDDSA},+presence+pin:")
    assert [each.algorithm for each in found] == [ALGORITHM_ECDSA, ALGORITHM_ED25519]
    assert look_up(tmp_path, f"alicea:{OLD}", f"alic:{OLD}") == ([], [])


def test_the_application_is_the_origin_and_that_of_old_keys_the_appid(tmp_path: Path) -> None:
    line = f"alice:{ES256},+presence:{OLD}"
    for query, applications in {
        "?origin=pam://office": ["pam://office", "pam://office"],
        "?origin=pam://office&appid=pam%3A//old": ["pam://office", "pam://old"],
        "?appid=pam://old": [ORIGIN, "pam://old"],
    }.items():
        found, _ = look_up(tmp_path, line, query=query)
        assert [each.application for each in found] == applications


@pytest.mark.parametrize("query", ["?", "?origin", "?origin=", "?host=x", "?origin=a&b"])
def test_anything_else_in_the_url_is_an_error(query: str, tmp_path: Path) -> None:
    if query == "?":
        assert look_up(tmp_path, query=query) == ([], [])
        return
    with pytest.raises(DirectoryError, match="other parts than a path, origin and appid"):
        look_up(tmp_path, query=query)


@pytest.mark.parametrize(
    ("credential", "said"),
    [
        (f"*,{base64_of(POINT[1:])},es256,+presence", "a resident key is without its key handle"),
        (f"{base64_of(HANDLE)},{base64_of(bytes(270))},rs256,+presence", "of a type that ssh does not support"),
        (base64_of(HANDLE), "has no public key"),
        (f"{base64_of(HANDLE)},{base64_of(ED25519)},es256,+presence", "public key is not valid for its type"),
        (f"{base64_of(HANDLE)},{POINT.hex()},es256,+presence", "is not in base64"),
        (f"{OLD[:-2]}", "public key is not valid for its type"),
        (f"{OLD[:-1]}x", "is not in base64"),
        (f"?,{base64_of(ED25519)},eddsa,+presence", "is not in base64"),
        (f",{base64_of(ED25519)},eddsa,+presence", "key handle does not have"),
    ],
)
def test_a_credential_that_ssh_cannot_use_costs_only_itself_and_is_told(
    credential: str, said: str, tmp_path: Path
) -> None:
    (found,), (sentence,) = look_up(tmp_path, f"alice:{credential}:{EDDSA},+presence")
    assert found.algorithm == ALGORITHM_ED25519
    assert sentence.startswith(f"{tmp_path}/u2f_keys line 1: ")
    assert said in sentence
    assert ", and is left out; " in sentence


FIELDS = st.one_of(HOSTILE_TEXTS, st.sampled_from([*ES256.split(","), *EDDSA.split(","), *OLD.split(","), "+pin", "*"]))


@given(st.lists(FIELDS, max_size=6), HOSTILE_TEXTS)
def test_a_credential_of_whatever_content_is_a_record_or_is_refused(fields: list[str], origin: str) -> None:
    lines = lines_of(lambda: pam_u2f.parse(",".join(fields), "alice", origin, origin))
    assert all(line.isprintable() for line in lines)
