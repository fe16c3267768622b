"""The token's attestation key and certificate, which it makes itself and which vouch for nothing but themselves."""

from __future__ import annotations

from .profiles import AAGUID

# WebAuthn §8.2.1: the extension that repeats the AAGUID.
AAGUID_EXTENSION = "1.3.6.1.4.1.45724.1.1.4"


def make_attestation() -> tuple[bytes, bytes]:
    """Make an attestation key with its certificate, as WebAuthn §8.2.1 requires it.

    Return the P-256 private scalar (32 bytes, big-endian) and the DER of a self-signed certificate.
    """
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "ZZ"),  # ISO 3166: of no country
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "libpysk"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
            x509.NameAttribute(NameOID.COMMON_NAME, "libpysk software authenticator"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Fixed dates, so that neither a wrong clock nor the store's age matters.
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc))
        .not_valid_after(dt.datetime(2099, 12, 31, 23, 59, 59, tzinfo=dt.timezone.utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(AAGUID_EXTENSION), b"\x04\x10" + AAGUID), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    return key.private_numbers().private_value.to_bytes(32, "big"), certificate.public_bytes(Encoding.DER)


def attest(private_key: bytes, message: bytes) -> bytes:
    """Sign a message with the attestation key (the private scalar, 32 bytes); return an ES256 signature, DER."""
    from sk_provider.ctap import ES256

    from .keys import sign

    return sign(ES256, private_key, message)
