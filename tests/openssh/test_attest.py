"""pysk attest on what ssh-keygen writes of tokens that attest their keys in every way, and of one that does not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.openssh import PIN, PIN_PROMPT, Person
from support.serve import serve

from sk_provider.credentials import attestation_file

CHALLENGES = {"short": b"x", "a hash's length": bytes(range(32)), "text": b"a challenge\n", "long": bytes(100_000)}


def pysk(person: Person, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [person.pysk, "attest", *arguments],
        text=True, env=person.environment, cwd=person.folder, check=False, capture_output=True, timeout=60,
    )  # fmt: skip


def enroll(person: Person, kind: str, *options: str, challenge: bytes = CHALLENGES["text"]) -> None:
    """Have ssh-keygen write id, id.pub and attestation for a challenge."""
    (person.folder / "challenge").write_bytes(challenge)
    for name in ("id", "id.pub", "attestation"):
        (person.folder / name).unlink(missing_ok=True)
    attests = (f"challenge={person.folder}/challenge", f"write-attestation={person.folder}/attestation")
    answers = [(PIN_PROMPT, PIN)] if "resident" in options else []
    done, _ = person.enroll("id", kind, *options, *attests, answers=answers)
    assert done.status == 0, done


def verify(person: Person, *more: str) -> subprocess.CompletedProcess[str]:
    return pysk(person, "verify", "attestation", "--key", "id.pub", "--challenge", "challenge", *more)


def fingerprint(person: Person) -> str:
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", person.folder / "id"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()[1]


@pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES.keys())
def test_what_ssh_keygen_writes_is_verified(person: Person, kind: str, challenge: bytes) -> None:
    enroll(person, kind, "application=ssh:work", challenge=challenge)
    done = verify(person)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.splitlines() == [
        "signature: good, by the authenticator's attestation key (packed)",
        f"key: {fingerprint(person)}, the one in id.pub",
        "application: ssh:work",
        "challenge: the one in challenge",
        "user present: yes",
        "user verified: no",
        "model: 4415c58f-d29e-f869-f813-4db032b931cc pysk software authenticator (not verified)",
        "maker: not verified; that takes --roots or --mds",
    ]
    (person.folder / "challenge").write_bytes(challenge + b"x")
    done = verify(person)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pysk: attestation is forged, or of another challenge; give the file that was given with -O challenge\n"
    )


def test_the_attestation_of_a_resident_key_that_wants_its_pin_is_verified(person: Person, kind: str) -> None:
    person.set_pin(PIN)
    enroll(person, kind, "resident", "verify-required")
    told = json.loads(verify(person, "--json", "--application", "ssh:").stdout)
    assert (told["user_verified"], told["type"], told["fingerprint"]) == (True, kind, fingerprint(person))
    shown = json.loads(pysk(person, "show", "--json", "attestation").stdout)
    assert shown == {name: value for name, value in told.items() if name != "maker"}


def test_the_attestation_of_a_token_of_u2f_is_verified(person: Person, sockets: Path) -> None:
    with serve("--profile", "u2f", f"unix:{sockets}/token") as served:
        person.configure(device=served.names[0])
        enroll(person, "ecdsa-sk")
    done = verify(person)
    assert done.returncode == 0, done
    assert done.stdout.startswith("signature: good, by the authenticator's attestation key (fido-u2f)\n")
    shown = pysk(person, "show", "attestation").stdout
    assert shown.startswith("format: fido-u2f\naaguid: 00000000-0000-0000-0000-000000000000\n")


def test_a_key_that_attests_itself_proves_possession_and_no_maker(person: Person, sockets: Path, kind: str) -> None:
    with serve(f"unix:{sockets}/token", fault="attests-itself") as served:
        person.configure(device=served.names[0])
        enroll(person, kind)
    done = verify(person)
    assert done.returncode == 0, done
    assert done.stdout.startswith("signature: good, by the key itself (self)\n")
    assert done.stdout.endswith("maker: not verified; that takes --roots or --mds\n")
    (person.folder / "challenge").write_bytes(b"another")
    assert verify(person).returncode == 1


def test_a_key_that_nothing_attests_is_not_verified(person: Person, sockets: Path, kind: str) -> None:
    with serve(f"unix:{sockets}/token", fault="attests-nothing") as served:
        person.configure(device=served.names[0])
        enroll(person, kind)
    done = verify(person)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pysk: attestation has no signature, as the authenticator does not attest its keys; use one that does\n"
    )
    assert pysk(person, "show", "attestation").stdout.startswith("format: none\n")


def test_the_certificate_itself_may_be_trusted(person: Person, kind: str) -> None:
    enroll(person, kind)
    attested = attestation_file.parse((person.folder / "attestation").read_bytes(), "attestation")
    certificate = x509.load_der_x509_certificate(attested.certificate)
    (person.folder / "maker.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    done = verify(person, "--roots", "maker.pem")
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1].startswith("maker: verified by roots: CN=libpysk software authenticator,")
    shown = pysk(person, "show", "attestation").stdout.splitlines()
    assert f"certificate serial: {certificate.serial_number:x}" in shown
    assert "certificate organizational unit: Authenticator Attestation" in shown


def test_another_key_is_not_the_one_that_was_attested(person: Person, kind: str) -> None:
    enroll(person, kind)
    person.enroll("other", kind)
    done = pysk(person, "verify", "attestation", "--key", "other.pub", "--challenge", "challenge")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pysk: attestation is of another key; give the .pub file that was made with it\n"
