"""The public key of a security key as OpenSSH writes it (PROTOCOL.u2f, "SSH U2F Key formats")."""

from __future__ import annotations

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519
from sk_provider.ctap import sha256

TYPES = {
    ALGORITHM_ECDSA: "sk-ecdsa-sha2-nistp256@openssh.com",
    ALGORITHM_ED25519: "sk-ssh-ed25519@openssh.com",
}
"""By sk-api's number of an algorithm, what OpenSSH calls the type of its keys."""

KEYGEN_TYPES = {ALGORITHM_ECDSA: "ecdsa-sk", ALGORITHM_ED25519: "ed25519-sk"}
"""By the same numbers, what `ssh-keygen -t` calls it."""

FINGERPRINT_PREFIX = "SHA256:"

_CURVE = b"nistp256"


def string(content: bytes) -> bytes:
    """Return bytes as an SSH string (RFC 4251 §5)."""
    return len(content).to_bytes(4, "big") + content


def take_string(blob: bytes) -> tuple[bytes, bytes]:
    """Return the SSH string that a blob begins with, and what follows it. Raises ValueError if there is none."""
    end = 4 + int.from_bytes(blob[:4], "big")
    if len(blob) < 4 or len(blob) < end:
        raise ValueError
    return blob[4:end], blob[end:]


def public_blob(algorithm: int, public_key: bytes, application: str) -> bytes:
    """Return the public key as it stands in base64 in a .pub file; the arguments are sk-api's."""
    curve = string(_CURVE) if algorithm == ALGORITHM_ECDSA else b""
    return string(TYPES[algorithm].encode()) + curve + string(public_key) + string(application.encode())


def parse_public_blob(blob: bytes) -> tuple[int, bytes, str]:
    """Return sk-api's algorithm, the public key and the application, of which nothing was checked but the form.

    Raises ValueError if it is no public key of a security key.
    """
    name, rest = take_string(blob)
    algorithm = {type_name.encode(): number for number, type_name in TYPES.items()}.get(name)
    if algorithm is None:
        raise ValueError
    if algorithm == ALGORITHM_ECDSA:
        curve, rest = take_string(rest)
        if curve != _CURVE:
            raise ValueError
    public_key, rest = take_string(rest)
    application, rest = take_string(rest)
    if rest:
        raise ValueError
    return algorithm, public_key, application.decode()


def public_line(blob: bytes, comment: str) -> str:
    """Return the line of a .pub file, without its end, of a public key that is one of a security key."""
    from binascii import b2a_base64

    name, _ = take_string(blob)
    key = f"{name.decode()} {b2a_base64(blob, newline=False).decode()}"
    return f"{key} {comment}" if comment else key


def fingerprint(blob: bytes) -> str:
    """Return what ssh-keygen -l prints of a public key."""
    from binascii import b2a_base64

    return FINGERPRINT_PREFIX + b2a_base64(sha256(blob), newline=False).decode().rstrip("=")
