from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap1 import ApduError, Ctap1
from fido2.ctap2 import Config
from fido2.webauthn import AuthenticatorData
from support.soft_token import PIN, RP_ID, Device, Permission, credential_id, refusal

from sk_provider.ctap import status

FLAG = AuthenticatorData.FLAG


def unauthenticated(device: Device) -> Config:
    return Config(device.ctap2)


def test_always_uv_is_toggled_and_survives_power_down(device: Device) -> None:
    device.set_pin()
    device.config().toggle_always_uv()
    device.power_up()
    info = device.ctap2.info
    assert info.options["alwaysUv"] is True
    assert info.options["makeCredUvNotRqd"] is False
    assert "U2F_V2" not in info.versions
    device.config().toggle_always_uv()
    assert device.ctap2.info.options["alwaysUv"] is False


def test_with_always_uv_nothing_happens_without_the_pin(device: Device) -> None:
    device.set_pin()
    made = credential_id(device.make())
    device.config().toggle_always_uv()
    assert refusal(device.make) == status.PUAT_REQUIRED
    assert refusal(device.get, made) == status.PUAT_REQUIRED
    assert device.get(made, options={"up": False}).auth_data.flags == 0
    assert device.make(verified=True).auth_data.flags & FLAG.UV
    assert device.get(made, verified=True).auth_data.flags == FLAG.UP | FLAG.UV


def test_where_the_profile_says_so_a_silent_probe_needs_the_pin_too(make_device: Callable[[str], Device]) -> None:
    device = make_device("always-uv")
    device.set_pin()
    made = credential_id(device.make(verified=True))
    for handle in (made, b"unknown"):
        assert refusal(device.get, handle, options={"up": False}) == status.PUAT_REQUIRED
    assert device.get(made, options={"up": False}, verified=True).auth_data.flags == FLAG.UV
    device.config().toggle_always_uv()
    assert device.get(made, options={"up": False}).auth_data.flags == 0


def test_with_always_uv_there_is_no_u2f(make_device: Callable[[str], Device]) -> None:
    ctap1 = Ctap1(make_device("always-uv"))
    calls: list[Callable[[], object]] = [
        ctap1.get_version,
        lambda: ctap1.register(bytes(32), bytes(32)),
        lambda: ctap1.authenticate(bytes(32), bytes(32), b"handle"),
    ]
    for call in calls:
        with pytest.raises(ApduError) as caught:
            call()
        assert caught.value.code == 0x6986


def test_with_always_uv_and_no_pin_there_is_but_the_way_to_set_one(make_device: Callable[[str], Device]) -> None:
    device = make_device("always-uv")
    assert refusal(device.make) == status.PUAT_REQUIRED
    assert refusal(device.get, b"id") == status.PUAT_REQUIRED
    assert refusal(device.make, pin_uv_param=bytes(32), pin_uv_protocol=2) == status.PIN_NOT_SET
    assert refusal(device.get, b"id", pin_uv_param=bytes(32), pin_uv_protocol=2) == status.PIN_NOT_SET
    assert refusal(unauthenticated(device).set_min_pin_length, 6) == status.PUAT_REQUIRED
    unauthenticated(device).toggle_always_uv()
    device.make()
    unauthenticated(device).toggle_always_uv()
    device.set_pin()
    assert refusal(unauthenticated(device).toggle_always_uv) == status.PUAT_REQUIRED


def test_a_reset_restores_what_the_profile_says(make_device: Callable[[str], Device]) -> None:
    device = make_device("always-uv")
    unauthenticated(device).toggle_always_uv()
    unauthenticated(device).set_min_pin_length(10, [RP_ID])
    device.ctap2.reset()
    info = device.ctap2.info
    assert info.options["alwaysUv"] is True
    assert info.min_pin_length == 4


def test_the_minimum_pin_length_holds_for_new_pins_and_never_shrinks(device: Device) -> None:
    unauthenticated(device).set_min_pin_length(6)
    assert device.ctap2.info.min_pin_length == 6
    assert refusal(device.set_pin, "12345") == status.PIN_POLICY_VIOLATION
    device.set_pin("123456")
    config = Config(device.ctap2, device.pin_protocol, device.pin_token(Permission.AUTHENTICATOR_CFG, pin="123456"))
    assert refusal(config.set_min_pin_length, 5) == status.PIN_POLICY_VIOLATION
    assert refusal(config.set_min_pin_length, 64) == status.PIN_POLICY_VIOLATION
    config.set_min_pin_length(6)
    assert device.ctap2.info.force_pin_change is False


def test_a_pin_that_has_become_too_short_must_be_changed(device: Device) -> None:
    device.set_pin()
    device.config().set_min_pin_length(6)
    assert device.ctap2.info.force_pin_change is True
    assert refusal(device.client_pin().get_pin_token, PIN) == status.PIN_INVALID
    assert refusal(device.pin_token, Permission.GET_ASSERTION, RP_ID) == status.PIN_POLICY_VIOLATION
    assert device.client_pin().get_pin_retries() == (8, False)
    assert refusal(device.client_pin().change_pin, PIN, "12345") == status.PIN_POLICY_VIOLATION
    device.client_pin().change_pin(PIN, "123456")
    assert device.ctap2.info.force_pin_change is False
    device.client_pin().get_pin_token("123456")


def test_a_forced_change_wants_another_pin(device: Device) -> None:
    assert refusal(unauthenticated(device).set_min_pin_length, force_change_pin=True) == status.PIN_NOT_SET
    device.set_pin()
    made = credential_id(device.make())
    config = device.config()
    config.set_min_pin_length(force_change_pin=True)
    assert refusal(config.set_min_pin_length) == status.PIN_AUTH_INVALID  # the token went with the PIN's validity
    assert refusal(device.client_pin().change_pin, PIN, PIN) == status.PIN_POLICY_VIOLATION
    device.client_pin().change_pin(PIN, "4321")
    device.get(made)


def test_chosen_rps_learn_the_minimum_pin_length(device: Device) -> None:
    unauthenticated(device).set_min_pin_length(7, rp_ids=[RP_ID])
    assert device.make(extensions={"minPinLength": True}).auth_data.extensions == {"minPinLength": 7}
    assert device.make(extensions={"minPinLength": False}).auth_data.extensions is None
    assert device.make("ssh:other", extensions={"minPinLength": True}).auth_data.extensions is None
    assert refusal(unauthenticated(device).set_min_pin_length, rp_ids=["rp"] * 17) == status.KEY_STORE_FULL


def test_enterprise_attestation_cannot_be_enabled(device: Device) -> None:
    assert "ep" not in device.ctap2.info.options
    assert refusal(unauthenticated(device).enable_enterprise_attestation) == status.INVALID_PARAMETER
    device.set_pin()
    assert refusal(device.config().enable_enterprise_attestation) == status.INVALID_PARAMETER
    assert "ep" not in device.ctap2.info.options


def test_a_token_without_the_permission_configures_nothing(device: Device) -> None:
    device.set_pin()
    token = device.pin_token(Permission.CREDENTIAL_MGMT)
    config = Config(device.ctap2, device.pin_protocol, token)
    assert refusal(config.toggle_always_uv) == status.PIN_AUTH_INVALID


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, status.MISSING_PARAMETER),
        ({1: b"2"}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 1}, status.INVALID_PARAMETER),
        ({1: 4}, status.INVALID_PARAMETER),
        ({1: 0xFF}, status.INVALID_PARAMETER),
        ({1: 3, 2: []}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 3, 2: {1: "6"}}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 3, 2: {2: "rp"}}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 3, 2: {2: [1]}}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 3, 2: {3: 1}}, status.CBOR_UNEXPECTED_TYPE),
        ({1: 3, 2: {1: -1}}, status.PIN_POLICY_VIOLATION),
        ({1: 3}, status.MISSING_PARAMETER),
        ({1: 3, 2: {}}, status.SUCCESS),
    ],
)
def test_a_malformed_request_is_refused(device: Device, request_: dict[int, Any], code: int) -> None:
    assert device.request(0x0D, request_) == (code, None)


@pytest.mark.parametrize("request_", [{1: 2, 4: bytes(32)}, {1: 2, 3: 9, 4: bytes(32)}])
def test_the_protocol_must_be_named_and_known(device: Device, request_: dict[int, Any]) -> None:
    device.set_pin()
    code = status.INVALID_PARAMETER if 3 in request_ else status.MISSING_PARAMETER
    assert device.request(0x0D, request_) == (code, None)
