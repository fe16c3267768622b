"""What the cases ask of an authenticator: to make a key, and to sign; and what its answers must be."""

from __future__ import annotations

from sk_provider.ctap import ES256, cbor, commands, sha256, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RP_ID = "ssh:"
CLIENT_DATA_HASH = sha256(b"a message to sign")


def creation(more: dict[int, Any] | None = None) -> bytes:
    """Return a makeCredential request (CTAP 2.1 §6.1) for a key that is not resident."""
    parameters: dict[int, Any] = {
        1: CLIENT_DATA_HASH,
        2: {"id": RP_ID},
        3: {"id": b"user", "name": "user"},
        4: [{"alg": ES256, "type": "public-key"}],
        **(more or {}),
    }
    return bytes([commands.MAKE_CREDENTIAL]) + cbor.encode(parameters)


def assertion(credential_id: bytes, *, up: bool = True) -> bytes:
    """Return a getAssertion request (CTAP 2.1 §6.2)."""
    parameters: dict[int, Any] = {
        1: RP_ID,
        2: CLIENT_DATA_HASH,
        3: [{"id": credential_id, "type": "public-key"}],
        5: {"up": up},
    }
    return bytes([commands.GET_ASSERTION]) + cbor.encode(parameters)


def made(response: bytes) -> tuple[bytes, Any]:
    """Return the credential ID and the public key of what makeCredential has answered."""
    from fido2.webauthn import AuthenticatorData

    assert isinstance(response, bytes), f"there was no answer: {response!r}"
    assert response[0] == status.SUCCESS, f"makeCredential was answered with status 0x{response[0]:02x}"
    answer: Any = cbor.decode(response[1:])
    data = AuthenticatorData(answer[2]).credential_data
    assert data is not None
    return data.credential_id, data.public_key


def check_signature(response: bytes, public_key: Any) -> None:
    """Check what getAssertion has answered."""
    assert response[0] == status.SUCCESS, f"getAssertion was answered with status 0x{response[0]:02x}"
    answer: Any = cbor.decode(response[1:])
    public_key.verify(answer[2] + CLIENT_DATA_HASH, answer[3])
