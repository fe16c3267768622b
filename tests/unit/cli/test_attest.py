"""pysk attest: attestations of every format, whole, forged and cut off, with roots and the Metadata Service's blob."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fido2.mds3 import AuthenticatorStatus, StatusReport
from hypothesis import given
from hypothesis import strategies as st
from support.attested import AAGUID, APPLICATION, CHALLENGE, Attested, Issuer, Service

from sk_provider.cli import main
from sk_provider.credentials import attestation_file, models
from sk_provider.credentials.attestation_file import AttestationRefused
from sk_provider.ctap import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MAKER = Issuer()
PACKED = Attested(MAKER)
FORMATS = ("packed", "fido-u2f", "self")


@pytest.fixture(scope="module")
def service() -> Service:
    return Service(Issuer("The Service's Root"))


class Folder:
    """The files that a verifier has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, content: bytes) -> str:
        path = self._path / name
        path.write_bytes(content)
        return str(path)

    def give(
        self, content: bytes, *more: str, key: str = PACKED.public_line(), challenge: bytes = CHALLENGE
    ) -> Sequence[str]:
        return (
            "verify",
            self.write("attestation", content),
            "--key",
            self.write("id.pub", key.encode()),
            "--challenge",
            self.write("challenge", challenge),
            *more,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["attest", *arguments])


def refused(done: Result) -> str:
    """Return the sentence with which something is refused, fail if it is not one, or if anything else is said."""
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("pysk: ")
    assert "; " in line
    return line.removeprefix("pysk: ")


@pytest.mark.parametrize("statement_format", FORMATS)
def test_an_attestation_is_verified_and_what_was_not_is_said(folder: Folder, statement_format: str) -> None:
    attested = Attested(MAKER, statement_format)
    done = run(*folder.give(attested.file(), key=attested.public_line()))
    assert (done.exit_code, done.stderr) == (0, "")
    by = "the key itself" if statement_format == "self" else "the authenticator's attestation key"
    lines = done.stdout.splitlines()
    assert lines[0] == f"signature: good, by {by} ({statement_format})"
    assert f"application: {APPLICATION}" in lines
    assert lines[-2].endswith(" (not verified)")
    assert lines[-1] == "maker: not verified; that takes --roots or --mds"
    told = json.loads(run(*folder.give(attested.file(), "--json", key=attested.public_line())).stdout)
    assert (told["format"], told["maker"], told["user_present"], told["counter"]) == (statement_format, None, True, 7)


def test_what_an_attestation_says_is_shown(folder: Folder) -> None:
    path = folder.write("attestation", PACKED.file())
    told = json.loads(run("show", "--json", "--application", APPLICATION, path).stdout)
    certificate = told.pop("certificate")
    assert told == {
        "format": "packed",
        "aaguid": models.text(AAGUID),
        "model": None,
        "user_present": True,
        "user_verified": False,
        "counter": 7,
        "type": "ecdsa-sk",
        "application": APPLICATION,
        "fingerprint": told["fingerprint"],
        "application_hash": sha256(APPLICATION.encode()).hex(),
    }
    assert certificate["subject"] == "CN=A Batch,OU=Authenticator Attestation,O=A Maker,C=ZZ"
    assert certificate["issuer"] == "CN=A Root,OU=Authenticator Attestation,O=A Maker,C=ZZ"
    assert (certificate["not_before"], certificate["not_after"]) == ("2020-01-01", "2099-01-01")
    assert (certificate["organizational_unit"], certificate["is_ca"]) == ("Authenticator Attestation", False)
    lines = run("show", "--application", APPLICATION, path).stdout.splitlines()
    assert "user present: yes" in lines
    assert f"certificate serial: {certificate['serial']}" in lines
    # Without the application there is but its hash, and so no fingerprint.
    told = json.loads(run("show", "--json", path).stdout)
    assert (told["application"], told["fingerprint"]) == (None, None)
    for application in ("ssh:\udcff", "ssh:\n"):
        assert run("show", "--application", application, path).exit_code == 0


def test_a_certificate_that_cannot_be_read_is_shown_as_one(folder: Folder) -> None:
    path = folder.write("attestation", PACKED.file(certificate=b"\x30\x03\x02\x01\x00"))
    done = run("show", path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "certificate subject: -" in done.stdout


def test_a_certificate_that_cryptography_warns_of_is_shown_without_a_warning(folder: Folder) -> None:
    certificate = bytearray(PACKED.certificate)
    serial = x509.load_der_x509_certificate(PACKED.certificate).serial_number.to_bytes(20, "big").lstrip(b"\0")
    # A negative number
    certificate[certificate.index(serial)] |= 0x80
    done = run("show", folder.write("attestation", PACKED.file(certificate=bytes(certificate))))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "certificate issuer: CN=A Root," in done.stdout


def test_a_file_without_an_attestation_is_shown_and_not_verified(folder: Folder) -> None:
    content = PACKED.file(certificate=b"", signature=b"")
    assert json.loads(run("show", "--json", folder.write("attestation", content)).stdout)["format"] == "none"
    assert "has no signature, as the authenticator does not attest its keys; " in refused(run(*folder.give(content)))
    # What is written where a provider returns nothing at all
    empty = PACKED.file()[:21] + bytes(12) + bytes(8)
    assert run("show", folder.write("attestation", empty)).exit_code == 0
    assert "has no signature" in refused(run(*folder.give(empty)))


def test_a_file_of_an_old_ssh_keygen_is_shown_and_cannot_be_verified(folder: Folder) -> None:
    whole = PACKED.file()
    cut = len(attestation_file._CURRENT) + 4 + 4 + len(PACKED.certificate) + 4 + len(PACKED.signature)
    old = whole[:cut].replace(b"attest-v01", b"attest-v00") + bytes(8)
    told = json.loads(run("show", "--json", folder.write("attestation", old)).stdout)
    assert (told["format"], told["aaguid"], told["fingerprint"]) == ("packed", None, None)
    assert told["certificate"]["subject"].startswith("CN=A Batch")
    assert "is of OpenSSH before 8.4, which left out what is signed; " in refused(run(*folder.give(old)))


@pytest.mark.parametrize("statement_format", FORMATS)
def test_every_forged_variant_is_refused(folder: Folder, statement_format: str) -> None:
    attested, other = Attested(MAKER, statement_format), Attested(MAKER, statement_format)
    key = attested.public_line()
    forged = "is forged, or of another challenge; give the file that was given with -O challenge"
    flags = bytearray(attested.authenticator_data)
    flags[32] |= 0x04
    counter = bytearray(attested.authenticator_data)
    counter[36] ^= 1
    aaguid = bytearray(attested.authenticator_data)
    aaguid[40] ^= 1
    variants: list[tuple[bytes, dict[str, Any], str]] = [
        (attested.file(signature=other.signature), {}, forged),
        (attested.file(signature=attested.signature[:-1]), {}, forged),
        (attested.file(signature=b"\x30"), {}, forged),
        (attested.file(), {"challenge": b"another"}, forged),
        (attested.file(), {"challenge": b""}, forged),
        # The hash is no challenge.
        (attested.file(), {"challenge": sha256(CHALLENGE)[::-1]}, forged),
        (attested.file(data=other.authenticator_data), {}, "is of another key; "),
        (other.file(), {}, "is of another key; "),
        (attested.file(), {"key": attested.public_line("ssh:")}, "is of a key for another application than ssh:; "),
    ]
    if statement_format != "self":
        variants += [(attested.file(certificate=other.certificate), {}, forged)]
        variants += [(attested.file(certificate=b"\x30\x80nonsense"), {}, forged)]
        variants += [(attested.file(certificate=b""), {}, forged)]
    variants += [(attested.file(data=bytes(each)), {}, forged) for each in (flags, aaguid)]
    if statement_format != "fido-u2f":  # whose signature is not of this one
        variants += [(attested.file(data=bytes(counter)), {}, forged)]
    for content, other_files, sentence in variants:
        assert sentence in refused(run(*folder.give(content, **{"key": key, **other_files})))


def test_the_challenge_may_be_what_openssh_before_8_7_sent_as_it_is(folder: Folder) -> None:
    challenge = bytes(range(32))
    attested = Attested(MAKER, client_data_hash=challenge)
    assert run(*folder.give(attested.file(), key=attested.public_line(), challenge=challenge)).exit_code == 0
    short = Attested(MAKER, client_data_hash=challenge[:31] + b"\0")
    files = folder.give(short.file(), key=short.public_line(), challenge=challenge[:31])
    assert "is forged, or of another challenge" in refused(run(*files))


def test_an_application_that_is_asked_for_must_be_the_keys(folder: Folder) -> None:
    assert run(*folder.give(PACKED.file(), "--application", APPLICATION)).exit_code == 0
    done = run(*folder.give(PACKED.file(), "--application", "ssh:"))
    assert "id.pub is for another application than ssh:; " in refused(done)


@pytest.mark.parametrize("statement_format", ["packed", "fido-u2f"])
def test_the_maker_is_verified_by_roots(folder: Folder, statement_format: str) -> None:
    intermediate = Issuer("An Intermediate", MAKER)
    attested = Attested(intermediate, statement_format)
    key = attested.public_line()

    def verify(*roots: bytes) -> Result:
        paths = [folder.write(f"root{number}", root) for number, root in enumerate(roots)]
        return run(*folder.give(attested.file(), *(f"--roots={path}" for path in paths), key=key))

    for roots in (
        (intermediate.pem,),
        (intermediate.der,),
        (MAKER.pem + intermediate.pem,),
        (MAKER.pem, intermediate.pem),
    ):
        done = verify(*roots)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == (
            "maker: verified by roots: CN=An Intermediate,OU=Authenticator Attestation,O=A Maker,C=ZZ"
        )
        assert "not verified" not in done.stdout
    # The root alone has not issued it, and ssh-keygen leaves out who stands between.
    issuer = "by CN=An Intermediate,OU=Authenticator Attestation,O=A Maker,C=ZZ; "
    assert f"is issued by none of those that are trusted, but {issuer}" in refused(verify(MAKER.pem))
    # One of the same name has not, either, nor one with the same key, nor one that may issue none.
    assert issuer in refused(verify(Issuer("An Intermediate").pem))
    assert issuer in refused(verify(Issuer("Another Name", key=intermediate.key).pem))
    barred = Issuer("A Barred", MAKER, may_issue=False)
    attested = Attested(barred, statement_format)
    key = attested.public_line()
    assert "is issued by none of those that are trusted" in refused(verify(barred.pem))
    for nonsense in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        assert "root0 has no certificate that can be read; " in refused(verify(nonsense))


def test_a_certificate_of_another_model_is_none_of_this_one(folder: Folder) -> None:
    attested = Attested(MAKER, certified_aaguid=bytes(15) + b"\x01")
    root = folder.write("root", MAKER.pem)
    # The signature is good.
    assert run(*folder.give(attested.file(), key=attested.public_line())).exit_code == 0
    sentence = refused(run(*folder.give(attested.file(), "--roots", root, key=attested.public_line())))
    assert "is not one as authenticators have (AAGUID in Authenticator data does not match" in sentence


def test_a_self_attestation_proves_no_maker(folder: Folder, service: Service) -> None:
    attested = Attested(MAKER, "self")
    root = folder.write("root", MAKER.pem)
    mds = (f"--mds={folder.write('blob', service.blob(MAKER))}", f"--mds-root={folder.write('mds', service.root.pem)}")
    for options in (("--roots", root), mds):
        sentence = refused(run(*folder.give(attested.file(), *options, key=attested.public_line())))
        assert "is signed by the key itself, which proves nothing about who made the authenticator; " in sentence


class Metadata:
    """Verifies by a blob."""

    def __init__(self, folder: Folder, attested: Attested = PACKED) -> None:
        self._folder = folder
        self._attested = attested

    def verify(self, blob: bytes, root: bytes, *more: str) -> Result:
        options = (f"--mds={self._folder.write('blob', blob)}", f"--mds-root={self._folder.write('mds-root', root)}")
        return run(*self._folder.give(self._attested.file(), *options, *more, key=self._attested.public_line()))


def test_the_maker_is_verified_by_a_blob(folder: Folder, service: Service) -> None:
    done = Metadata(folder).verify(service.blob(MAKER), service.root.pem)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == ["maker: verified by mds: A Maker's Token", "status: FIDO_CERTIFIED_L1"]
    told = json.loads(Metadata(folder).verify(service.blob(MAKER), service.root.der, "--json").stdout)
    assert told["maker"] == {
        "verified_by": "mds",
        "name": "A Maker's Token",
        "statuses": ["FIDO_CERTIFIED_L1"],
        "next_update": "2099-01-01",
    }


def test_an_authenticator_of_u2f_is_known_to_a_blob_by_its_certificate(folder: Folder, service: Service) -> None:
    attested = Attested(MAKER, "fido-u2f")
    blob = service.blob(MAKER, aaguid=None, certificate=attested.certificate)
    assert Metadata(folder, attested).verify(blob, service.root.pem).exit_code == 0
    other = Attested(MAKER, "fido-u2f")
    assert "the metadata does not know the model" in refused(Metadata(folder, other).verify(blob, service.root.pem))


def test_an_authenticator_of_u2f_is_of_no_model_that_its_signature_does_not_include(
    folder: Folder, service: Service
) -> None:
    attested = Attested(MAKER, "fido-u2f")
    renamed = bytearray(attested.authenticator_data)
    renamed[37:53] = AAGUID
    attested.authenticator_data = bytes(renamed)
    forged = "is forged, or of another challenge"
    assert forged in refused(Metadata(folder, attested).verify(service.blob(MAKER), service.root.pem))
    root = folder.write("root", MAKER.pem)
    assert forged in refused(run(*folder.give(attested.file(), "--roots", root, key=attested.public_line())))


def test_a_blob_of_others_or_changed_is_refused(folder: Folder, service: Service) -> None:
    metadata, blob = Metadata(folder), service.blob(MAKER)
    unsigned = "is not signed by mds.fidoalliance.org under the given root ("
    assert unsigned in refused(metadata.verify(blob, Issuer("The Service's Root").pem))
    # Who was issued a certificate for another name, or a name by one who may not issue any, could sign all.
    stranger = Service(service.root, "www.example.com")
    assert unsigned in refused(metadata.verify(stranger.blob(MAKER), service.root.pem))
    barred = Service(service.root, by=Issuer("A Barred", service.root, may_issue=False))
    assert unsigned in refused(metadata.verify(barred.blob(MAKER), service.root.pem))
    expired = Service(service.root, ends=dt.datetime(2021, 1, 1, tzinfo=dt.timezone.utc))
    assert unsigned in refused(metadata.verify(expired.blob(MAKER), service.root.pem))
    chained = Service(service.root, by=Issuer("An Intermediate", service.root))
    assert metadata.verify(chained.blob(MAKER), service.root.pem).exit_code == 0
    header, payload, signature = blob.split(b".")
    _, other_payload, _ = service.blob(Issuer()).split(b".")
    for forged in (
        b".".join((header, other_payload, signature)),
        b".".join((header, payload, signature[:-4])),
        b".".join((header, payload, b"")),
        # Nothing is read of what is not signed.
        b".".join((header, payload[:-4], signature)),
        b".".join((header, b"nonsense", signature)),
    ):
        assert "blob is forged or damaged; " in refused(metadata.verify(forged, service.root.pem))
    for nonsense in (b"", b"nonsense", b"..", blob[10:], b"{}", b"e30.e30.e30", b".".join((header, payload))):
        assert "blob is no blob of the FIDO Metadata Service; " in refused(metadata.verify(nonsense, service.root.pem))


def test_a_root_that_another_has_certified_may_end_the_chain_and_so_may_that_one(folder: Folder) -> None:
    old, new = Issuer("An Old Root"), Issuer("A New Root")
    service = Service(new, by=Issuer("An Intermediate", new), chain=[old.certify(new)])
    for root in (new, old):
        assert Metadata(folder).verify(service.blob(MAKER), root.pem).exit_code == 0


@pytest.mark.parametrize("algorithm", ["RS1", "none", "HS256", "ES256"])
def test_a_blob_is_signed_by_no_other_algorithm(folder: Folder, algorithm: str) -> None:
    service = Service(Issuer(), algorithm=algorithm)
    assert "blob is forged or damaged; " in refused(Metadata(folder).verify(service.blob(MAKER), service.root.pem))


@pytest.mark.parametrize(
    ("report", "is_trusted"),
    [
        (StatusReport(AuthenticatorStatus.REVOKED), False),
        (StatusReport(AuthenticatorStatus.ATTESTATION_KEY_COMPROMISE), False),
        (StatusReport(AuthenticatorStatus.ATTESTATION_KEY_COMPROMISE, certificate=PACKED.certificate), False),
        (StatusReport(AuthenticatorStatus.ATTESTATION_KEY_COMPROMISE, batch_certificate=PACKED.certificate), False),
        (StatusReport(AuthenticatorStatus.ATTESTATION_KEY_COMPROMISE, certificate=MAKER.der), True),
        (StatusReport(AuthenticatorStatus.USER_VERIFICATION_BYPASS, dt.date(2024, 5, 6)), True),
    ],
)
def test_what_the_metadata_says_of_a_model_decides_or_is_told(
    folder: Folder, service: Service, report: StatusReport, is_trusted: bool
) -> None:
    blob = service.blob(MAKER, [StatusReport(AuthenticatorStatus.FIDO_CERTIFIED_L1), report])
    done = Metadata(folder).verify(blob, service.root.pem)
    if is_trusted:
        date = f" {report.effective_date}" if report.effective_date else ""
        assert done.stdout.splitlines()[-1] == f"status: {report.status.value}{date}"
    else:
        assert f"the metadata says {report.status.value} of the model that " in refused(done)


def test_a_model_that_a_blob_does_not_know_or_that_others_made_is_not_verified(
    folder: Folder, service: Service
) -> None:
    unknown = Metadata(folder).verify(service.blob(MAKER, aaguid=bytes(15) + b"\x01"), service.root.pem)
    assert "the metadata does not know the model" in refused(unknown)
    others = Metadata(folder).verify(service.blob(Issuer()), service.root.pem)
    assert "is issued by none of those that are trusted, but by CN=A Root" in refused(others)


def test_a_blob_that_should_have_been_replaced_is_told(folder: Folder, service: Service) -> None:
    done = Metadata(folder).verify(service.blob(MAKER, next_update=dt.date(2024, 1, 1)), service.root.pem)
    assert done.exit_code == 0
    assert "blob was to be updated on 2024-01-01; get a newer one" in done.stderr


def test_what_is_asked_wrongly_is_a_usage_error(folder: Folder) -> None:
    words = folder.give(PACKED.file())
    assert run(*words, "--mds", "blob").exit_code == 2
    assert run(*words, "--mds-root", "root").exit_code == 2
    assert run(*words[:2]).exit_code == 2


def test_files_that_cannot_be_read_are_told(folder: Folder, tmp_path: Path) -> None:
    sentence = "missing cannot be read (No such file or directory); name a file that you can read"
    assert sentence in refused(run("show", "missing"))
    assert "cannot be read (Is a directory); " in refused(run("show", str(tmp_path)))
    large = folder.write("large", bytes(attestation_file.MAX_SIZE + 1))
    assert f"large is larger than {attestation_file.MAX_SIZE} bytes; " in refused(run("show", large))
    assert "is no attestation of a security key; " in refused(run("show", folder.write("other", b"nonsense")))
    for key in ("", "nonsense", "sk-ssh-ed25519@openssh.com AAAA", "ssh-ed25519 AAAA c", PACKED.public_line()[4:]):
        assert "id.pub is no public key of a security key; " in refused(run(*folder.give(PACKED.file(), key=key)))
    certificate = PACKED.public_line().replace("@openssh.com", "-cert-v01@openssh.com")
    assert "id.pub is no public key of" in refused(run(*folder.give(PACKED.file(), key=certificate)))


def test_a_file_that_is_cut_off_or_goes_on_is_refused() -> None:
    whole = PACKED.file()
    assert attestation_file.parse(whole, "f").format == "packed"
    for length in range(len(whole)):
        with pytest.raises(AttestationRefused, match=r"^f is (damaged|no attestation of a security key); "):
            attestation_file.parse(whole[:length], "f")
    for more in (b"\0", b"\n", whole):
        with pytest.raises(AttestationRefused, match="f is damaged"):
            attestation_file.parse(whole + more, "f")
    for content in (
        PACKED.file(version=b"ssh-sk-attest-v02"),
        PACKED.file(end=bytes(3) + b"\x01" + bytes(4)),
        PACKED.file(end=bytes(4) + b"\0\0\0\x01x"),
        PACKED.file(data=b""),
        PACKED.file(data=PACKED.authenticator_data[:-1]),
        PACKED.file(data=PACKED.authenticator_data + b"\0"),
        # Without a key: an assertion's
        PACKED.file(data=PACKED.authenticator_data[:32] + b"\x01" + bytes(4)),
    ):
        with pytest.raises(AttestationRefused):
            attestation_file.parse(content, "f")


@given(st.data())
def test_any_damage_is_told_in_a_sentence_and_never_verifies(data: st.DataObject) -> None:
    content = bytearray(PACKED.file())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    if bytes(content) == PACKED.file():
        return
    try:
        attested = attestation_file.parse(bytes(content), "f")
        attestation_file.verify(attested, "f", (0, PACKED.public_key), APPLICATION, CHALLENGE)
    except AttestationRefused:
        return
    # Of the certificate the signature covers nothing but the key, which is why it is no proof of a maker by itself.
    assert (attested.signature, attested.authenticator_data) == (PACKED.signature, PACKED.authenticator_data)
    assert attested.certificate != PACKED.certificate


@given(st.binary(max_size=300))
def test_any_bytes_are_told_in_a_sentence(content: bytes) -> None:
    for untrusted in (content, b"\0\0\0\x11ssh-sk-attest-v01" + content):
        with pytest.raises(AttestationRefused):
            attestation_file.parse(untrusted, "f")


def test_a_certificate_with_a_hostile_name_steers_no_terminal(folder: Folder) -> None:
    hostile = Attested(Issuer("evil\x1b[2J\nmaker: verified"))
    done = run("show", folder.write("attestation", hostile.file()))
    assert "\x1b" not in done.stdout
    assert "\nmaker" not in done.stdout
    root = folder.write("root", MAKER.pem)
    sentence = refused(run(*folder.give(hostile.file(), "--roots", root, key=hostile.public_line())))
    assert "\x1b" not in sentence
    assert MAKER.certificate.public_bytes(Encoding.PEM) == MAKER.pem
