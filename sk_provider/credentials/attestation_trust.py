"""Who made an authenticator, by its certificate and those that are trusted, or by the FIDO Alliance's Metadata Service.

python-fido2 judges. Nothing is fetched.
"""

from __future__ import annotations

from sk_provider.reporting import printable

from .attestation_file import SELF, AttestationRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from cryptography.x509 import Certificate
    from fido2.attestation import AttestationVerifier
    from fido2.mds3 import MdsAttestationVerifier, MetadataBlobPayload, MetadataBlobPayloadEntry, StatusReport

    from .attestation_file import Attestation

MAX_SIZE = 1 << 26
"""Bytes of the largest blob, or file of certificates, that is read."""

_SIGNER = "mds.fidoalliance.org"
"""Whom the certificate is for that the Metadata Service's blob is signed by."""

_WEAK = ("RS1",)
"""Algorithms by which python-fido2 would let a blob be signed, and others could sign one, too."""


def read_certificates(content: bytes, path: str) -> list[Certificate]:
    """Return the certificates in a file of PEM, or the one in a file of DER. path: what errors call it.

    Raises AttestationRefused if there is none, or one cannot be read.
    """
    from cryptography import x509

    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except ValueError:
        raise AttestationRefused(f"{path} has no certificate that can be read", "give a file of PEM") from None


def verify_by_roots(
    attested: Attestation, path: str, statement_format: str, client_data_hash: bytes, roots: Sequence[Certificate]
) -> Certificate:
    """Return which of certificates that are trusted has issued an attestation's certificate, or is that itself.

    path: what errors call the attestation's file; statement_format, client_data_hash: as attestation_file.verify() has
    returned them.

    Raises AttestationRefused if none has, or the certificate is not as WebAuthn §8.2.1 and §8.6 want it.
    """
    _refuse_self_attestation(path, statement_format)
    found: list[Certificate] = []

    def look_up(leaf: bytes) -> bytes | None:
        from cryptography.hazmat.primitives.serialization import Encoding

        issued = [(root, root.public_bytes(Encoding.DER)) for root in roots]
        for root, der in issued:
            if der == leaf or _has_issued(root, leaf):
                found.append(root)
                return der
        return None

    _verify(_verifier(look_up), attested, path, statement_format, client_data_hash)
    return found[0]


class Model:
    """What the Metadata Service says of an authenticator's model. statuses: of reports, with the dates they have;
    next_update: when it was to say more.
    """

    __slots__ = ("description", "next_update", "statuses")

    def __init__(self, description: str, statuses: list[str], next_update: date) -> None:
        self.description = description
        self.statuses = statuses
        self.next_update = next_update


def read_metadata(content: bytes, path: str, root: Certificate) -> MetadataBlobPayload:
    """Return what is in the Metadata Service's blob, once its signature and the signer's certificate are verified.

    path: what errors call it; root: what the signer's chain of certificates ends with.

    Raises AttestationRefused if it is no blob, or not the Metadata Service's.
    """
    import json
    from base64 import b64decode

    from cryptography import x509
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
    from fido2.cose import CoseKey
    from fido2.mds3 import MetadataBlobPayload
    from fido2.utils import websafe_decode

    try:
        message, _, signature = content.rpartition(b".")
        untrusted_header, payload = (websafe_decode(part) for part in message.split(b"."))
        header = json.loads(untrusted_header)
        leaf, *others = [x509.load_der_x509_certificate(b64decode(each)) for each in header["x5c"]]
        algorithm = header["alg"]
    except Exception:  # noqa: BLE001 - what it stumbles over is the file's
        raise AttestationRefused(
            f"{path} is no blob of the FIDO Metadata Service", "give what https://mds3.fidoalliance.org/ has"
        ) from None
    # Not by python-fido2, which takes any certificate for one that may issue others, does not look whom one is for, and
    # wants the chain to end with the given root, where there may also be that one's certificate by another.
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName(_SIGNER))
    try:
        verifier.verify(leaf, others)
    except (VerificationError, ValueError) as error:
        raise AttestationRefused(
            f"{path} is not signed by {_SIGNER} under the given root ({printable(str(error))})",
            "give the root that its certificates end with, or a newer blob",
        ) from None
    try:
        if algorithm in _WEAK:
            raise ValueError
        key = CoseKey.for_name(algorithm).from_cryptography_key(leaf.public_key())
        key.verify(message, websafe_decode(signature))
        metadata: MetadataBlobPayload = MetadataBlobPayload.from_dict(json.loads(payload))
    except Exception:  # noqa: BLE001
        raise AttestationRefused(f"{path} is forged or damaged", "get it again") from None
    return metadata


def verify_by_metadata(
    attested: Attestation, path: str, statement_format: str, client_data_hash: bytes, metadata: MetadataBlobPayload
) -> Model:
    """Return what the Metadata Service says of the model that an attestation proves.

    The arguments are those of verify_by_roots(), and what read_metadata() has returned.

    Raises AttestationRefused if it does not know the model, or what it says of it is that nothing is proved.
    """
    from fido2.mds3 import MdsAttestationVerifier

    _refuse_self_attestation(path, statement_format)
    verifier = MdsAttestationVerifier(metadata, entry_filter=None, attestation_filter=None)
    entry = _entry(attested, verifier)
    if entry is None:
        raise AttestationRefused(
            f"the metadata does not know the model that {path} is of", "give its maker's certificates with --roots"
        )
    reports = list(entry.status_reports)
    for report in reports:
        if _ends_trust(report, attested.certificate):
            raise AttestationRefused(
                f"the metadata says {report.status.value} of the model that {path} is of", "use another authenticator"
            )
    _verify(verifier, attested, path, statement_format, client_data_hash)
    description = entry.metadata_statement.description if entry.metadata_statement else ""
    # python-fido2 has None for a status that it does not know.
    known = [each for each in reports if each.status is not None]
    statuses = [f"{each.status.value} {each.effective_date or ''}".strip() for each in known]
    return Model(description, statuses, metadata.next_update)


def _refuse_self_attestation(path: str, statement_format: str) -> None:
    if statement_format == SELF:
        raise AttestationRefused(
            f"{path} is signed by the key itself, which proves nothing about who made the authenticator",
            "leave out --roots and --mds, or use an authenticator with a certificate",
        )


def _verifier(look_up: Callable[[bytes], bytes | None]) -> AttestationVerifier:
    from fido2.attestation import AttestationVerifier, FidoU2FAttestation, PackedAttestation

    class Verifier(AttestationVerifier):
        def ca_lookup(self, attestation_result: object, auth_data: object) -> bytes | None:  # noqa: ARG002
            leaf: bytes = attestation_result.trust_path[-1]  # type: ignore[attr-defined]  # as AttestationResult has it
            return look_up(leaf)

    return Verifier([PackedAttestation(), FidoU2FAttestation()])


def _verify(
    verifier: AttestationVerifier, attested: Attestation, path: str, statement_format: str, client_data_hash: bytes
) -> None:
    from fido2.attestation import UntrustedAttestation

    try:
        verifier.verify_attestation(attested.statement(statement_format), client_data_hash)
    except UntrustedAttestation:
        raise AttestationRefused(
            f"the certificate in {path} is issued by none of those that are trusted, but by {_issuer(attested)}",
            "give the certificate of that one too, if you trust it",
        ) from None
    except Exception as error:  # noqa: BLE001 - what it stumbles over is the file's
        reason = printable(str(error)).rstrip("!.") or type(error).__name__
        raise AttestationRefused(
            f"the certificate in {path} is not one as authenticators have ({reason})", "use another authenticator"
        ) from None


def _issuer(attested: Attestation) -> str:
    from cryptography import x509

    try:
        return printable(x509.load_der_x509_certificate(attested.certificate).issuer.rfc4514_string())
    except ValueError:
        return "somebody whose name cannot be read"


def _has_issued(root: Certificate, leaf: bytes) -> bool:
    """Return whether a certificate that may issue others has issued one."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from fido2.attestation.base import InvalidAttestation, verify_x509_chain

    if root.subject != x509.load_der_x509_certificate(leaf).issuer:
        return False
    try:
        if not root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        pass  # as in those of version 1
    except ValueError:
        return False
    try:
        verify_x509_chain([leaf, root.public_bytes(Encoding.DER)])
    except InvalidAttestation:
        return False
    return True


def _entry(attested: Attestation, verifier: MdsAttestationVerifier) -> MetadataBlobPayloadEntry | None:
    credential = attested.authenticator_data.credential_data if attested.authenticator_data is not None else None
    try:
        if credential is not None and any(credential.aaguid):
            return verifier.find_entry_by_aaguid(credential.aaguid)
        return verifier.find_entry_by_chain([attested.certificate])
    except ValueError:
        return None


def _ends_trust(report: StatusReport, certificate: bytes) -> bool:
    """Return whether a report says that an attestation by the model's certificates proves nothing any more."""
    from fido2.mds3 import AuthenticatorStatus

    if report.status == AuthenticatorStatus.REVOKED:
        return True
    named = [each for each in (report.certificate, report.batch_certificate) if each is not None]
    return report.status == AuthenticatorStatus.ATTESTATION_KEY_COMPROMISE and (not named or certificate in named)


def describe(der: bytes) -> dict[str, object]:
    """Return what a certificate says, as JSON has it; the values are None where it cannot be read."""
    from cryptography import x509

    names = (
        "subject",
        "issuer",
        "serial",
        "not_before",
        "not_after",
        "organizational_unit",
        "is_ca",
        "version",
    )
    try:
        certificate = x509.load_der_x509_certificate(der)
        units = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
        try:
            is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        values: tuple[object, ...] = (
            certificate.subject.rfc4514_string(),
            certificate.issuer.rfc4514_string(),
            f"{certificate.serial_number:x}",
            certificate.not_valid_before_utc.date().isoformat(),
            certificate.not_valid_after_utc.date().isoformat(),
            str(units[0].value) if units else None,
            is_ca,
            certificate.version.name,
        )
    except Exception:  # noqa: BLE001 - what it stumbles over is the file's
        values = (None,) * len(names)
    return dict(zip(names, values, strict=True))
