"""The private-key files of security keys, beside those of the real ssh-keygen."""

from __future__ import annotations

import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.openssh import KeyFile, Person

from sk_provider.api import ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.credentials import key_file
from sk_provider.credentials.directory.record import Record, RecordRefused
from sk_provider.credentials.key_file import KeyFileRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Path]

pytestmark = pytest.mark.slow

RECORD = Record("alice", "example.com", ALGORITHM_ED25519, bytes(range(32)), b"a key handle", FLAG_USER_PRESENCE, "c")
PASSPHRASE = "correct horse"
# With an ed25519-sk key nothing is to be padded, with an ecdsa-sk key something is.
COMMENT = "the blue token."


@pytest.fixture
def make(person: Person) -> Make:
    def make(kind: str, *options: str, passphrase: str = "", more: tuple[str, ...] = ()) -> Path:
        path = person.folder / f"id{len(list(person.folder.iterdir()))}"
        command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", COMMENT, "-f", str(path), *more]
        done = person.run(*command, *(word for option in options for word in ("-O", option)))
        assert done.status == 0, done
        return path

    return make


def without_check(content: bytes, section_length: int) -> bytes:
    """Return what the file holds but for the random number that ssh-keygen puts into it."""
    whole = b64decode(b"".join(content.splitlines()[1:-1]))
    start = len(whole) - section_length
    return whole[:start] + whole[start + 8 :]


def with_another_check(content: bytes) -> bytes:
    """Return what the file would be if its two random numbers differed, as where a passphrase is wrong."""
    begin, *lines, end = content.splitlines()
    whole = bytearray(b64decode(b"".join(lines)))
    # Before them is the length of the section that they begin.
    whole[15 + 8 + 8 + 4 + 4 + 4 + len(RECORD.blob()) + 4] ^= 1
    return b"\n".join([begin, b64encode(whole), end, b""])


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ((), FLAG_USER_PRESENCE),
        (("no-touch-required",), 0),
        (("application=ssh:of a name with blanks",), FLAG_USER_PRESENCE),
    ],
)
def test_a_file_is_the_one_that_ssh_keygen_writes(make: Make, kind: str, options: tuple[str, ...], flags: int) -> None:
    path = make(kind, *options)
    content = path.read_bytes()
    record = key_file.parse(content, str(path), "alice")
    assert (record.user, record.flags, record.comment) == ("alice", flags, COMMENT)
    assert record.public_line() == path.with_name(f"{path.name}.pub").read_text().rstrip("\n")
    assert record.key_handle == KeyFile(path).key_handle
    written = key_file.serialize(record)
    assert len(written) == len(content)
    private = len(record.blob()) + len(record.key_handle) + 8 + 1 + 4 + 4 + 4 + len(COMMENT)
    length = private + -private % 8
    assert without_check(written, length) == without_check(content, length)
    # And the lines are of ssh-keygen's length.
    assert [len(line) for line in written.splitlines()] == [len(line) for line in content.splitlines()]


def test_ssh_keygen_reads_what_was_written(tmp_path: Path) -> None:
    # Each of the lengths that are padded in another way
    for comment in ("", *("c" * length for length in range(1, 9))):
        record = Record("alice", "example.com", ALGORITHM_ED25519, bytes(range(32)), b"handle", 5, comment)
        path = tmp_path / "key"
        path.write_bytes(key_file.serialize(record))
        path.chmod(0o600)
        shown = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True, timeout=60)
        assert shown.stdout.rstrip("\n") == record.public_line()


def test_flags_that_no_directory_keeps_are_left_out(person: Person) -> None:
    person.set_pin("a PIN 1234")
    done, path = person.enroll("strict", "ed25519-sk", "resident", "verify-required", answers=[("PIN", "a PIN 1234")])
    assert done.status == 0, done
    record = key_file.parse(path.read_bytes(), str(path), "alice")
    assert record.flags == FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION


@pytest.mark.parametrize("cipher", ["aes256-ctr", "chacha20-poly1305@openssh.com"])
def test_an_encrypted_file_is_read_with_its_passphrase(make: Make, kind: str, cipher: str) -> None:
    path = make(kind, passphrase=PASSPHRASE, more=("-Z", cipher))
    content = path.read_bytes()
    assert key_file.is_encrypted(content, str(path))
    with pytest.raises(KeyFileRefused, match=r"is encrypted; give its passphrase"):
        key_file.parse(content, str(path), "alice")
    with pytest.raises(KeyFileRefused, match="wrong passphrase for"):
        key_file.decrypted(content, str(path), "wrong")
    opened = key_file.decrypted(content, str(path), PASSPHRASE)
    assert not key_file.is_encrypted(opened, str(path))
    record = key_file.parse(opened, str(path), "alice")
    assert record.public_line() == path.with_name(f"{path.name}.pub").read_text().rstrip("\n")
    # Nothing was changed, nor is there another file.
    assert path.read_bytes() == content
    assert sorted(each.name for each in path.parent.glob("id*")) == [path.name, f"{path.name}.pub"]


def test_what_is_no_key_file_of_a_security_key_is_told(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", plain], check=True, timeout=60)
    content = key_file.serialize(RECORD)
    for wrong, sentence in (
        (plain.read_bytes(), "is not the key of a security key"),
        (RECORD.public_line().encode(), "is a public key"),
        (b"", "is not an OpenSSH private-key file"),
        (b"\xff" * 1000, "is not an OpenSSH private-key file"),
        (content[:-30], "is damaged"),
        (content.replace(b"AAAA", b"BBBB"), "is damaged"),
        (with_another_check(content), "is damaged"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n", "is damaged"),
    ):
        with pytest.raises(KeyFileRefused, match=sentence):
            key_file.parse(wrong, "the file", "alice")


@given(st.data())
def test_any_damage_is_told_in_a_sentence(data: st.DataObject) -> None:
    content = bytearray(key_file.serialize(RECORD))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        key_file.parse(bytes(content), "the file", "alice")
    except (KeyFileRefused, RecordRefused):
        pass


@pytest.mark.parametrize(
    ("application", "name"),
    [
        ("ssh:", "id_ed25519_sk_rk_b7c1d06ee1f1f4d2"),
        ("ssh:work", "id_ed25519_sk_rk_work_b7c1d06ee1f1f4d2"),
        ("example.com", "id_ed25519_sk_rk_example.com_b7c1d06ee1f1f4d2"),
        ("pam://host/..", "id_ed25519_sk_rk_pam___host_.._b7c1d06ee1f1f4d2"),
        ("x" * 255, f"id_ed25519_sk_rk_{'x' * 100}_b7c1d06ee1f1f4d2"),
    ],
)
def test_a_files_name_is_legal(application: str, name: str) -> None:
    record = Record("alice", application, ALGORITHM_ED25519, bytes(32), b"a key handle")
    assert key_file.name(record) == name.replace("b7c1d06ee1f1f4d2", record.handle_digest())
