"""Attestations as ssh-keygen writes them, of authenticators that a maker has certified, and a service that knows it."""

from __future__ import annotations

import base64
import datetime as dt
import json
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fido2.cose import ES256
from fido2.mds3 import (
    AuthenticatorStatus,
    MetadataBlobPayload,
    MetadataBlobPayloadEntry,
    MetadataStatement,
    StatusReport,
    Version,
)
from fido2.webauthn import Aaguid, AttestedCredentialData, AuthenticatorData

from sk_provider.api import ALGORITHM_ECDSA
from sk_provider.credentials import openssh_key
from sk_provider.ctap import cbor, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

AAGUID = bytes(range(16))
APPLICATION = "ssh:work"
CHALLENGE = b"a challenge of the verifier's"
SIGNER = "mds.fidoalliance.org"
_AAGUID_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
_END = dt.datetime(2099, 1, 1, tzinfo=dt.timezone.utc)


def string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "ZZ"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A Maker"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


class Issuer:
    """Who issues certificates: a root, or who was issued one by another."""

    def __init__(
        self,
        common_name: str = "A Root",
        by: Issuer | None = None,
        *,
        may_issue: bool = True,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> None:
        self.name = name(common_name)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=may_issue, path_length=None)
        self.certificate = (by or self).issue(self.name, self.key.public_key(), constraints)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def certify(self, other: Issuer) -> x509.Certificate:
        """Return another certificate of one that has its own, which may issue others under this one, too."""
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        return self.issue(other.name, other.key.public_key(), constraints)

    def issue(
        self,
        subject: x509.Name,
        key: Any,
        constraints: x509.BasicConstraints,
        *extensions: x509.ExtensionType,
        ends: dt.datetime = _END,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(ends)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if constraints.ca:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())


class Attested:
    """A key that an authenticator has attested, and what ssh-keygen has written of it: file, .pub, challenge.

    format: "packed", "fido-u2f" or "self".
    """

    def __init__(
        self,
        maker: Issuer,
        statement_format: str = "packed",
        *,
        aaguid: bytes = AAGUID,
        certified_aaguid: bytes | None = None,
        client_data_hash: bytes = sha256(CHALLENGE),
    ) -> None:
        credential = ec.generate_private_key(ec.SECP256R1())
        numbers = credential.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        aaguid = bytes(16) if statement_format == "fido-u2f" else aaguid
        flags = AuthenticatorData.FLAG.AT | AuthenticatorData.FLAG.UP
        cose_key = ES256({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = AttestedCredentialData.create(aaguid, b"a key handle", cose_key)
        self.authenticator_data = bytes(AuthenticatorData.create(sha256(APPLICATION.encode()), flags, 7, attested))
        message = self.authenticator_data + client_data_hash
        if statement_format == "fido-u2f":
            message = b"\0" + sha256(APPLICATION.encode()) + client_data_hash + b"a key handle\x04" + x + y
        self.certificate = b""
        signer = credential
        if statement_format != "self":
            signer = ec.generate_private_key(ec.SECP256R1())
            mark = x509.UnrecognizedExtension(_AAGUID_EXTENSION, b"\x04\x10" + (certified_aaguid or aaguid))
            constraints = x509.BasicConstraints(ca=False, path_length=None)
            extensions = [] if statement_format == "fido-u2f" else [mark]
            self.certificate = maker.issue(name("A Batch"), signer.public_key(), constraints, *extensions).public_bytes(
                Encoding.DER
            )
        self.signature = signer.sign(message, ec.ECDSA(hashes.SHA256()))
        self.public_key = b"\x04" + x + y

    def file(self, **replaced: bytes) -> bytes:
        """Return what ssh-keygen writes, with other parts than its own: certificate, signature, data, version, end."""
        data = replaced.get("data", self.authenticator_data)
        return (
            string(replaced.get("version", b"ssh-sk-attest-v01"))
            + string(replaced.get("certificate", self.certificate))
            + string(replaced.get("signature", self.signature))
            + string(cbor.encode(data))
            + replaced.get("end", bytes(8))
        )

    def public_line(self, application: str = APPLICATION) -> str:
        blob = openssh_key.public_blob(ALGORITHM_ECDSA, self.public_key, application)
        return openssh_key.public_line(blob, "a comment") + "\n"


class Service:
    """A Metadata Service with a signer's certificate under a root. chain: what follows that in its blobs."""

    def __init__(
        self,
        root: Issuer,
        host: str = SIGNER,
        *,
        ends: dt.datetime = _END,
        by: Issuer | None = None,
        chain: Sequence[x509.Certificate] = (),
        algorithm: str = "RS256",
    ) -> None:
        self.root = root
        self._key = rsa.generate_private_key(65537, 2048)
        self._chain = [
            (by or root).issue(
                name(host),
                self._key.public_key(),
                x509.BasicConstraints(ca=False, path_length=None),
                x509.SubjectAlternativeName([x509.DNSName(host)]),
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
                ends=ends,
            ),
            *([by.certificate] if by else []),
            *chain,
        ]
        self._algorithm = algorithm

    def blob(
        self,
        maker: Issuer,
        statuses: Sequence[StatusReport] = (StatusReport(AuthenticatorStatus.FIDO_CERTIFIED_L1),),
        *,
        next_update: dt.date = dt.date(2099, 1, 1),
        aaguid: bytes | None = AAGUID,
        certificate: bytes = b"",
    ) -> bytes:
        """Return a blob that knows a maker's model: by AAGUID, or, if that is None, by a certificate."""
        statement = MetadataStatement(
            description="A Maker's Token", authenticator_version=1, schema=3, upv=[Version(1, 0)],
            attestation_types=["basic_full"], user_verification_details=[], key_protection=["hardware"],
            matcher_protection=["on_chip"], attachment_hint=["external"], tc_display=[],
            attestation_root_certificates=[maker.der],
        )  # fmt: skip
        identifiers = None
        if aaguid is None:
            key = x509.load_der_x509_certificate(certificate).public_key()
            identifiers = [x509.SubjectKeyIdentifier.from_public_key(key).digest]
        entry = MetadataBlobPayloadEntry(
            status_reports=list(statuses), time_of_last_status_change=dt.date(2024, 1, 1),
            aaguid=Aaguid(aaguid) if aaguid is not None else None,
            attestation_certificate_key_identifiers=identifiers, metadata_statement=statement,
        )  # fmt: skip
        payload = MetadataBlobPayload("a legal header", 1, next_update, [entry])
        header = {"alg": self._algorithm, "typ": "JWT", "x5c": [_base64(each) for each in self._chain]}
        message = b".".join(
            base64.urlsafe_b64encode(json.dumps(each, default=dict).encode()).rstrip(b"=")
            for each in (header, dict(payload))
        )
        algorithm = hashes.SHA1() if self._algorithm == "RS1" else hashes.SHA256()
        signature = self._key.sign(message, padding.PKCS1v15(), algorithm)
        return message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


def _base64(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
