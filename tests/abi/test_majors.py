"""The library for each major of the API, in a host that was compiled against the layouts of that major's releases."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from fido2 import cbor
from fido2.webauthn import AuthenticatorData
from support import sk_host
from support.openssh import RESIDENT, USER_PRESENT, USER_VERIFIED, Person
from support.sk_host import PIN


@pytest.mark.parametrize("major", [4, 5, 7, 9, 10])
def test_the_layouts_of_each_api_major_are_those_of_its_releases(tmp_path: Path, major: int) -> None:
    assert sk_host.compile_host(tmp_path, major=major).exists()


@pytest.mark.parametrize("major", [4, 5, 7, 9])
def test_a_host_of_another_api_major_refuses_the_library(
    tmp_path: Path, library: Path, person: Person, major: int
) -> None:
    played = sk_host.play(sk_host.compile_host(tmp_path, major=major), "version", library, env=person.environment)
    assert played.status == 4
    assert "version 0x000a0000" in played.stderr


@pytest.mark.parametrize("major", [4, 5, 7, 9])
def test_hosts_of_older_majors_enroll_sign_and_list(
    tmp_path: Path, library: Path, person_with_pin: Person, major: int
) -> None:
    host = sk_host.compile_host(tmp_path, major=major)
    older = library.with_name(f"libpysk-skapi{major}.so")
    played = sk_host.play(host, "sequence", older, "8", PIN, env=person_with_pin.environment)
    sk_host.assert_untouched(played)
    assert sk_host.verify_every_signature(played) == 32
    resident = played.call("resident")
    (key,) = played.calls("load")[0]["keys"]
    assert key["key_handle"] == resident["key_handle"]
    assert key["public_key"] == resident["public_key"]


@pytest.mark.parametrize("major", [4, 5, 7, 9, 10])
def test_each_member_of_a_major_has_what_belongs_there_and_it_has_no_other(
    tmp_path: Path, library: Path, person_with_pin: Person, major: int
) -> None:
    host = sk_host.compile_host(tmp_path, major=major)
    own = library if major == 10 else library.with_name(f"libpysk-skapi{major}.so")
    played = sk_host.play(host, "members", own, PIN, "somebody", env=person_with_pin.environment)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    enrolled = played.call("enroll")
    (listed,) = played.call("load")["keys"]
    expected = {
        "slot": 0,
        "alg": sk_host.ED25519,
        "application": sk_host.APPLICATION.hex(),
        "public_key": enrolled["public_key"],
        "key_handle": enrolled["key_handle"],
        # A list holds nothing of how the keys were made.
        "signature": None,
        "attestation_cert": None,
    }
    if major >= 7:
        expected |= {"authdata": None, "resident_flags": USER_VERIFIED}
    if major >= 9:
        expected |= {"flags": USER_VERIFIED, "user_id": b"somebody".ljust(32, b"\0").hex()}
        assert enrolled["flags"] == USER_PRESENT | USER_VERIFIED | RESIDENT
    assert listed == expected
    assert ("flags" in enrolled) == (major >= 9)
    assert ("authdata" in enrolled) == (major >= 7)
    assert_attested(enrolled)


# What a host is called, and who its parent is, tells whether anybody is asked for a PIN.
def play_as_a_child(folder: Path, parent: str, host: Path, library: Path, person: Person) -> sk_host.Played:
    """Play the signature without a PIN by a key that wants one, in a helper whose parent has that name."""
    shell = folder / parent
    shutil.copy("/bin/sh", shell)
    helper = host.rename(folder / "ssh-sk-helper")
    return sk_host.play(
        helper, "unasked", library, PIN, env=person.environment, wrapper=(str(shell), "-c", '"$@"; exit $?', "sh")
    )


WITHOUT_ASKPASS = "ssh-agent has nothing to ask with: start it with SSH_ASKPASS and DISPLAY, or use PinPrompt pinentry"


@pytest.mark.parametrize(
    ("major", "parent", "remedy"),
    [
        (
            4,
            "ssh",
            "this OpenSSH cannot ask for a PIN when it signs: use OpenSSH 8.4 or newer, or a key that needs none",
        ),
        (
            5,
            "ssh",
            "this OpenSSH cannot ask for a PIN when it signs: use OpenSSH 8.4 or newer, or a key that needs none",
        ),
        (7, "ssh-agent", "this ssh-agent cannot ask for a PIN: sign without the agent, or use OpenSSH 8.9 or newer"),
        (10, "sshd", "sshd cannot ask for a PIN: use a HostKey that needs none"),
        (10, "sshd-session", "sshd cannot ask for a PIN: use a HostKey that needs none"),
        (7, "ssh", ""),
        (9, "ssh-agent", WITHOUT_ASKPASS),
        (10, "ssh-agent", WITHOUT_ASKPASS),
        (9, "ssh-agent", ""),
        (10, "ssh-agent", ""),
    ],
)
def test_where_a_host_asks_nobody_for_the_pin_a_sentence_tells_that_it_is_wanted(
    tmp_path: Path, library: Path, person_with_pin: Person, major: int, parent: str, remedy: str
) -> None:
    own = library if major == 10 else library.with_name(f"libpysk-skapi{major}.so")
    host = sk_host.compile_host(tmp_path, major=major)
    if not remedy:
        person_with_pin.environment |= person_with_pin.askpass()
    played = play_as_a_child(tmp_path, parent, host, own, person_with_pin)
    assert played.status == 0, played.stderr
    assert played.call("unasked")["rc"] == -3
    assert played.said("unasked") == (f"libpysk: this key requires a PIN for every use; {remedy}\n" if remedy else "")


def assert_attested(enrolled: sk_host.Event) -> None:
    """Fail unless the members about a new key's origin hold together; authdata is told since major 7."""
    certificate = x509.load_der_x509_certificate(bytes.fromhex(enrolled["attestation_cert"]))
    key_handle, public_key = bytes.fromhex(enrolled["key_handle"]), bytes.fromhex(enrolled["public_key"])
    signature = bytes.fromhex(enrolled["signature"])
    attesting = certificate.public_key()
    assert isinstance(attesting, ec.EllipticCurvePublicKey)
    if "authdata" not in enrolled:
        # What it signs is not told, but it is a signature.
        utils.decode_dss_signature(signature)
        return
    encoded = cbor.decode(bytes.fromhex(enrolled["authdata"]))
    assert isinstance(encoded, bytes)
    data = AuthenticatorData(encoded)
    attesting.verify(signature, data + hashlib.sha256(sk_host.CHALLENGE).digest(), ec.ECDSA(hashes.SHA256()))
    assert data.credential_data is not None
    assert data.rp_id_hash == hashlib.sha256(sk_host.APPLICATION).digest()
    assert data.credential_data.credential_id == key_handle
    assert data.credential_data.public_key[-2] == public_key
    assert data.flags & (USER_PRESENT | USER_VERIFIED) == USER_PRESENT | USER_VERIFIED


def test_the_oldest_major_takes_digests_alone(tmp_path: Path, library: Path, person: Person) -> None:
    host = sk_host.compile_host(tmp_path, major=4)
    played = sk_host.play(host, "lengths", library.with_name("libpysk-skapi4.so"), env=person.environment)
    sk_host.assert_untouched(played)
    for label in ("shorter", "longer"):
        sk_host.assert_refused(played, label, -1, mentions="the host passed no digest")
    sk_host.verify_signature(played.call("enroll"), played.call("usual"))
