"""What `ssh-keygen -O write-attestation` writes (PROTOCOL.u2f), and what the signature in it proves."""

from __future__ import annotations

from sk_provider.ctap import cbor, sha256
from sk_provider.errors import AuthenticatorError, SecurityKeyError

from . import attestation, openssh_key
from .openssh_key import take_string
from .public_key import COSE_ALGORITHMS, public_key_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fido2.webauthn import AttestationObject, AuthenticatorData

MAX_SIZE = 1 << 16
"""Bytes of the largest file that is read: a certificate, a signature, and what an authenticator says of a key."""

NONE = "none"
SELF = "self"
PACKED = "packed"
U2F = "fido-u2f"

_OLD = b"ssh-sk-attest-v00"
_CURRENT = b"ssh-sk-attest-v01"
_RESERVED = bytes(8)
"""Flags and a string, both of which nothing has a use for yet."""

_HASH_LENGTH = 32

_KEY_HANDLE = 55
"""Where a key handle begins in authenticator data (WebAuthn §6.5.1)."""


class AttestationRefused(SecurityKeyError):
    """A file has no attestation that can be read, or it is not one of what it shall be of."""


class Attestation:
    """What a file has. certificate, signature: b"" if there is none; authenticator_data: of WebAuthn §6.1, with a key,
    or None in files of OpenSSH before 8.4 and where the authenticator has told nothing.
    """

    __slots__ = ("authenticator_data", "certificate", "signature")

    def __init__(self, certificate: bytes, signature: bytes, authenticator_data: AuthenticatorData | None) -> None:
        self.certificate = certificate
        self.signature = signature
        self.authenticator_data = authenticator_data

    @property
    def format(self) -> str:
        """NONE, SELF, PACKED or U2F; the last by there being no AAGUID, for only who has the challenge can tell."""
        if not self.signature:
            return NONE
        if not self.certificate:
            return SELF
        credential = self.authenticator_data.credential_data if self.authenticator_data is not None else None
        return U2F if credential is not None and not any(credential.aaguid) else PACKED

    def public_key(self) -> tuple[int, bytes] | None:
        """Return sk-api's algorithm and the key that is attested, None if it is none that ssh has."""
        credential = self.authenticator_data.credential_data if self.authenticator_data is not None else None
        if credential is None:
            return None
        for algorithm, cose_algorithm in COSE_ALGORITHMS.items():
            if credential.public_key.get(3) == cose_algorithm:
                try:
                    return algorithm, public_key_bytes(credential.public_key, cose_algorithm)
                except AuthenticatorError:
                    return None
        return None

    def is_for(self, application: str) -> bool:
        """Return whether the key is one for an application."""
        return self.authenticator_data is not None and self.authenticator_data.rp_id_hash == sha256(
            application.encode()
        )

    def statement(self, untrusted_format: str) -> AttestationObject:
        """Return it as WebAuthn has it, of the format PACKED or U2F. Raises whatever is wrong with it."""
        from fido2.webauthn import AttestationObject

        if self.authenticator_data is None or self.authenticator_data.credential_data is None:
            raise ValueError
        statement: dict[str, object] = {"sig": self.signature}
        if self.certificate:
            statement["x5c"] = [self.certificate]
            algorithm = attestation.algorithm_of(self.certificate)
        else:
            algorithm = self.authenticator_data.credential_data.public_key[3]
        if untrusted_format == PACKED:
            statement["alg"] = algorithm
        return AttestationObject.create(untrusted_format, self.authenticator_data, statement)


def parse(content: bytes, path: str) -> Attestation:
    """Return what a file has, of which nothing was verified. path: what errors call it.

    Raises AttestationRefused if it is none that ssh-keygen has written, or not whole, or has more.
    """
    try:
        version, rest = take_string(content)
    except ValueError:
        version, rest = b"", b""
    if version not in (_OLD, _CURRENT):
        raise AttestationRefused(
            f"{path} is no attestation of a security key", "give one that ssh-keygen -O write-attestation has made"
        )
    try:
        certificate, rest = take_string(rest)
        signature, rest = take_string(rest)
        untrusted_data, rest = take_string(rest) if version == _CURRENT else (b"", rest)
        if rest != _RESERVED:
            raise ValueError
        return Attestation(certificate, signature, _authenticator_data(untrusted_data))
    except ValueError:
        raise AttestationRefused(f"{path} is damaged", "use a copy of it, or enroll another key") from None


def _authenticator_data(untrusted: bytes) -> AuthenticatorData | None:
    """Return what is in CBOR's byte string, None if there is none. Raises ValueError if it is not of a new key."""
    from fido2.webauthn import AuthenticatorData

    if not untrusted:
        return None
    try:
        made = AuthenticatorData(bytes(memoryview(cbor.decode(untrusted))))
    except Exception:  # noqa: BLE001 - what it stumbles over is the file's
        raise ValueError from None
    if made.credential_data is None:
        raise ValueError
    # python-fido2 takes less for a byte string than its length says.
    rest = made[_KEY_HANDLE + len(made.credential_data.credential_id) :]
    for _ in range(2 if made.has_extension_data() else 1):
        _, end = cbor.decode_prefix(rest)
        rest = rest[end:]
    return made


def read_public_key(content: bytes, path: str) -> tuple[int, bytes, str]:
    """Return sk-api's algorithm, the key and the application of a .pub file. path: what errors call it.

    Raises AttestationRefused if it is none of a security key.
    """
    from binascii import Error, a2b_base64

    words = content.split()
    try:
        algorithm, public_key, application = openssh_key.parse_public_blob(a2b_base64(words[1]))
        if words[0].decode() != openssh_key.TYPES[algorithm]:
            raise ValueError
    except (ValueError, LookupError, Error):
        raise AttestationRefused(
            f"{path} is no public key of a security key", "give the .pub file that ssh-keygen made with it"
        ) from None
    return algorithm, public_key, application


def verify(
    attested: Attestation, path: str, public_key: tuple[int, bytes], application: str, challenge: bytes
) -> tuple[str, bytes]:
    """Return the format, PACKED, U2F or SELF, and the hash by which an attestation is one of a key and a challenge.

    path: what errors call the file; public_key: sk-api's algorithm and the key; challenge: the content of the file that
    ssh-keygen was given with -O challenge.

    Who made the authenticator is not verified, nor is the certificate. Raises AttestationRefused if anything else is
    not as it should be.
    """
    if attested.format == NONE:
        raise AttestationRefused(
            f"{path} has no signature, as the authenticator does not attest its keys", "use one that does"
        )
    if attested.authenticator_data is None:
        raise AttestationRefused(
            f"{path} is of OpenSSH before 8.4, which left out what is signed", "enroll a key with a newer one"
        )
    if attested.public_key() != public_key:
        raise AttestationRefused(f"{path} is of another key", "give the .pub file that was made with it")
    if not attested.is_for(application):
        raise AttestationRefused(
            f"{path} is of a key for another application than {application}", "give the .pub file that was made with it"
        )
    # OpenSSH before 8.7 sends a challenge of this length as it is.
    hashes = [sha256(challenge), *([challenge] if len(challenge) == _HASH_LENGTH else [])]
    formats = [PACKED]
    # Its signature includes neither the AAGUID nor the flags, in which anybody could have put what is not so.
    if attested.format == U2F and not attested.authenticator_data.is_user_verified():
        formats.append(U2F)
    for each in formats:
        for client_data_hash in hashes:
            if _verifies(attested, each, client_data_hash):
                return (SELF if attested.format == SELF else each), client_data_hash
    raise AttestationRefused(
        f"{path} is forged, or of another challenge", "give the file that was given with -O challenge"
    )


def _verifies(attested: Attestation, untrusted_format: str, client_data_hash: bytes) -> bool:
    try:
        attestation.verify(attested.statement(untrusted_format), client_data_hash)
    except Exception:  # noqa: BLE001 - what it stumbles over is the file's
        return False
    return True
