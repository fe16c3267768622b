"""What an authenticator may say of a new key, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from fido2.ctap2 import AttestationResponse
from support.soft_token import CLIENT_DATA_HASH, ES256, RP_ID, Device, Person

from sk_provider import enroll
from sk_provider.api import ALGORITHM_ECDSA, FLAG_USER_PRESENCE, EnrollRequest
from sk_provider.authenticator.store import Store
from sk_provider.errors import AuthenticatorError

REQUEST = EnrollRequest(ALGORITHM_ECDSA, CLIENT_DATA_HASH, RP_ID, FLAG_USER_PRESENCE, None, None, None)


@pytest.fixture
def made(tmp_path: Path) -> AttestationResponse:
    return Device(Store.create(str(tmp_path / "store")), Person()).make()


def test_an_empty_attestation_is_taken(made: AttestationResponse) -> None:
    response = enroll._to_response(REQUEST, AttestationResponse("none", made.auth_data, {}), ES256)
    assert (response.signature, response.attestation_certificate) == (b"", b"")


@pytest.mark.parametrize("statement", [{"sig": 5}, {"sig": "text"}, {"x5c": [5]}, {"x5c": ["text"]}, {"x5c": 5}])
def test_an_attestation_of_other_than_bytes_is_refused(made: AttestationResponse, statement: dict[str, object]) -> None:
    attestation = AttestationResponse("none", made.auth_data, statement)
    enroll._verify_attestation(attestation, CLIENT_DATA_HASH)
    with pytest.raises(AuthenticatorError, match="attestation of the new key cannot be understood"):
        enroll._to_response(REQUEST, attestation, ES256)
