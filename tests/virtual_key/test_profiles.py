"""Every profile as python-fido2, a client that knows nothing of profiles, sees it over UDP."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager

import pytest
from fido2.ctap import CtapError
from fido2.ctap1 import Ctap1
from fido2.ctap2 import ClientPin, Config, CredentialManagement, Ctap2
from support.serve import connect_udp, open_device, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from fido2.ctap2.base import AttestationResponse
    from fido2.hid import CtapHidDevice

HASH = bytes(32)
PIN = "123456"
ES256, EDDSA = -7, -8


@contextmanager
def token(profile: str) -> Iterator[CtapHidDevice]:
    with (
        serve("--profile", profile, "udp:127.0.0.1:0") as served,
        closing(open_device(connect_udp(served.address))) as device,
    ):
        yield device


def make(
    ctap2: Ctap2, algorithm: int = ES256, user: bytes = b"user", rp_id: str = "ssh:", **more: Any
) -> AttestationResponse:
    parameters: list[Mapping[str, Any]] = [{"type": "public-key", "alg": algorithm}]
    account = {"id": user, "name": "openssh"}
    return ctap2.make_credential(HASH, {"id": rp_id, "name": "ssh"}, account, parameters, **more)


def credential_of(made: AttestationResponse) -> Mapping[str, Any]:
    assert made.auth_data.credential_data is not None
    return {"type": "public-key", "id": made.auth_data.credential_data.credential_id}


def with_pin(
    ctap2: Ctap2, client_pin: ClientPin, permissions: ClientPin.PERMISSION, rp_id: str = "ssh:"
) -> dict[str, Any]:
    """Return the parameters that authorise a command on HASH by the PIN."""
    pin_token = client_pin.get_pin_token(PIN, permissions, rp_id)
    protocol = client_pin.protocol
    return {"pin_uv_param": protocol.authenticate(pin_token, HASH), "pin_uv_protocol": protocol.VERSION}


@pytest.mark.parametrize(
    "profile",
    ["fido2.0", "fido2.1-pre", "fido2.1", "pin-for-create", "es256-only", "no-algorithms-field", "small", "slow"],
)
def test_credential_signs_with_each_profile_that_is_sound(profile: str) -> None:
    with token(profile) as device:
        ctap2 = Ctap2(device)
        made = make(ctap2)
        assertion = ctap2.get_assertion("ssh:", HASH, [credential_of(made)])
        assert made.auth_data.credential_data is not None
        assertion.verify(HASH, made.auth_data.credential_data.public_key)


def test_u2f_has_no_ctap2() -> None:
    with token("u2f") as device:
        Ctap1(device).register(HASH, HASH).verify(HASH, HASH)
        with pytest.raises(ValueError, match="CTAP2"):
            Ctap2(device)


def test_fido2_0_has_one_pin_protocol_and_no_permissions() -> None:
    with token("fido2.0") as device:
        ctap2 = Ctap2(device)
        assert ctap2.info.versions == ["U2F_V2", "FIDO_2_0"]
        assert not CredentialManagement.is_supported(ctap2.info)
        client_pin = ClientPin(ctap2)
        assert client_pin.protocol.VERSION == 1
        assert not ctap2.info.options.get("pinUvAuthToken")
        client_pin.set_pin(PIN)
        made = make(ctap2, options={"rk": True}, **with_pin(ctap2, client_pin, ClientPin.PERMISSION.MAKE_CREDENTIAL))
        assert made.auth_data.is_user_verified()


def test_fido2_1_pre_manages_credentials_by_the_preview_command() -> None:
    with token("fido2.1-pre") as device:
        ctap2 = Ctap2(device)
        assert "FIDO_2_1_PRE" in ctap2.info.versions
        client_pin = ClientPin(ctap2)
        client_pin.set_pin(PIN)
        make(ctap2, options={"rk": True}, **with_pin(ctap2, client_pin, ClientPin.PERMISSION.MAKE_CREDENTIAL))
        management = CredentialManagement(Ctap2(device), client_pin.protocol, client_pin.get_pin_token(PIN))
        assert len(management.enumerate_rps()) == 1


def test_fido2_1_lists_the_credentials_of_each_rp_renames_their_users_and_deletes_them() -> None:
    with token("fido2.1") as device:
        ctap2 = Ctap2(device)
        client_pin = ClientPin(ctap2)
        client_pin.set_pin(PIN)
        made = {}
        for rp_id, user in (("ssh:", b"1"), ("ssh:", b"2"), ("ssh:b", b"1")):
            permission = with_pin(ctap2, client_pin, ClientPin.PERMISSION.MAKE_CREDENTIAL, rp_id)
            made[rp_id, user] = credential_of(make(ctap2, user=user, rp_id=rp_id, options={"rk": True}, **permission))

        pin_token = client_pin.get_pin_token(PIN, ClientPin.PERMISSION.CREDENTIAL_MGMT)
        management: Any = CredentialManagement(Ctap2(device), client_pin.protocol, pin_token)
        key = CredentialManagement.RESULT
        assert management.get_metadata()[key.EXISTING_CRED_COUNT] == 3
        rps = {rp[key.RP]["id"]: rp[key.RP_ID_HASH] for rp in management.enumerate_rps()}
        assert set(rps) == {"ssh:", "ssh:b"}
        listed = {(rp_id, c[key.USER]["id"]): c for rp_id in rps for c in management.enumerate_creds(rps[rp_id])}
        assert {name: credential[key.CREDENTIAL_ID] for name, credential in listed.items()} == made
        assert listed["ssh:b", b"1"][key.USER] == {"id": b"1", "name": "openssh"}

        management.update_user_info(made["ssh:", b"2"], {"id": b"2", "displayName": "Somebody Else"})
        management.delete_cred(made["ssh:", b"1"])
        (left,) = management.enumerate_creds(rps["ssh:"])
        assert left[key.USER] == {"id": b"2", "displayName": "Somebody Else"}
        assert left[key.CREDENTIAL_ID] == made["ssh:", b"2"]
        management.delete_cred(made["ssh:", b"2"])
        assert management.enumerate_creds(rps["ssh:"]) == []
        assert [rp[key.RP]["id"] for rp in management.enumerate_rps()] == ["ssh:b"]


def test_uv_verifies_its_user_without_a_pin() -> None:
    with token("uv") as device:
        ctap2 = Ctap2(device)
        assert ctap2.info.options["uv"] is True
        uv_token = ClientPin(ctap2).get_uv_token(ClientPin.PERMISSION.MAKE_CREDENTIAL, "ssh:")
        protocol = ClientPin(ctap2).protocol
        made = make(ctap2, pin_uv_param=protocol.authenticate(uv_token, HASH), pin_uv_protocol=protocol.VERSION)
        assert made.auth_data.is_user_verified()


def test_always_uv_wants_a_pin_even_for_a_silent_probe() -> None:
    with token("always-uv") as device:
        ctap2 = Ctap2(device)
        client_pin = ClientPin(ctap2)
        client_pin.set_pin(PIN)
        made = make(ctap2, **with_pin(ctap2, client_pin, ClientPin.PERMISSION.MAKE_CREDENTIAL))
        for options in ({"up": False}, None):
            with pytest.raises(CtapError) as caught:
                ctap2.get_assertion("ssh:", HASH, [credential_of(made)], options=options)
            assert caught.value.code == CtapError.ERR.PUAT_REQUIRED
        permission = with_pin(ctap2, client_pin, ClientPin.PERMISSION.GET_ASSERTION)
        ctap2.get_assertion("ssh:", HASH, [credential_of(made)], **permission)


def test_init_tells_u2f_only_while_no_user_verification_is_required() -> None:
    with serve("udp:127.0.0.1:0") as served:
        for capabilities in (0x05, 0x0D, 0x05):
            with closing(open_device(connect_udp(served.address))) as device:
                assert device.capabilities == capabilities
                answer = device.call(0x03, bytes.fromhex("00030000"))
                assert answer == (b"\x69\x86" if capabilities & 0x08 else b"U2F_V2\x90\x00")
                Config(Ctap2(device)).toggle_always_uv()


def test_pin_for_create_wants_the_pin_for_every_credential() -> None:
    with token("pin-for-create") as device:
        ctap2 = Ctap2(device)
        assert not ctap2.info.options.get("makeCredUvNotRqd")
        client_pin = ClientPin(ctap2)
        client_pin.set_pin(PIN)
        with pytest.raises(CtapError) as caught:
            make(ctap2)
        assert caught.value.code == CtapError.ERR.PUAT_REQUIRED
        make(ctap2, **with_pin(ctap2, client_pin, ClientPin.PERMISSION.MAKE_CREDENTIAL))


def test_es256_only_refuses_eddsa() -> None:
    with token("es256-only") as device, pytest.raises(CtapError) as caught:
        make(Ctap2(device), EDDSA)
    assert caught.value.code == CtapError.ERR.UNSUPPORTED_ALGORITHM


def test_token_without_algorithms_in_its_info_has_eddsa_all_the_same() -> None:
    with token("no-algorithms-field") as device:
        ctap2 = Ctap2(device)
        assert not ctap2.info.algorithms
        make(ctap2, EDDSA)


def test_credential_is_left_out_of_an_assertion_for_one() -> None:
    with token("credential-omitted") as device:
        ctap2 = Ctap2(device)
        made = make(ctap2)
        response = ctap2.send_cbor(Ctap2.CMD.GET_ASSERTION, {1: "ssh:", 2: HASH, 3: [credential_of(made)]})
        assert set(response) == {2, 3}


def test_small_is_full_after_few_resident_keys_and_takes_no_long_message() -> None:
    with token("small") as device:
        ctap2 = Ctap2(device)
        client_pin = ClientPin(ctap2)
        client_pin.set_pin(PIN)
        for number in range(3):
            permission = with_pin(ctap2, client_pin, ClientPin.PERMISSION.MAKE_CREDENTIAL)
            make(ctap2, user=b"%d" % number, options={"rk": True}, **permission)
        permission = with_pin(ctap2, client_pin, ClientPin.PERMISSION.MAKE_CREDENTIAL)
        with pytest.raises(CtapError) as caught:
            make(ctap2, user=b"one more", options={"rk": True}, **permission)
        assert caught.value.code == CtapError.ERR.KEY_STORE_FULL
        assert device.call(0x10, bytes(1025))[0] == CtapError.ERR.REQUEST_TOO_LARGE


def test_slow_takes_its_time_for_each_command() -> None:
    with token("slow") as device:
        begun = time.monotonic()
        for _ in range(4):
            assert device.call(0x10, b"\x04")[0] == 0
        assert time.monotonic() - begun >= 4 * 0.05
