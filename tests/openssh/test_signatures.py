"""ssh-keygen -Y and -s: signatures over files and certificates."""

from __future__ import annotations

import subprocess

import pytest
from support.openssh import Person, provider_lines
from support.sshd import Sshd, keygen


@pytest.mark.parametrize("length", [0, 1, 1 << 20])
def test_message_of_any_length_is_signed(person: Person, kind: str, length: int) -> None:
    _, path = person.enroll("id", kind)
    message = bytes(length)
    done, signature = person.sign(path, message)
    assert done.status == 0, done
    assert person.verify(path, signature, message).returncode == 0


def test_signature_holds_for_no_other_message(person: Person, kind: str) -> None:
    _, path = person.enroll("id", kind)
    _, signature = person.sign(path, b"one")
    assert person.verify(path, signature, b"another").returncode != 0


def test_signature_holds_for_no_other_key(person: Person, kind: str) -> None:
    _, path = person.enroll("id", kind)
    _, other = person.enroll("other", kind)
    _, signature = person.sign(path)
    assert person.verify(other, signature).returncode != 0


def test_each_of_many_ecdsa_signatures_verifies(person: Person) -> None:
    # r and s of one in 128 signatures have a leading zero byte.
    _, path = person.enroll("id", "ecdsa-sk")
    for number in range(40):
        message = b"%d" % number
        done, signature = person.sign(path, message)
        assert done.status == 0, done
        assert person.verify(path, signature, message).returncode == 0


def test_key_of_another_store_is_told_how_to_be_used(person: Person, kind: str) -> None:
    _, path = person.enroll("id", kind)
    person.store.rename(person.folder / "elsewhere")
    person.enroll("other", kind)
    done, signature = person.sign(path)
    assert done.status != 0
    assert not signature.exists()
    (line,) = provider_lines(done.errors)
    assert line == (
        "libpysk: the key belongs to a software authenticator that is neither the default one (soft:) nor named "
        "by Device; name it with Device in pysk_config: soft:/PATH for its store, or the address at "
        "which pysk serve serves it; "
        "if its store was deleted, enroll a new key"
    )


def test_sk_authority_signs_certificates_that_log_in(person: Person, server: Sshd, kind: str) -> None:
    _, authority = person.enroll("authority", kind)
    user_key = person.folder / "user"
    keygen("-t", "ed25519", "-f", str(user_key))
    done = person.run("ssh-keygen", "-s", str(authority), "-I", "somebody", "-n", server.user, str(user_key) + ".pub")
    assert done.status == 0, done
    assert not provider_lines(done.screen + done.errors)
    listed = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(user_key) + "-cert.pub"], check=True, capture_output=True, text=True, timeout=60
    )
    assert "Signing CA: " in listed.stdout
    server.authorized_keys.write_text("cert-authority " + (person.folder / "authority.pub").read_text())
    done = person.run(*server.client("-o", "IdentitiesOnly=yes", "-i", str(user_key)), "echo logged in")
    assert done.status == 0, done
    assert "logged in" in done.screen
