from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap2 import ClientPin
from fido2.ctap2.pin import PinProtocol, PinProtocolV1, PinProtocolV2
from support.soft_token import PIN, RP_ID, Device, Permission, credential_id, refusal

from sk_provider.ctap import commands, status
from sk_provider.errors import StoreUnusable

pytestmark = pytest.mark.slow

PROTOCOLS = pytest.mark.parametrize("protocol", [PinProtocolV1(), PinProtocolV2()], ids=["1", "2"])


def set_pin_raw(device: Device, padded_pin: bytes) -> int:
    """Set a PIN with bytes that python-fido2 would not send."""
    protocol: Any = PinProtocolV2()
    key, secret = device.agree(protocol)
    new_pin_enc = protocol.encrypt(secret, padded_pin)
    param = protocol.authenticate(secret, new_pin_enc)
    return device.request(6, {1: 2, 2: 3, 3: key, 4: param, 5: new_pin_enc})[0]


@PROTOCOLS
def test_a_pin_is_set_changed_and_used(device: Device, protocol: PinProtocol) -> None:
    assert device.ctap2.info.options["clientPin"] is False
    assert refusal(device.client_pin(protocol).get_pin_token, PIN) == status.PIN_NOT_SET
    device.client_pin(protocol).set_pin(PIN)
    assert device.ctap2.info.options["clientPin"] is True
    assert len(device.client_pin(protocol).get_pin_token(PIN, Permission.GET_ASSERTION, RP_ID)) == 32
    assert refusal(device.client_pin(protocol).set_pin, "9876") == status.PIN_AUTH_INVALID
    device.client_pin(protocol).change_pin(PIN, "9876")
    assert refusal(device.client_pin(protocol).get_pin_token, PIN) == status.PIN_INVALID
    device.client_pin(protocol).get_pin_token("9876")
    assert refusal(device.client_pin(protocol).change_pin, "0000", PIN) == status.PIN_INVALID


def test_the_pin_is_not_in_the_store(device: Device) -> None:
    device.set_pin("a-recognisable-pin")
    content = device.store.read().to_bytes()
    digest = hashlib.sha256(b"a-recognisable-pin").digest()
    assert b"a-recognisable-pin" not in content
    assert digest[:16] not in content


def test_eight_wrong_pins_block_it_for_good(device: Device) -> None:
    device.set_pin()
    codes = []
    for _ in range(3):
        codes += [refusal(device.client_pin().get_pin_token, "0000") for _ in range(3)]
        device.power_up()
    assert codes == [
        *(status.PIN_INVALID, status.PIN_INVALID, status.PIN_AUTH_BLOCKED) * 2,
        *(status.PIN_INVALID, status.PIN_BLOCKED, status.PIN_BLOCKED),
    ]
    assert device.client_pin().get_pin_retries() == (0, False)
    assert refusal(device.client_pin().get_pin_token, PIN) == status.PIN_BLOCKED
    assert refusal(device.client_pin().change_pin, PIN, "9876") == status.PIN_BLOCKED
    device.ctap2.reset()
    device.set_pin()
    assert device.client_pin().get_pin_retries() == (8, False)


def test_three_wrong_pins_in_a_row_need_a_power_cycle(device: Device) -> None:
    device.set_pin()
    for _ in range(2):
        refusal(device.client_pin().get_pin_token, "0000")
    device.client_pin().get_pin_token(PIN)
    assert device.client_pin().get_pin_retries() == (8, False)
    for _ in range(3):
        refusal(device.client_pin().get_pin_token, "0000")
    assert device.client_pin().get_pin_retries() == (5, True)
    assert refusal(device.client_pin().get_pin_token, PIN) == status.PIN_AUTH_BLOCKED
    assert refusal(device.client_pin().change_pin, PIN, "9876") == status.PIN_AUTH_BLOCKED
    assert device.client_pin().get_pin_retries() == (5, True)
    device.power_up()
    assert device.client_pin().get_pin_retries() == (5, False)
    device.client_pin().get_pin_token(PIN)
    assert device.client_pin().get_pin_retries() == (8, False)


def test_another_object_of_the_same_power_cycle_stays_blocked(device: Device) -> None:
    device.set_pin()
    for _ in range(3):
        refusal(device.client_pin().get_pin_token, "0000")
    other = device.beside()
    assert refusal(other.client_pin().get_pin_token, PIN) == status.PIN_AUTH_BLOCKED


def test_a_retry_is_spent_before_the_pin_is_compared(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.set_pin()

    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    keeper = device.authenticator.power_up.keeper(device.store.read())
    monkeypatch.setattr(type(keeper), "is_pin", crash)
    with pytest.raises(KeyboardInterrupt):
        device.client_pin().get_pin_token(PIN)
    assert device.store.read().pin_retries == 7
    assert device.store.read().pin_wrong_in_a_row == 1


@pytest.mark.parametrize("pin", ["1234", "p" * 63, "\U0001f511" * 4, "ü" * 31, "a\0bc"])
def test_a_pin_may_have_four_code_points_to_sixty_three_bytes(device: Device, pin: str) -> None:
    assert set_pin_raw(device, pin.encode().ljust(64, b"\0")) == status.SUCCESS
    device.client_pin().get_pin_token(pin)


@pytest.mark.parametrize(
    ("padded_pin", "code"),
    [
        (b"123".ljust(64, b"\0"), status.PIN_POLICY_VIOLATION),
        (bytes(64), status.PIN_POLICY_VIOLATION),
        ("äöü".encode().ljust(64, b"\0"), status.PIN_POLICY_VIOLATION),
        ("\U0001f511".encode().ljust(64, b"\0"), status.PIN_POLICY_VIOLATION),
        (b"\xff\xfe\xfd\xfc\xfb".ljust(64, b"\0"), status.PIN_POLICY_VIOLATION),
        (b"p" * 64, status.PIN_POLICY_VIOLATION),
        (b"1234".ljust(32, b"\0"), status.INVALID_PARAMETER),
        (b"1234".ljust(80, b"\0"), status.INVALID_PARAMETER),
        (b"", status.INVALID_PARAMETER),
    ],
)
@pytest.mark.store_only
def test_a_pin_that_is_too_short_too_long_or_no_text_is_refused(device: Device, padded_pin: bytes, code: int) -> None:
    assert set_pin_raw(device, padded_pin) == code
    assert not device.store.read().pin


def test_a_right_pin_counts_even_if_the_new_one_is_refused(device: Device) -> None:
    device.set_pin()
    refusal(device.client_pin().get_pin_token, "0000")
    protocol: Any = PinProtocolV2()
    key, secret = device.agree(protocol)
    new_pin_enc = protocol.encrypt(secret, b"123".ljust(64, b"\0"))
    pin_hash_enc = protocol.encrypt(secret, hashlib.sha256(PIN.encode()).digest()[:16])
    param = protocol.authenticate(secret, new_pin_enc + pin_hash_enc)
    request = {1: 2, 2: 4, 3: key, 4: param, 5: new_pin_enc, 6: pin_hash_enc}
    assert device.request(6, request)[0] == status.PIN_POLICY_VIOLATION
    assert device.client_pin().get_pin_retries() == (8, False)
    device.client_pin().get_pin_token(PIN)


def test_a_wrong_pin_renews_the_key_agreement_key(device: Device) -> None:
    device.set_pin()
    before = device.request(6, {1: 2, 2: 2})
    assert device.request(6, {1: 2, 2: 2}) == before
    refusal(device.client_pin().get_pin_token, "0000")
    assert device.request(6, {1: 2, 2: 2}) != before


def test_changing_the_pin_voids_tokens_given_out_before(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    device.client_pin().change_pin(PIN, "9876")
    assert refusal(device.get, made, **device.auth(token)) == status.PIN_AUTH_INVALID


def test_a_new_token_voids_the_one_before_in_either_protocol(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    device.client_pin(PinProtocolV1()).get_pin_token(PIN, Permission.GET_ASSERTION, RP_ID)
    assert refusal(device.get, made, **device.auth(token)) == status.PIN_AUTH_INVALID


def test_a_token_does_not_survive_power_down(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    device.power_up()
    assert refusal(device.get, made, **device.auth(token)) == status.PIN_AUTH_INVALID


def test_a_token_of_one_protocol_does_not_serve_the_other(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    protocol: Any = PinProtocolV1()
    param = protocol.authenticate(token, bytes(range(32)))
    assert refusal(device.get, made, pin_uv_param=param, pin_uv_protocol=1) == status.PIN_AUTH_INVALID


@pytest.mark.parametrize(("seconds", "valid"), [(29, True), (31, False)])
def test_a_token_must_be_used_within_thirty_seconds(device: Device, seconds: float, valid: bool) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    device.now += seconds
    if valid:
        device.get(made, **device.auth(token))
    else:
        assert refusal(device.get, made, **device.auth(token)) == status.PIN_AUTH_INVALID


@pytest.mark.parametrize(("seconds", "valid"), [(599, True), (601, False)])
def test_a_token_in_use_lasts_ten_minutes(device: Device, seconds: float, valid: bool) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    silent = {"options": {"up": False}, **device.auth(token)}
    device.get(made, **silent)
    device.now += seconds
    if valid:
        device.get(made, **silent)
    else:
        assert refusal(device.get, made, **silent) == status.PIN_AUTH_INVALID


def test_a_ctap_2_0_token_lasts_until_power_down(make_device: Callable[[str], Device]) -> None:
    device = make_device("fido2.0")
    made = credential_id(device.make())
    device.set_pin()
    assert refusal(device.make) == status.PUAT_REQUIRED
    token = device.client_pin().get_pin_token(PIN)
    for _ in range(3):
        device.now += 10000
        device.get(made, **device.auth(token))


@pytest.mark.parametrize(
    ("permissions", "code"),
    [
        (0, status.INVALID_PARAMETER),
        (-1, status.INVALID_PARAMETER),
        (Permission.BIO_ENROLL, status.UNAUTHORIZED_PERMISSION),
        (Permission.BIO_ENROLL | Permission.CREDENTIAL_MGMT, status.UNAUTHORIZED_PERMISSION),
        (Permission.MAKE_CREDENTIAL, status.MISSING_PARAMETER),
        (Permission.GET_ASSERTION, status.MISSING_PARAMETER),
    ],
)
@pytest.mark.store_only
def test_permissions_that_cannot_be_given_are_refused(device: Device, permissions: int, code: int) -> None:
    device.set_pin()
    protocol = device.pin_protocol
    key, secret = device.agree(protocol)
    pin_hash = protocol.encrypt(secret, hashlib.sha256(PIN.encode()).digest()[:16])
    # python-fido2 asks for no token of another kind.
    request = {1: protocol.VERSION, 2: commands.GET_TOKEN_USING_PIN, 3: key, 6: pin_hash, 9: int(permissions)}
    assert device.request(commands.CLIENT_PIN, request) == (code, None)
    assert device.client_pin().get_pin_retries() == (8, False)


def key_agreement() -> dict[int, Any]:
    return {1: 2, 3: -25, -1: 1, -2: bytes(32), -3: bytes(32)}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, status.MISSING_PARAMETER),
        ({1: 2}, status.MISSING_PARAMETER),
        ({1: 2, 2: "getKeyAgreement"}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 2, 2: 0}, status.INVALID_SUBCOMMAND),
        ({1: 2, 2: 8}, status.INVALID_SUBCOMMAND),
        ({1: 2, 2: 6}, status.INVALID_SUBCOMMAND),  # there is no built-in user verification
        ({2: 7}, status.INVALID_SUBCOMMAND),
        ({2: 2}, status.MISSING_PARAMETER),
        ({1: 3, 2: 2}, status.INVALID_PARAMETER),
        ({1: "2", 2: 2}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 2, 2: 3}, status.MISSING_PARAMETER),
        ({1: 3, 2: 3, 3: {}, 4: b""}, status.MISSING_PARAMETER),
        ({1: 3, 2: 3, 3: {}, 4: b"", 5: b""}, status.INVALID_PARAMETER),
        ({1: 2, 2: 3, 3: {}, 4: b"", 5: b""}, status.INVALID_PARAMETER),
        ({1: 2, 2: 3, 3: key_agreement(), 4: b"", 5: b""}, status.INVALID_PARAMETER),
        ({1: 2, 2: 3, 3: {**key_agreement(), -2: b"\xff" * 32}, 4: b"", 5: b""}, status.INVALID_PARAMETER),
        ({1: 2, 2: 3, 3: {**key_agreement(), -2: b"\xff" * 33}, 4: b"", 5: b""}, status.INVALID_PARAMETER),
        ({1: 2, 2: 3, 3: {**key_agreement(), 3: -7}, 4: b"", 5: b""}, status.INVALID_PARAMETER),
        ({1: 2, 2: 3, 3: [], 4: b"", 5: b""}, status.CBOR_UNEXPECTED_TYPE),
        *(
            ({1: 2, 2: 3, 3: {**key_agreement(), member: "text"}, 4: b"", 5: b""}, status.CBOR_UNEXPECTED_TYPE)
            for member in key_agreement()
        ),
        *(({2: 1, member: True}, status.CBOR_UNEXPECTED_TYPE) for member in (1, 3, 4, 5, 6, 9, 10)),
        ({2: 1, 7: True, 8: True, 11: True}, status.SUCCESS),
        ({1: 2, 2: 4, 3: {}, 4: b"", 5: b""}, status.MISSING_PARAMETER),
        ({1: 2, 2: 4, 3: {}, 4: b"", 5: b"", 6: b""}, status.PIN_NOT_SET),
        ({1: 2, 2: 5, 3: {}}, status.MISSING_PARAMETER),
        ({1: 2, 2: 5, 3: {}, 6: b"", 9: 1}, status.INVALID_PARAMETER),
        ({1: 2, 2: 5, 3: {}, 6: b"", 10: "ssh:"}, status.INVALID_PARAMETER),
        ({1: 2, 2: 5, 3: {}, 6: b""}, status.PIN_NOT_SET),
        ({1: 2, 2: 9, 3: {}, 6: b""}, status.MISSING_PARAMETER),
        ({1: 2, 2: 9, 3: {}, 6: b"", 9: 4}, status.PIN_NOT_SET),
    ],
)
@pytest.mark.store_only
def test_a_malformed_request_is_refused(device: Device, request_: dict[int, Any], code: int) -> None:
    assert device.request(6, request_) == (code, {3: 8, 4: False} if code == status.SUCCESS else None)


def test_a_broken_ciphertext_counts_as_a_wrong_pin(device: Device) -> None:
    device.set_pin()
    for broken in (b"", b"short", bytes(17), bytes(32)):
        device.power_up()
        key, _ = device.agree(device.pin_protocol)
        assert device.request(6, {1: 2, 2: 5, 3: key, 6: broken})[0] == status.PIN_INVALID
    assert device.client_pin().get_pin_retries()[0] == 4


def test_retries_can_be_read_without_a_protocol(device: Device) -> None:
    assert device.request(6, {2: 1}) == (status.SUCCESS, {3: 8, 4: False})


def test_tokens_with_permissions_exist_in_ctap_2_1_alone(make_device: Callable[[str], Device]) -> None:
    device = make_device("fido2.0")
    assert device.request(6, {1: 1, 2: 9, 3: {}, 6: b"", 9: 4})[0] == status.INVALID_SUBCOMMAND
    assert device.request(6, {1: 2, 2: 2})[0] == status.INVALID_PARAMETER
    assert ClientPin(device.ctap2).protocol.VERSION == 1


@pytest.mark.parametrize("subcommand", [3, 4])
def test_a_new_pin_that_was_tampered_with_is_refused(device: Device, subcommand: int) -> None:
    if subcommand == 4:
        device.set_pin()
    before = device.store.read().to_bytes()
    protocol: Any = PinProtocolV2()
    key, secret = device.agree(protocol)
    new_pin_enc = protocol.encrypt(secret, b"9876".ljust(64, b"\0"))
    pin_hash_enc = protocol.encrypt(secret, hashlib.sha256(PIN.encode()).digest()[:16])
    request = {1: 2, 2: subcommand, 3: key, 4: bytes(32), 5: new_pin_enc, 6: pin_hash_enc}
    assert device.request(6, request)[0] == status.PIN_AUTH_INVALID
    assert device.store.read().to_bytes() == before


def test_a_pin_changed_by_another_process_meanwhile_gives_no_token(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    token = device.pin_token(Permission.GET_ASSERTION, RP_ID)
    device.beside().client_pin().change_pin(PIN, "9876")
    assert refusal(device.get, made, **device.auth(token)) == status.PIN_AUTH_INVALID
    assert refusal(device.client_pin().get_pin_token, PIN) == status.PIN_INVALID


# A disk that fails once the new state has taken the old one's place: nothing is gained by it.


@pytest.mark.parametrize("pin", [PIN, "0000"])
def test_a_retry_that_may_not_last_is_spent_and_tells_nothing_of_the_pin(
    device: Device, fail_to_last: Callable[[int], None], pin: str
) -> None:
    device.set_pin()
    for tries in (7, 6, 5):
        fail_to_last(0)
        with pytest.raises(StoreUnusable):
            device.client_pin().get_pin_token(pin)
        assert device.client_pin().get_pin_retries() == (tries, tries == 5)
    assert refusal(device.client_pin().get_pin_token, PIN) == status.PIN_AUTH_BLOCKED


@pytest.mark.parametrize("name", ["fido2.0", "fido2.1-pre"])
def test_a_pin_token_of_ctap_2_0_is_the_same_until_the_power_goes(
    make_device: Callable[[str], Device], name: str
) -> None:
    device = make_device(name)
    device.set_pin()
    first = device.client_pin().get_pin_token(PIN)
    auth = device.auth(first)
    assert device.client_pin().get_pin_token(PIN) == first
    device.get(credential_id(device.make(**auth)), **auth)
    device.power_up()
    assert device.client_pin().get_pin_token(PIN) != first
    assert refusal(device.make, **auth) == status.PIN_AUTH_INVALID


def test_a_pin_token_of_ctap_2_1_ends_with_the_next(device: Device) -> None:
    device.set_pin()
    first = device.client_pin().get_pin_token(PIN)
    assert device.client_pin().get_pin_token(PIN) != first
    assert refusal(device.make, **device.auth(first)) == status.PIN_AUTH_INVALID


def test_a_right_pin_whose_success_may_not_last_gives_no_token(
    device: Device, fail_to_last: Callable[[int], None]
) -> None:
    device.set_pin()
    made = credential_id(device.make())
    auth = device.auth(device.pin_token(Permission.GET_ASSERTION, RP_ID))
    fail_to_last(1)
    with pytest.raises(StoreUnusable):
        device.pin_token(Permission.GET_ASSERTION, RP_ID)
    assert device.client_pin().get_pin_retries() == (8, False)
    device.get(made, **auth)  # the token before is the one in use


def test_a_new_pin_that_may_not_last_voids_tokens_given_out_before(
    device: Device, fail_to_last: Callable[[int], None]
) -> None:
    device.set_pin()
    made = credential_id(device.make())
    auth = device.auth(device.pin_token(Permission.GET_ASSERTION, RP_ID))
    fail_to_last(2)
    with pytest.raises(StoreUnusable):
        device.client_pin().change_pin(PIN, "9876")
    assert refusal(device.get, made, **auth) == status.PIN_AUTH_INVALID
    device.client_pin().get_pin_token("9876")


def test_a_pin_change_that_is_forced_but_may_not_last_voids_the_token(
    device: Device, fail_to_last: Callable[[int], None]
) -> None:
    device.set_pin()
    config = device.config()
    fail_to_last(0)
    with pytest.raises(StoreUnusable):
        config.set_min_pin_length(force_change_pin=True)
    assert refusal(config.toggle_always_uv) == status.PIN_AUTH_INVALID


def test_a_reset_that_may_not_last_voids_tokens_for_a_verified_user(
    make_device: Callable[[str], Device], fail_to_last: Callable[[int], None]
) -> None:
    device = make_device("uv")
    auth = device.auth(device.client_pin().get_uv_token(Permission.MAKE_CREDENTIAL, RP_ID))
    fail_to_last(0)
    with pytest.raises(StoreUnusable):
        device.ctap2.reset()
    assert refusal(device.make, **auth) == status.PIN_AUTH_INVALID
