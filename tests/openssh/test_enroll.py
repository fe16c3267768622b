"""ssh-keygen -t with each of its options."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from support.openssh import (
    ASKS_ON_DEMAND,
    PIN,
    PIN_PROMPT,
    RESIDENT,
    USER_PRESENT,
    USER_VERIFIED,
    KeyFile,
    Person,
    Reader,
    Signature,
    provider_lines,
    version,
)


@pytest.mark.parametrize(
    ("options", "flags", "application"),
    [
        ([], USER_PRESENT, "ssh:"),
        (["no-touch-required"], 0, "ssh:"),
        (["resident"], USER_PRESENT | RESIDENT, "ssh:"),
        (["resident", "user=alice"], USER_PRESENT | RESIDENT, "ssh:"),
        (["application=ssh:work"], USER_PRESENT, "ssh:work"),
        (["resident", "no-touch-required", "application=ssh:work", "user=bob"], RESIDENT, "ssh:work"),
    ],
    ids=lambda value: "+".join(value) or "plain" if isinstance(value, list) else None,
)
def test_enrolled_key_is_what_was_asked_for_and_signs(
    person: Person, kind: str, options: list[str], flags: int, application: str
) -> None:
    done, path = person.enroll("id", kind, *options)
    assert done.status == 0, done
    assert not provider_lines(done.screen + done.errors)
    assert PIN_PROMPT not in done.screen or version() < ASKS_ON_DEMAND
    key = KeyFile(path)
    assert (
        key.public.kind
        == {
            "ed25519-sk": "sk-ssh-ed25519@openssh.com",
            "ecdsa-sk": "sk-ecdsa-sha2-nistp256@openssh.com",
        }[kind]
    )
    assert key.flags == flags
    assert key.public.application == application
    assert key.key_handle.startswith(b"pysk")

    done, path_of_signature = person.sign(path)
    assert done.status == 0, done
    assert not provider_lines(done.screen + done.errors)
    assert person.verify(path, path_of_signature).returncode == 0
    assert Signature(path_of_signature.read_text()).flags == flags & USER_PRESENT


def test_verify_required_key_signs_only_with_the_pin(person: Person, kind: str) -> None:
    person.set_pin(PIN)
    # An authenticator makes a key that is not resident for whoever touches it.
    done, path = person.enroll("id", kind, "verify-required")
    assert done.status == 0, done
    assert PIN_PROMPT not in done.screen or version() < ASKS_ON_DEMAND
    assert not provider_lines(done.screen + done.errors)
    assert KeyFile(path).flags == USER_PRESENT | USER_VERIFIED
    done, signature = person.sign(path, answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert not provider_lines(done.screen + done.errors)
    assert PIN not in done.screen
    assert person.verify(path, signature).returncode == 0
    assert Signature(signature.read_text()).flags == USER_PRESENT | USER_VERIFIED


def test_resident_key_wants_the_pin_once_there_is_one(person: Person, kind: str) -> None:
    person.set_pin(PIN)
    done, path = person.enroll("id", kind, "resident", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert KeyFile(path).flags == USER_PRESENT | RESIDENT
    done, signature = person.sign(path)
    assert done.status == 0, done
    assert person.verify(path, signature).returncode == 0


def test_counter_rises_with_each_signature(person: Person, kind: str) -> None:
    _, path = person.enroll("id", kind)
    counters = [Signature(person.sign(path)[1].read_text()).counter for _ in range(3)]
    assert counters[0] < counters[1] < counters[2]


def test_key_of_one_type_leaves_those_of_the_other_alone(person: Person) -> None:
    _, first = person.enroll("first", "ed25519-sk", "resident")
    done, second = person.enroll("second", "ecdsa-sk", "resident", "user=other")
    assert done.status == 0, done
    for path in (first, second):
        done, signature = person.sign(path)
        assert done.status == 0, done
        assert person.verify(path, signature).returncode == 0


def test_attestation_is_signed_by_the_certificate_that_it_holds(person: Person, kind: str) -> None:
    challenge = b"an unforeseeable challenge"
    (person.folder / "challenge").write_bytes(challenge)
    done, path = person.enroll("id", kind, "challenge=challenge", "write-attestation=attestation")
    assert done.status == 0, done
    assert not provider_lines(done.screen + done.errors)
    key = KeyFile(path)

    blob = Reader((person.folder / "attestation").read_bytes())
    assert blob.string() == b"ssh-sk-attest-v01"
    certificate = x509.load_der_x509_certificate(blob.string())
    signature = blob.string()
    wrapped = blob.string()
    assert (blob.uint32(), blob.string(), blob.rest()) == (0, b"", b"")
    # The authenticator data is a CBOR byte string (RFC 8949 §3), here of 24 to 255 bytes, or of up to 65535.
    head = {0x58: 2, 0x59: 3}[wrapped[0]]
    assert int.from_bytes(wrapped[1:head], "big") == len(wrapped) - head
    authenticator_data = wrapped[head:]

    attester = certificate.public_key()
    assert isinstance(attester, ec.EllipticCurvePublicKey)
    attester.verify(signature, authenticator_data + hashlib.sha256(challenge).digest(), ec.ECDSA(SHA256()))

    # WebAuthn §6.1: RP id hash, flags, counter, AAGUID, length of the credential id, credential id, COSE key.
    data = Reader(authenticator_data)
    assert data.take(32) == hashlib.sha256(b"ssh:").digest()
    assert data.uint8() == 0x41
    data.uint32()
    aaguid = data.take(16)
    assert data.take(int.from_bytes(data.take(2), "big")) == key.key_handle
    coordinates = [key.public.key] if kind == "ed25519-sk" else [key.public.key[1:33], key.public.key[33:]]
    assert all(coordinate in data.rest() for coordinate in coordinates)

    # WebAuthn §8.2.1
    assert certificate.version is x509.Version.v3
    subject = {attribute.oid: attribute.value for attribute in certificate.subject}
    assert subject[x509.NameOID.ORGANIZATIONAL_UNIT_NAME] == "Authenticator Attestation"
    assert re.fullmatch("[A-Z]{2}", str(subject[x509.NameOID.COUNTRY_NAME]))
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca
    extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4"))
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == b"\x04\x10" + aaguid
    assert not extension.critical


def test_user_that_is_too_long_is_refused_with_a_sentence(person: Person) -> None:
    done, path = person.enroll("id", "ed25519-sk", "user=" + 32 * "x")
    assert done.status != 0
    assert not path.exists()
    assert provider_lines(done.errors) == [
        "libpysk: the user name is longer than 31 bytes; choose a shorter one with -O user="
    ]


def test_refused_presence_is_told_in_a_sentence(person: Person, kind: str) -> None:
    _, path = person.enroll("id", kind)
    person.configure("Presence deny")
    for done, made in (person.enroll("other", kind), person.sign(path)):
        assert done.status != 0
        assert not made.exists()
        assert "PIN" not in done.screen
        assert provider_lines(done.errors) == [
            "libpysk: pysk_config refuses everything that needs a touch of soft: (Presence deny); change that line"
        ]


def test_presence_is_asked_on_the_terminal(person: Person) -> None:
    person.configure("Presence ask")
    done, path = person.enroll("id", "ed25519-sk", answers=[("libpysk: ", "")])
    assert done.status == 0, done
    done, signature = person.sign(path, answers=[("libpysk: ", "no")])
    assert done.status != 0
    assert not signature.exists()
    done, signature = person.sign(path, answers=[("libpysk: ", "yes")])
    assert person.verify(path, signature).returncode == 0


class TestOverwriting:
    """A second resident key for the same application and user, of an authenticator that tells the PIN's owner of it."""

    QUESTION = "Overwrite key in token (y/n)? "

    @pytest.fixture
    def old(self, person: Person, kind: str) -> Path:
        person.set_pin(PIN)
        done, path = person.enroll("old", kind, "resident", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        return path

    def test_yes_replaces_the_key(self, person: Person, kind: str, old: Path) -> None:
        done, new = person.enroll("new", kind, "resident", answers=[(PIN_PROMPT, PIN), (self.QUESTION, "y")])
        assert done.status == 0, done
        assert not provider_lines(done.screen + done.errors)
        assert done.screen.count(PIN_PROMPT) == 1
        assert KeyFile(new).flags == USER_PRESENT | RESIDENT
        done, signature = person.sign(new)
        assert done.status == 0, done
        assert person.verify(new, signature).returncode == 0
        done, signature = person.sign(old)
        assert done.status != 0
        assert not signature.exists()
        (line,) = provider_lines(done.errors)
        assert line == (
            "libpysk: the authenticator does not hold this key, or hides it until it is given "
            "the PIN (verify-required); connect the authenticator that the key was enrolled on, or have ssh ask for "
            "the PIN (OpenSSH 10.5 and later): ssh-keygen -p -O verify-required"
        )

    def test_no_keeps_the_key(self, person: Person, kind: str, old: Path) -> None:
        done, new = person.enroll("new", kind, "resident", answers=[(PIN_PROMPT, PIN), (self.QUESTION, "n")])
        assert done.status != 0
        assert not new.exists()
        assert person.verify(old, person.sign(old)[1]).returncode == 0

    @pytest.mark.parametrize("option", ["user=other", "application=ssh:other"])
    def test_another_user_or_application_is_not_asked_about(
        self, person: Person, kind: str, old: Path, option: str
    ) -> None:
        done, new = person.enroll("new", kind, "resident", option, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert self.QUESTION not in done.screen
        for path in (old, new):
            assert person.verify(path, person.sign(path)[1]).returncode == 0


def test_a_resident_key_replaces_another_unnoticed_where_there_is_no_pin(person: Person) -> None:
    """For without one no authenticator tells of the other, which credProtect hides (CTAP 2.1 §12.1)."""
    _, old = person.enroll("old", "ed25519-sk", "resident")
    done, new = person.enroll("new", "ed25519-sk", "resident")
    assert done.status == 0, done
    assert TestOverwriting.QUESTION not in done.screen
    assert person.verify(new, person.sign(new)[1]).returncode == 0
    assert person.sign(old)[0].status != 0


def test_an_address_may_have_a_space_where_it_is_one_argument(person: Person) -> None:
    address = f"soft:{person.folder}/my  store"
    done, key = person.enroll("id", "ed25519-sk", f"device={address}")
    assert done.status == 0, done
    # Of the software authenticator another store's key is found only where that is named.
    done, _ = person.sign(key)
    assert done.status != 0
    person.configure("Presence auto", device=f'unix:/none "{address}"')
    done, signature = person.sign(key)
    assert done.status == 0, done
    assert person.verify(key, signature).returncode == 0
    listed = person.run(str(person.pysk), "devices", "--json", address)
    assert [each["address"] for each in json.loads(listed.screen)] == [address]
