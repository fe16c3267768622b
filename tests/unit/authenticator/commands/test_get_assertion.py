from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap2 import Config, Ctap2
from fido2.webauthn import AuthenticatorData
from support.soft_token import (
    CLIENT_DATA_HASH,
    EDDSA,
    RP_ID,
    Device,
    Permission,
    Person,
    credential_id,
    descriptor,
    refusal,
)

from sk_provider.authenticator.presence import CANCELLED, DENIED, TIMED_OUT
from sk_provider.authenticator.store import Store
from sk_provider.ctap import status

pytestmark = pytest.mark.slow

FLAG = AuthenticatorData.FLAG


def good_request(allowed: bytes) -> dict[Any, Any]:
    return {1: RP_ID, 2: CLIENT_DATA_HASH, 3: [descriptor(allowed)]}


def test_an_assertion_names_its_credential_and_no_user(device: Device, person: Person) -> None:
    made = credential_id(device.make())
    assertion = device.get(made)
    assert assertion.credential == descriptor(made)
    assert assertion.user is None
    assert assertion.number_of_credentials is None
    assert assertion.auth_data.flags == FLAG.UP
    assert assertion.auth_data.rp_id_hash == hashlib.sha256(RP_ID.encode()).digest()
    assert person.actions == ["enroll", "sign"]
    assert person.requests[1].rp_id == RP_ID


@pytest.mark.parametrize(
    ("answer", "code"),
    [(DENIED, 0x27), (TIMED_OUT, 0x27), (CANCELLED, 0x2D)],
)
def test_a_refused_touch_signs_nothing(device: Device, person: Person, answer: int, code: int) -> None:
    made = credential_id(device.make())
    before = device.store.read().counter
    person.answer = answer
    assert refusal(device.get, made) == code
    assert device.store.read().counter == before


def test_a_person_is_not_asked_when_the_call_was_cancelled_before(device: Device, person: Person) -> None:
    class Set:
        def is_set(self) -> bool:
            return True

    made = credential_id(device.make())
    person.requests.clear()
    assert refusal(device.get, made, event=Set()) == status.KEEPALIVE_CANCEL
    assert not person.requests


def test_the_platform_hears_that_a_touch_is_needed(device: Device) -> None:
    made = credential_id(device.make())
    heard: list[int] = []
    device.get(made, on_keepalive=heard.append)
    assert heard == [2]
    heard.clear()
    device.get(made, options={"up": False}, on_keepalive=heard.append)
    assert not heard


def test_a_silent_assertion_needs_no_touch_and_says_so(device: Device, person: Person) -> None:
    made = credential_id(device.make())
    person.requests.clear()
    assert device.get(made, options={"up": False}).auth_data.flags == 0
    assert refusal(device.get, b"foreign", options={"up": False}) == status.NO_CREDENTIALS
    assert not person.requests


def test_the_counter_grows_with_each_signature_across_objects_and_profiles(
    make_device: Callable[[str], Device],
) -> None:
    counters = []
    made = device = None
    for name in ("fido2.1", "fido2.0", "slow"):
        device = make_device(name)
        made = device.make()
        counters += [made.auth_data.counter, device.get(credential_id(made)).auth_data.counter]
    assert counters == sorted(set(counters))


def test_foreign_key_handles_are_not_signed_with(device: Device, tmp_path: Any) -> None:
    made = credential_id(device.make())
    other = Device(Store.create(str(tmp_path / "other")), Person())
    for untrusted in (
        credential_id(other.make()),
        credential_id(device.make("ssh:other")),
        made[:-1],
        made + b"\0",
        made[:40] + bytes([made[40] ^ 1]) + made[41:],
        made[:4] + b"\2" + made[5:],
        b"",
        b"pysk",
    ):
        assert refusal(device.get, untrusted) == status.NO_CREDENTIALS
    assert device.get(b"foreign", made).credential["id"] == made


def test_a_reset_voids_every_key_handle_and_the_counter_goes_on(device: Device) -> None:
    made = device.make()
    store_id = device.store.store_id
    device.ctap2.reset()
    assert device.store.read().store_id == store_id
    assert refusal(device.get, credential_id(made)) == status.NO_CREDENTIALS
    assert device.make().auth_data.counter > made.auth_data.counter


def test_a_reset_while_a_person_is_awaited_prevents_the_signature(device: Device, person: Person) -> None:
    made = credential_id(device.make())

    def reset() -> None:
        device.forget_all()

    person.meanwhile = reset
    assert refusal(device.get, made) == status.NO_CREDENTIALS


def test_a_deletion_while_a_person_is_awaited_prevents_the_signature(device: Device, person: Person) -> None:
    made = credential_id(device.make(options={"rk": True}))

    def delete() -> None:
        with device.store.transaction() as state:
            state.credentials.clear()

    person.meanwhile = delete
    assert refusal(device.get, made) == status.NO_CREDENTIALS


def test_verification_required_while_a_person_is_awaited_is_required(device: Device, person: Person) -> None:
    made = credential_id(device.make())
    person.meanwhile = lambda: Config(device.beside().ctap2).toggle_always_uv()
    assert refusal(device.get, made) == status.PUAT_REQUIRED


def test_a_pin_changed_while_a_person_is_awaited_voids_the_verification(device: Device, person: Person) -> None:
    device.set_pin()
    made = credential_id(device.make())
    auth = device.auth(device.pin_token(Permission.GET_ASSERTION, RP_ID))
    person.meanwhile = lambda: device.beside().client_pin().change_pin("1234", "4321")
    assert refusal(device.get, made, **auth) == status.PIN_AUTH_INVALID


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({1: None}, status.MISSING_PARAMETER),
        ({1: b"ssh:"}, status.CBOR_UNEXPECTED_TYPE),
        ({2: None}, status.MISSING_PARAMETER),
        ({2: "hash"}, status.CBOR_UNEXPECTED_TYPE),
        ({2: bytes(31)}, status.INVALID_LENGTH),
        ({3: {}}, status.CBOR_UNEXPECTED_TYPE),
        ({3: ["id"]}, status.CBOR_UNEXPECTED_TYPE),
        ({3: [{"id": b"id"}]}, status.MISSING_PARAMETER),
        ({3: [{"type": "public-key"}]}, status.MISSING_PARAMETER),
        ({3: [{"type": b"public-key", "id": b"id"}]}, status.CBOR_UNEXPECTED_TYPE),
        ({3: [{"type": "public-key", "id": 42}]}, status.CBOR_UNEXPECTED_TYPE),
        ({3: [{"type": "public-key", "id": b"id"}]}, status.NO_CREDENTIALS),
        ({3: [{"type": "rot13", "id": b"id"}]}, status.NO_CREDENTIALS),
        ({4: "extensions"}, status.CBOR_UNEXPECTED_TYPE),
        ({5: "options"}, status.CBOR_UNEXPECTED_TYPE),
        ({5: {"up": 0}}, status.CBOR_UNEXPECTED_TYPE),
        ({5: {"uv": True}}, status.INVALID_OPTION),
        ({5: {"rk": True}}, status.UNSUPPORTED_OPTION),
        ({5: {"rk": False}}, status.UNSUPPORTED_OPTION),
        ({6: bytes(32)}, status.MISSING_PARAMETER),
        ({6: bytes(32), 7: 0}, status.INVALID_PARAMETER),
        ({6: b"", 7: 2}, status.PIN_NOT_SET),
        ({7: b"2"}, status.CBOR_UNEXPECTED_TYPE),
    ],
)
@pytest.mark.store_only
def test_a_malformed_request_is_refused(device: Device, change: dict[int, Any], code: int) -> None:
    made = credential_id(device.make())
    parameters = {key: value for key, value in {**good_request(made), **change}.items() if value is not None}
    assert device.request(2, parameters) == (code, None)


@pytest.mark.parametrize("change", [{5: {"uv": False}}, {5: {"unknown": 1}}, {4: {"unknown": 1}}, {42: 42}])
def test_what_is_unknown_or_harmless_is_accepted(device: Device, change: dict[int, Any]) -> None:
    assert device.request(2, {**good_request(credential_id(device.make())), **change})[0] == status.SUCCESS


@pytest.mark.store_only
def test_discoverable_credentials_are_found_without_a_list_newest_first(device: Device) -> None:
    device.set_pin()
    made = [device.make_resident(user_id=bytes([n]), algorithm=EDDSA if n % 2 else -7) for n in range(3)]
    device.make_resident("ssh:other")
    device.make()
    first = device.get()
    assert first.number_of_credentials == 3
    assertions = [first, device.get_next(), device.get_next()]
    assert [a.credential["id"] for a in assertions] == [credential_id(m) for m in reversed(made)]
    for assertion, attestation in zip(assertions, reversed(made), strict=True):
        assert attestation.auth_data.credential_data is not None
        assertion.verify(CLIENT_DATA_HASH, attestation.auth_data.credential_data.public_key)
    counters = [assertion.auth_data.counter for assertion in assertions]
    assert counters == sorted(set(counters))
    assert refusal(device.get_next) == status.NOT_ALLOWED


def test_who_the_user_is_is_told_after_verification_alone(device: Device) -> None:
    device.set_pin()
    for number in range(2):
        device.make_resident(user_id=bytes([number]))
    assert device.get().user == {"id": b"\1"}
    verified = device.get(verified=True)
    assert verified.user == {"id": b"\1", "name": "name of 01", "displayName": "A User"}
    assert verified.auth_data.flags == FLAG.UP | FLAG.UV
    assert device.get_next().user == {"id": b"\0", "name": "name of 00", "displayName": "A User"}


def test_the_person_sees_the_name_of_the_only_account(device: Device, person: Person) -> None:
    made = credential_id(device.make(options={"rk": True}))
    device.get(made)
    device.get()
    assert [request.user_name for request in person.requests[1:]] == ["name of 75736572"] * 2


def test_the_next_assertion_must_be_asked_for_within_thirty_seconds(device: Device) -> None:
    for number in range(3):
        device.make(user_id=bytes([number]), options={"rk": True})
    device.get()
    device.now += 30
    device.get_next()
    device.now += 30.1
    assert refusal(device.get_next) == status.NOT_ALLOWED


def test_another_command_ends_the_chain_of_next_assertions(device: Device) -> None:
    for number in range(2):
        device.make(user_id=bytes([number]), options={"rk": True})
    device.get()
    device.request(4)
    assert refusal(device.get_next) == status.NOT_ALLOWED
    device.get()
    device.power_up()
    assert device.request(8)[0] == status.NOT_ALLOWED


def test_a_credential_deleted_meanwhile_has_no_next_assertion(device: Device) -> None:
    for number in range(2):
        device.make(user_id=bytes([number]), options={"rk": True})
    device.get()
    with device.store.transaction() as state:
        state.credentials.clear()
    assert device.request(8)[0] == status.NO_CREDENTIALS


@pytest.mark.parametrize("level", [1, 2, 3])
def test_protected_credentials_show_themselves_only_as_far_as_their_level_lets_them(device: Device, level: int) -> None:
    device.set_pin()
    made = device.make_resident(extensions={"credProtect": level})
    assert made.auth_data.extensions == {"credProtect": level}
    handle = credential_id(made)
    assert device.get(handle, verified=True).credential["id"] == handle
    assert device.get(verified=True).credential["id"] == handle
    if level < 3:
        assert device.get(handle).credential["id"] == handle
    else:
        assert refusal(device.get, handle) == status.NO_CREDENTIALS
    if level < 2:
        assert device.get().credential["id"] == handle
    else:
        assert refusal(device.get) == status.NO_CREDENTIALS


def test_protection_is_sealed_into_a_key_handle_too(device: Device) -> None:
    device.set_pin()
    handle = credential_id(device.make(extensions={"credProtect": 3}))
    assert refusal(device.get, handle) == status.NO_CREDENTIALS
    assert device.get(handle, verified=True).auth_data.flags == FLAG.UP | FLAG.UV


def test_a_pin_token_signs_once_with_a_touch_and_any_number_of_times_silently(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    for _ in range(2):
        assert device.get(made, options={"up": False}, **device.auth(token)).auth_data.flags == FLAG.UV
    device.get(made, **device.auth(token))
    assert refusal(device.get, made, **device.auth(token)) == status.PIN_AUTH_INVALID


def test_a_touch_for_another_request_spends_the_pin_token_too(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    for touch in (device.make, lambda: device.get(made)):
        auth = device.auth(device.pin_token(Permission.GET_ASSERTION, RP_ID))
        device.get(made, options={"up": False})
        device.get(made, options={"up": False}, **auth)
        touch()
        assert refusal(device.get, made, options={"up": False}, **auth) == status.PIN_AUTH_INVALID


def test_a_list_of_unknown_types_alone_finds_no_discoverable_credential(device: Device) -> None:
    device.make(options={"rk": True})
    request = {1: RP_ID, 2: CLIENT_DATA_HASH, 3: [{"type": "rot13", "id": b"id"}]}
    assert device.request(2, request) == (status.NO_CREDENTIALS, None)
    assert device.request(2, {**request, 3: []})[0] == status.SUCCESS


def test_the_next_assertion_ends_with_the_token_that_the_first_was_verified_by(device: Device) -> None:
    device.set_pin()
    for number in range(2):
        device.make_resident(user_id=bytes([number]))
    auth = device.auth(device.pin_token(Permission.GET_ASSERTION, RP_ID))
    device.get(options={"up": False}, **auth)
    device.now += 590
    device.get(options={"up": False}, **auth)
    device.now += 11
    assert refusal(device.get_next) == status.NOT_ALLOWED


def test_a_pin_token_is_bound_to_the_rp_that_it_first_serves(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    other = credential_id(device.make("ssh:other"))
    token = device.client_pin().get_pin_token("1234")  # without permissions: mc, ga, and no RP id yet
    device.get(made, options={"up": False}, **device.auth(token))
    assert refusal(device.get, other, rp_id="ssh:other", **device.auth(token)) == status.PIN_AUTH_INVALID
    device.get(made, **device.auth(token))


@pytest.mark.parametrize(("protocol", "length"), [(1, 16), (2, 32)])
def test_an_unprotected_token_cannot_verify_a_pin_uv_auth_param(
    device: Device, person: Person, protocol: int, length: int
) -> None:
    made = credential_id(device.make())
    person.requests.clear()
    arguments = {"pin_uv_param": bytes(length), "pin_uv_protocol": protocol}
    assert refusal(device.get, made, **arguments) == status.PIN_NOT_SET
    assert refusal(device.get, made, options={"up": False}, **arguments) == status.PIN_NOT_SET
    assert refusal(device.make, **arguments) == status.PIN_NOT_SET
    # What the sections have before that comes before it.
    assert refusal(device.get, made, options={"rk": True}, **arguments) == status.UNSUPPORTED_OPTION
    assert refusal(device.make, algorithm=-1, **arguments) == status.UNSUPPORTED_ALGORITHM
    assert refusal(device.make, options={"up": False}, **arguments) == status.INVALID_OPTION
    assert not person.requests


def test_the_credential_is_left_out_where_the_profile_says_so(make_device: Callable[[str], Device]) -> None:
    device = make_device("credential-omitted")
    made = credential_id(device.make())
    one = device.request(2, good_request(made))
    assert 1 not in one[1]
    two = device.request(2, {**good_request(made), 3: [descriptor(b"foreign"), descriptor(made)]})
    assert two[1][1] == descriptor(made)


def test_a_request_is_refused_when_it_is_larger_than_the_token_takes(make_device: Callable[[str], Device]) -> None:
    device = make_device("small")
    assert device.request(2, {1: "r" * 1024}) == (status.REQUEST_TOO_LARGE, None)
    assert Ctap2(device).info.max_msg_size == 1024
