"""The vocabulary of OpenSSH's sk-api.h: algorithms, flags, requests and responses, without any C."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Majors of the API with which something of ours changed, or the hosts have begun to ask for PINs
MAJOR_RAW_MESSAGE = 0x00050000
MAJOR_AUTHDATA = 0x00070000
MAJOR_SIGNING_ASKS = 0x00070000
MAJOR_USER_ID = 0x00090000
MAJOR_AGENT_ASKS = 0x00090000
MAJOR_OVERWRITE_QUESTION = 0x000A0000

ALGORITHM_ECDSA = 0
ALGORITHM_ED25519 = 1

FLAG_USER_PRESENCE = 0x01
FLAG_USER_VERIFICATION = 0x04
FLAG_FORCE_OPERATION = 0x10
FLAG_RESIDENT_KEY = 0x20

APPLICATION_PREFIX = "ssh:"
"""What the application of every key that a host accepts from a token starts with."""

SEALED_MARK = b"sealpysk"
"""What key handles begin with that are sealed under a passphrase, see credentials.sealing."""


class EnrollRequest:
    """What sk_enroll() is asked.

    algorithm: ALGORITHM_…; challenge: bytes of any length, whose SHA-256 is signed; application: the RP ID;
    flags: FLAG_… bits; pin: str, never empty, or None; device: an address or None; user: a name or None.
    """

    def __init__(
        self,
        algorithm: int,
        challenge: bytes,
        application: str,
        flags: int,
        pin: str | None,
        device: str | None,
        user: str | None,
    ) -> None:
        self.algorithm = algorithm
        self.challenge = challenge
        self.application = application
        self.flags = flags
        self.pin = pin
        self.device = device
        self.user = user


class EnrollResponse:
    """A new key. public_key: 65 bytes of an uncompressed P-256 point or 32 bytes of Ed25519; key_handle: the credential
    ID; flags: FLAG_… bits for the key file; signature and attestation_certificate: of the attestation statement,
    b"" if there is none; authenticator_data: as a CBOR byte string, with its header.
    """

    def __init__(
        self,
        flags: int,
        public_key: bytes,
        key_handle: bytes,
        signature: bytes,
        attestation_certificate: bytes,
        authenticator_data: bytes,
    ) -> None:
        self.flags = flags
        self.public_key = public_key
        self.key_handle = key_handle
        self.signature = signature
        self.attestation_certificate = attestation_certificate
        self.authenticator_data = authenticator_data


class SignRequest:
    """What sk_sign() is asked. message_digest: SHA-256 of the message, 32 bytes; key_handle: the credential ID, for the
    authenticator alone; host_key_handle: as the host has it, maybe sealed, by which records call the key; key_stream:
    what has opened it, None if nothing did; asked_by: which of config.PIN_PROMPTS has asked for its passphrase, None if
    none has; read_message: returns the message, while the operation lasts, None where the host gives its digest alone;
    the rest as in EnrollRequest.
    """

    def __init__(
        self,
        algorithm: int,
        message_digest: bytes,
        application: str,
        key_handle: bytes,
        flags: int,
        pin: str | None,
        device: str | None,
        read_message: Callable[[], bytes] | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.read_message = read_message
        self.message_digest = message_digest
        self.application = application
        self.key_handle = key_handle
        self.host_key_handle = key_handle
        self.key_stream: bytes | None = None
        self.asked_by: str | None = None
        self.flags = flags
        self.pin = pin
        self.device = device


class SignResponse:
    """A signature. flags: the authenticatorData's, one byte; counter: its signature counter, 32 bits; sig_r, sig_s:
    r and s of ECDSA, 32 bytes each, big-endian; or sig_r the 64 bytes of an Ed25519 signature and sig_s b"".
    """

    def __init__(self, flags: int, counter: int, sig_r: bytes, sig_s: bytes) -> None:
        self.flags = flags
        self.counter = counter
        self.sig_r = sig_r
        self.sig_s = sig_s


class ResidentRequest:
    """What sk_load_resident_keys() is asked; the members are those of EnrollRequest."""

    def __init__(self, pin: str | None, device: str | None) -> None:
        self.pin = pin
        self.device = device


class ResidentKey:
    """A resident key. user_id: bytes, as it was enrolled; the rest as in EnrollRequest and EnrollResponse."""

    def __init__(
        self, algorithm: int, application: str, flags: int, key_handle: bytes, public_key: bytes, user_id: bytes
    ) -> None:
        self.algorithm = algorithm
        self.application = application
        self.flags = flags
        self.key_handle = key_handle
        self.public_key = public_key
        self.user_id = user_id
