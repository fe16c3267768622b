from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from fido2.attestation import PackedAttestation
from fido2.webauthn import AuthenticatorData
from support.soft_token import (
    CLIENT_DATA_HASH,
    EDDSA,
    ES256,
    RP_ID,
    Device,
    Permission,
    Person,
    credential_id,
    descriptor,
    refusal,
)

from sk_provider.authenticator.key_handle import MARK
from sk_provider.authenticator.presence import CANCELLED, DENIED, TIMED_OUT
from sk_provider.authenticator.profiles import AAGUID
from sk_provider.ctap import status

pytestmark = pytest.mark.slow

FLAG = AuthenticatorData.FLAG
PUBLIC_KEY = [{"type": "public-key", "alg": ES256}]


def good_request() -> dict[Any, Any]:
    return {1: CLIENT_DATA_HASH, 2: {"id": RP_ID}, 3: {"id": b"user"}, 4: PUBLIC_KEY}


@pytest.mark.parametrize("algorithm", [ES256, EDDSA])
@pytest.mark.store_only
def test_a_new_credential_is_attested_and_signs(device: Device, algorithm: int) -> None:
    made = device.make(algorithm=algorithm)
    PackedAttestation().verify(made.att_stmt, made.auth_data, CLIENT_DATA_HASH)
    data = made.auth_data.credential_data
    assert data is not None
    assert data.aaguid == AAGUID
    assert data.public_key[3] == algorithm
    assert made.auth_data.rp_id_hash == hashlib.sha256(RP_ID.encode()).digest()
    assert made.auth_data.flags == FLAG.UP | FLAG.AT
    assert data.credential_id.startswith(MARK + b"\x01" + device.store.store_id)
    device.get(data.credential_id).verify(CLIENT_DATA_HASH, data.public_key)


def test_what_makes_a_credential_attests_it(device: Device) -> None:
    made = device.make()
    PackedAttestation().verify(made.att_stmt, made.auth_data, CLIENT_DATA_HASH)


@pytest.mark.store_only
def test_the_attestation_certificate_is_as_webauthn_requires(device: Device) -> None:
    certificate = x509.load_der_x509_certificate(device.make().att_stmt["x5c"][0])
    assert certificate.version is x509.Version.v3
    subject = certificate.subject
    assert subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)[0].value == "ZZ"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    unit = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value
    assert unit == "Authenticator Attestation"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    aaguid = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4"))
    assert aaguid.value.public_bytes() == b"\x04\x10" + AAGUID
    assert not aaguid.critical
    certificate.verify_directly_issued_by(certificate)


def test_a_person_is_asked_with_the_rp_and_the_name(device: Device, person: Person) -> None:
    device.make(rp_id="ssh:work", user_id=b"\x01")
    assert [(r.action, r.rp_id, r.user_name) for r in person.requests] == [("enroll", "ssh:work", "name of 01")]


@pytest.mark.parametrize(
    ("answer", "code"),
    [(DENIED, 0x27), (TIMED_OUT, 0x27), (CANCELLED, 0x2D)],
)
def test_a_refused_touch_makes_no_credential(device: Device, person: Person, answer: int, code: int) -> None:
    device.set_pin()
    before = device.store.read().counter
    person.answer = answer
    assert refusal(device.make_resident) == code
    state = device.store.read()
    assert not state.credentials
    assert state.counter == before


@pytest.mark.store_only
def test_the_first_algorithm_that_is_supported_is_taken(device: Device) -> None:
    parameters = [{"type": "public-key", "alg": number} for number in (-257, EDDSA, ES256)]
    status_code, answer = device.request(1, {**good_request(), 4: parameters})
    assert status_code == status.SUCCESS
    data = AuthenticatorData(answer[2]).credential_data
    assert data is not None
    assert data.public_key[3] == EDDSA


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({1: None}, status.MISSING_PARAMETER),
        ({1: "text"}, status.CBOR_UNEXPECTED_TYPE),
        ({1: b"short"}, status.INVALID_LENGTH),
        ({2: None}, status.MISSING_PARAMETER),
        ({2: b"rp"}, status.CBOR_UNEXPECTED_TYPE),
        ({2: {}}, status.MISSING_PARAMETER),
        ({2: {"id": b"ssh:"}}, status.CBOR_UNEXPECTED_TYPE),
        ({2: {"id": "ssh:", "name": 1}}, status.CBOR_UNEXPECTED_TYPE),
        ({2: {"id": "ssh:", "icon": 1}}, status.CBOR_UNEXPECTED_TYPE),
        ({3: None}, status.MISSING_PARAMETER),
        ({3: b"user"}, status.CBOR_UNEXPECTED_TYPE),
        ({3: {"name": "user"}}, status.MISSING_PARAMETER),
        ({3: {"id": "user"}}, status.CBOR_UNEXPECTED_TYPE),
        ({3: {"id": b"u" * 65}}, status.INVALID_LENGTH),
        ({3: {"id": b"user", "name": b"user"}}, status.CBOR_UNEXPECTED_TYPE),
        ({3: {"id": b"user", "displayName": 0}}, status.CBOR_UNEXPECTED_TYPE),
        ({4: None}, status.MISSING_PARAMETER),
        ({4: {}}, status.CBOR_UNEXPECTED_TYPE),
        ({4: []}, status.UNSUPPORTED_ALGORITHM),
        ({4: ["public-key"]}, status.CBOR_UNEXPECTED_TYPE),
        ({4: [{"alg": -7}]}, status.MISSING_PARAMETER),
        ({4: [{"type": "public-key"}]}, status.MISSING_PARAMETER),
        ({4: [{"type": "public-key", "alg": "ES256"}]}, status.CBOR_UNEXPECTED_TYPE),
        ({4: [{"type": b"public-key", "alg": -7}]}, status.CBOR_UNEXPECTED_TYPE),
        ({4: [{"type": "public-key", "alg": -257}]}, status.UNSUPPORTED_ALGORITHM),
        ({4: [{"type": "private-key", "alg": -7}]}, status.UNSUPPORTED_ALGORITHM),
        ({4: [*PUBLIC_KEY, {"type": "public-key"}]}, status.MISSING_PARAMETER),
        ({4: [{"type": "other"}]}, status.UNSUPPORTED_ALGORITHM),
        ({4: [*PUBLIC_KEY, {"type": "other", "alg": "ES256"}]}, status.CBOR_UNEXPECTED_TYPE),
        ({5: {}}, status.CBOR_UNEXPECTED_TYPE),
        ({5: [b"id"]}, status.CBOR_UNEXPECTED_TYPE),
        ({5: [{"id": b"id"}]}, status.MISSING_PARAMETER),
        ({5: [{"type": "public-key"}]}, status.MISSING_PARAMETER),
        ({5: [{"type": "public-key", "id": "id"}]}, status.CBOR_UNEXPECTED_TYPE),
        ({5: [{"type": "public-key", "id": b""}] * 33}, status.LIMIT_EXCEEDED),
        ({6: []}, status.CBOR_UNEXPECTED_TYPE),
        ({7: []}, status.CBOR_UNEXPECTED_TYPE),
        ({7: {"rk": 1}}, status.CBOR_UNEXPECTED_TYPE),
        ({7: {"uv": "true"}}, status.CBOR_UNEXPECTED_TYPE),
        ({7: {"up": False}}, status.INVALID_OPTION),
        ({7: {"uv": True}}, status.INVALID_OPTION),
        ({8: "param"}, status.CBOR_UNEXPECTED_TYPE),
        ({8: bytes(32)}, status.MISSING_PARAMETER),
        ({8: bytes(32), 9: 3}, status.INVALID_PARAMETER),
        ({8: bytes(32), 9: "2"}, status.CBOR_UNEXPECTED_TYPE),
        ({10: 1}, status.INVALID_PARAMETER),
    ],
)
@pytest.mark.store_only
def test_a_malformed_request_is_refused(device: Device, person: Person, change: dict[int, Any], code: int) -> None:
    parameters = {key: value for key, value in {**good_request(), **change}.items() if value is not None}
    assert device.request(1, parameters) == (code, None)
    assert not person.requests


@pytest.mark.parametrize(
    "change",
    [
        {4: [{"type": "other"}, *PUBLIC_KEY]},
        {4: [*PUBLIC_KEY, {"type": "other", "alg": -257}]},
        {7: {"up": True}},
        {7: {"plat": True, "unknown": 12}},
        {5: []},
        {5: [{"type": "rot13", "id": b"id"}]},
        {5: [{"type": "public-key", "id": b"foreign"}]},
        {6: {"unknown": True}},
        {99: "unknown"},
        {3: {"id": b""}},
        {3: {"id": b"u" * 64, "icon": "about:blank", "unknown": 1}},
    ],
)
@pytest.mark.store_only
def test_what_is_unknown_or_harmless_is_accepted(device: Device, change: dict[int, Any]) -> None:
    assert device.request(1, {**good_request(), **change})[0] == status.SUCCESS


def test_an_excluded_credential_is_refused_after_a_touch(device: Device, person: Person) -> None:
    existing = credential_id(device.make())
    person.requests.clear()
    descriptors = [{"type": "public-key", "id": b"another"}, descriptor(existing)]
    assert refusal(device.make, exclude_list=descriptors) == status.CREDENTIAL_EXCLUDED
    assert person.actions == ["enroll"]
    person.answer = DENIED
    assert refusal(device.make, exclude_list=descriptors) == status.CREDENTIAL_EXCLUDED
    person.answer = CANCELLED
    assert refusal(device.make, exclude_list=descriptors) == status.KEEPALIVE_CANCEL


def test_a_credential_of_another_rp_is_not_excluded(device: Device) -> None:
    existing = credential_id(device.make("ssh:other"))
    device.make(exclude_list=[descriptor(existing)])


def test_an_excluded_credential_shows_itself_only_as_far_as_its_protection_lets_it(device: Device) -> None:
    device.set_pin()
    existing = credential_id(device.make_resident(extensions={"credProtect": 3}))
    exclude_list = [descriptor(existing)]
    device.make(exclude_list=exclude_list)
    assert refusal(device.make, exclude_list=exclude_list, verified=True) == status.CREDENTIAL_EXCLUDED


def test_a_deleted_credential_is_no_longer_excluded(device: Device) -> None:
    device.set_pin()
    existing = credential_id(device.make_resident())
    device.credential_management().delete_cred(descriptor(existing))
    device.make(exclude_list=[descriptor(existing)])


def test_a_resident_credential_replaces_that_of_the_same_user(device: Device) -> None:
    device.set_pin()
    first = credential_id(device.make_resident())
    second = credential_id(device.make_resident())
    other = credential_id(device.make_resident(user_id=b"other"))
    elsewhere = credential_id(device.make_resident(rp_id="ssh:elsewhere"))
    assert set(device.store.read().credentials) == {second, other, elsewhere}
    assert refusal(device.get, first) == status.NO_CREDENTIALS


def test_a_full_token_takes_no_further_resident_credential(make_device: Callable[[str], Device]) -> None:
    device = make_device("small")
    device.set_pin()
    for number in range(device.profile.max_resident):
        device.make_resident(user_id=bytes([number]))
    assert refusal(device.make_resident, user_id=b"another") == status.KEY_STORE_FULL
    device.make_resident(user_id=b"\0")
    assert len(device.store.read().credentials) == device.profile.max_resident


def test_a_resident_credential_needs_the_pin_once_one_is_set(device: Device) -> None:
    device.make(options={"rk": True})
    device.set_pin()
    assert refusal(device.make, options={"rk": True}) == status.PUAT_REQUIRED
    device.make()
    assert device.make_resident().auth_data.flags == FLAG.UP | FLAG.UV | FLAG.AT


def test_every_credential_needs_the_pin_where_the_profile_says_so(make_device: Callable[[str], Device]) -> None:
    device = make_device("pin-for-create")
    device.make()
    device.set_pin()
    assert refusal(device.make) == status.PUAT_REQUIRED
    device.make(verified=True)


def test_an_empty_pin_uv_auth_param_asks_for_a_touch_alone(device: Device, person: Person) -> None:
    parameters = {**good_request(), 8: b"", 9: 2}
    assert device.request(1, parameters)[0] == status.PIN_NOT_SET
    device.set_pin()
    assert device.request(1, parameters)[0] == status.PIN_INVALID
    assert person.actions == ["select", "select"]
    for person.answer in (DENIED, TIMED_OUT):
        assert device.request(1, parameters)[0] == status.OPERATION_DENIED


def test_a_token_of_another_permission_or_rp_makes_nothing(device: Device) -> None:
    device.set_pin()
    for permissions, rp_id in ((Permission.GET_ASSERTION, RP_ID), (Permission.MAKE_CREDENTIAL, "ssh:other")):
        token = device.pin_token(permissions, rp_id)
        assert refusal(device.make, **device.auth(token)) == status.PIN_AUTH_INVALID
    token = device.pin_token(Permission.MAKE_CREDENTIAL, RP_ID)
    assert refusal(device.make, **device.auth(token, b"another message")) == status.PIN_AUTH_INVALID


def test_a_reset_while_a_person_is_awaited_leaves_nothing_of_the_old_secret(device: Device, person: Person) -> None:
    def reset() -> None:
        device.forget_all()

    person.meanwhile = reset
    made = device.make()
    PackedAttestation().verify(made.att_stmt, made.auth_data, CLIENT_DATA_HASH)
    person.meanwhile = lambda: None
    device.get(credential_id(made))


def test_a_pin_changed_while_a_person_is_awaited_voids_the_verification(device: Device, person: Person) -> None:
    device.set_pin()
    other = device.beside()
    token = device.pin_token(Permission.MAKE_CREDENTIAL, RP_ID)
    person.meanwhile = lambda: other.client_pin().change_pin("1234", "4321")
    assert refusal(device.make, options={"rk": True}, **device.auth(token)) == status.PIN_AUTH_INVALID
    assert not device.store.read().credentials


def test_a_pin_set_while_a_person_is_awaited_is_asked_for(device: Device, person: Person) -> None:
    person.meanwhile = device.beside().set_pin
    assert refusal(device.make, options={"rk": True}) == status.PUAT_REQUIRED
    assert not device.store.read().credentials


def test_what_presence_raises_passes_through_and_changes_nothing(device: Device, person: Person) -> None:
    class HostGoneError(Exception):
        pass

    def leave() -> None:
        raise HostGoneError

    before = device.store.read().to_bytes()
    person.meanwhile = leave
    with pytest.raises(HostGoneError):
        device.make(options={"rk": True})
    assert device.store.read().to_bytes() == before
