"""A record is made of whatever a directory says, or refused: nothing of it gets out of its line, or its file's name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import debian
from support.records import ED25519, HOSTILE_TEXTS, POINT, lines_of, record

from sk_provider.api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    FLAG_RESIDENT_KEY,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
)
from sk_provider.credentials import openssh_key
from sk_provider.credentials.directory.record import (
    RecordRefused,
    checked,
    flags_of,
    from_base64,
    options_of,
)

ANYTHING = st.one_of(
    HOSTILE_TEXTS, st.binary(max_size=100), st.integers(), st.none(), st.booleans(), st.lists(st.integers(), max_size=3)
)
ALGORITHMS = [(ALGORITHM_ED25519, ED25519), (ALGORITHM_ECDSA, POINT)]


@given(st.tuples(*[ANYTHING] * 7))
def test_whatever_a_directory_says_is_a_record_or_is_refused_in_one_line(untrusted: tuple[object, ...]) -> None:
    assert all(line.isprintable() for line in lines_of(lambda: checked(*untrusted)))


@given(HOSTILE_TEXTS, HOSTILE_TEXTS, HOSTILE_TEXTS)
@example("alice", "ssh:", "\nssh-ed25519 AAAA mallory")
def test_no_text_of_a_record_gets_a_line_or_an_option_of_its_own(user: str, application: str, comment: str) -> None:
    *_, line = lines_of(
        lambda: checked(user, application, ALGORITHM_ED25519, ED25519, b"handle", FLAG_USER_PRESENCE, comment)
    )
    assert line.isprintable()
    assert line.startswith("sk-ssh-ed25519@openssh.com AAAA") or "; " in line


@given(HOSTILE_TEXTS)
def test_a_comment_is_one_line_of_some_length(comment: str) -> None:
    cleaned = record(comment=comment).comment
    assert cleaned.isprintable()
    assert len(cleaned) <= 255
    assert cleaned == record(comment=cleaned).comment


@pytest.mark.parametrize(
    "application", ["ssh:../x", "ssh:a/b", "ssh://a/b", "ssh:..", "ssh:a\\b", "", " ssh:", "ssh:\n", "x" * 256, 5]
)
def test_an_application_that_is_none_or_would_be_a_path_is_refused(application: object) -> None:
    with pytest.raises(RecordRefused):
        checked("alice", application, ALGORITHM_ED25519, ED25519, b"handle")


@pytest.mark.parametrize(
    "application", ["ssh:", "ssh:work", "ssh://host", "example.com", "pam://host", "ssh:ü", "ssh:" + "x" * 251]
)
def test_applications_of_ssh_and_of_others_are_taken(application: str) -> None:
    assert record(application=application).application == application


def test_a_user_has_a_name_of_some_length() -> None:
    assert record("a" * 256).user == "a" * 256
    with pytest.raises(RecordRefused):
        record("a" * 257)


@pytest.mark.parametrize(
    ("algorithm", "public_key"),
    [
        (ALGORITHM_ED25519, POINT),
        (ALGORITHM_ED25519, ED25519[:31]),
        (ALGORITHM_ED25519, bytearray(ED25519)),
        (ALGORITHM_ECDSA, ED25519),
        (ALGORITHM_ECDSA, POINT[:-1] + bytes([POINT[-1] ^ 1])),
        (ALGORITHM_ECDSA, b"\x02" + POINT[1:]),
        (ALGORITHM_ECDSA, b"\x04" + bytes(64)),
        (ALGORITHM_ECDSA, b"\x04" + b"\xff" * 64),
        (2, ED25519),
        (True, ED25519),
        ("1", ED25519),
        (None, ED25519),
    ],
)
def test_a_public_key_that_is_not_of_its_algorithm_is_refused(algorithm: object, public_key: object) -> None:
    with pytest.raises(RecordRefused):
        checked("alice", "ssh:", algorithm, public_key, b"handle")


@pytest.mark.parametrize("key_handle", [b"", b"x" * 1024, "text", None])
def test_a_key_handle_has_a_length(key_handle: object) -> None:
    with pytest.raises(RecordRefused, match="key handle"):
        checked("alice", "ssh:", ALGORITHM_ED25519, ED25519, key_handle)


@pytest.mark.parametrize("flags", [FLAG_RESIDENT_KEY, 0x80, -1, None, True])
def test_flags_that_are_not_known_are_refused(flags: object) -> None:
    with pytest.raises(RecordRefused, match="flags"):
        checked("alice", "ssh:", ALGORITHM_ED25519, ED25519, b"handle", flags)


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (FLAG_USER_PRESENCE, []),
        (0, ["no-touch-required"]),
        (FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION, ["verify-required"]),
        (FLAG_USER_VERIFICATION, ["no-touch-required", "verify-required"]),
    ],
)
def test_the_options_of_a_line_are_what_the_flags_demand(flags: int, options: list[str]) -> None:
    assert options_of(flags) == options
    assert flags_of(options) == flags
    line = record(flags=flags, comment="a key").authorized_keys_line()
    assert line == " ".join(filter(None, [",".join(options), record(comment="a key").public_line()]))


@pytest.mark.parametrize("option", ["", "cert-authority", 'command="id"', "\n"])
def test_no_other_option_is_taken(option: str) -> None:
    with pytest.raises(RecordRefused, match="unknown option"):
        flags_of([option])


@pytest.mark.parametrize(("algorithm", "public_key"), ALGORITHMS)
def test_ssh_keygen_reads_the_public_key_and_has_its_fingerprint(
    algorithm: int, public_key: bytes, tmp_path: Path
) -> None:
    made = record(algorithm=algorithm, application="example.com", comment="a comment")
    assert made.public_key == public_key
    path = tmp_path / "key.pub"
    path.write_text(made.public_line() + "\n")
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", path], env=debian.programs(), capture_output=True, text=True, check=True, timeout=60
    )
    assert made.fingerprint() in done.stdout.split()
    assert "a comment" in done.stdout


@given(st.binary(max_size=200))
def test_a_blob_that_is_no_security_keys_is_no_key(blob: bytes) -> None:
    for number in openssh_key.TYPES:
        name = openssh_key.string(openssh_key.TYPES[number].encode())
        try:
            algorithm, public_key, application = openssh_key.parse_public_blob(name + blob)
        except ValueError:
            continue
        assert openssh_key.public_blob(algorithm, public_key, application) == name + blob


@pytest.mark.parametrize("text", ["", "AAA", "AA=A", "A", "AAAA\n", "AA==", "AB==", "_-8=", "ÄAAA", "AAAA AAAA"])
def test_base64_is_taken_in_its_one_form_alone(text: str) -> None:
    if text in ("", "AA=="):
        assert from_base64(text) == (b"\0" if text else b"")
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - it has no text
            from_base64(text)
