from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap1 import Ctap1
from fido2.ctap2 import ClientPin
from fido2.ctap2.pin import PinProtocolV2
from fido2.webauthn import AuthenticatorData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.soft_token import (
    CLIENT_DATA_HASH,
    FUZZ_EXAMPLES,
    RP_ID,
    Device,
    Permission,
    Person,
    credential_id,
    descriptor,
    refusal,
)

from sk_provider.authenticator.engine import Authenticator
from sk_provider.authenticator.presence import CANCELLED, DENIED, GRANTED, TIMED_OUT
from sk_provider.authenticator.profiles import PROFILES, profile
from sk_provider.authenticator.store import Store
from sk_provider.ctap import status
from sk_provider.ctap.cbor import encode

pytestmark = pytest.mark.slow

FLAG = AuthenticatorData.FLAG
STATUSES = {code for name, code in vars(status).items() if name.isupper()}
COMMANDS = (1, 2, 4, 6, 7, 8, 9, 0x0A, 0x0B, 0x0C, 0x0D, 0x40, 0x41)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("", status.INVALID_LENGTH),
        ("00", status.INVALID_COMMAND),
        ("03", status.INVALID_COMMAND),
        ("05", status.INVALID_COMMAND),
        ("09", status.INVALID_COMMAND),
        ("40", status.INVALID_COMMAND),
        ("ff", status.INVALID_COMMAND),
        ("01", status.MISSING_PARAMETER),
        ("02", status.MISSING_PARAMETER),
        ("06", status.MISSING_PARAMETER),
        ("02ff", status.INVALID_CBOR),
        ("02a1", status.INVALID_CBOR),
        ("02a000", status.INVALID_CBOR),
        ("0280", status.CBOR_UNEXPECTED_TYPE),
        ("02f6", status.CBOR_UNEXPECTED_TYPE),
        ("0200", status.CBOR_UNEXPECTED_TYPE),
        ("02a202000100", status.INVALID_CBOR),
        ("02a1180100", status.INVALID_CBOR),
        ("02bf0100ff", status.INVALID_CBOR),
        ("02a101818181818100", status.INVALID_CBOR),
        ("02a10161ff", status.INVALID_CBOR),
        ("04a0", status.SUCCESS),
        ("04ff", status.INVALID_CBOR),
        ("0b", status.SUCCESS),
        ("08", status.NOT_ALLOWED),
    ],
)
def test_each_message_has_its_status(device: Device, data: str, code: int) -> None:
    assert device.call(0x10, bytes.fromhex(data))[0] == code


def test_other_channel_commands_are_none_of_the_engine(device: Device) -> None:
    assert device.call(0x01, b"ping") == bytes([status.INVALID_COMMAND])


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (GRANTED, status.SUCCESS),
        (DENIED, status.OPERATION_DENIED),
        (TIMED_OUT, status.USER_ACTION_TIMEOUT),
        (CANCELLED, status.KEEPALIVE_CANCEL),
    ],
)
def test_selection_is_a_touch(device: Device, person: Person, answer: int, code: int) -> None:
    person.answer = answer
    assert device.request(0x0B) == (code, None)
    assert person.actions == ["select"]


def test_a_reset_needs_a_fresh_power_up_and_a_touch(device: Device, person: Person) -> None:
    device.set_pin()
    device.make_resident()
    person.requests.clear()
    device.reset_allowed = False
    assert device.request(7) == (status.NOT_ALLOWED, None)
    assert not person.requests
    device.reset_allowed = True
    for person.answer, code in ((DENIED, status.OPERATION_DENIED), (TIMED_OUT, status.USER_ACTION_TIMEOUT)):
        assert device.request(7) == (code, None)
        assert device.store.read().credentials
    person.answer = GRANTED
    assert device.request(7) == (status.SUCCESS, None)
    assert person.actions == ["reset"] * 3
    state = device.store.read()
    assert (state.credentials, state.pin) == ({}, b"")


def test_in_the_host_process_nothing_is_ever_reset(store: Store, person: Person) -> None:
    token = Authenticator(store, person)
    assert token.call(0x10, b"\7") == bytes([status.NOT_ALLOWED])


def test_get_info_is_truthful_about_every_profile(store: Store) -> None:
    info = {}
    for name in PROFILES:
        device = Device(store, Person(), name)
        if device.profile.ctap2:
            info[name] = device.ctap2.info
    assert info["fido2.1"].versions == ["U2F_V2", "FIDO_2_0", "FIDO_2_1"]
    assert info["fido2.1"].max_msg_size == 7609
    assert info["fido2.1"].pin_uv_protocols == [2, 1]
    assert info["fido2.1"].remaining_disc_creds == 100
    assert info["fido2.1"].max_large_blob == 4096
    assert info["fido2.1"].max_cred_blob_length == 32
    assert info["fido2.1"].transports == ["nfc", "usb"]
    assert [a["alg"] for a in info["fido2.1"].algorithms] == [-7, -8]
    assert info["fido2.0"].algorithms == []
    assert info["fido2.0"].versions == ["U2F_V2", "FIDO_2_0"]
    assert "pinUvAuthToken" not in info["fido2.0"].options
    assert "credMgmt" not in info["fido2.0"].options
    assert info["fido2.0"].pin_uv_protocols == [1]
    assert info["fido2.1-pre"].options["credentialMgmtPreview"] is True
    assert "credMgmt" not in info["fido2.1-pre"].options
    assert info["uv"].options["uv"] is True
    assert info["uv"].uv_modality == 2
    assert info["always-uv"].options["alwaysUv"] is True
    assert info["pin-for-create"].options["makeCredUvNotRqd"] is False
    assert [a["alg"] for a in info["es256-only"].algorithms] == [-7]
    assert info["no-algorithms-field"].algorithms == []
    assert info["small"].max_creds_in_list == 4
    assert info["small"].remaining_disc_creds == 3


@pytest.mark.parametrize("name", [name for name in PROFILES if name not in ("u2f", "credential-omitted")])
def test_every_profile_serves_an_independent_client(make_device: Callable[[str], Device], name: str) -> None:
    device = make_device(name)
    if not device.profile.always_uv:
        assert device.get(credential_id(device.make())).auth_data.flags == FLAG.UP
    device.set_pin()
    made = device.make_resident()
    assert device.get(credential_id(made), verified=True).auth_data.flags == FLAG.UP | FLAG.UV
    assert device.get(verified=True).user == {"id": b"user", "name": "name of 75736572", "displayName": "A User"}


def test_every_answer_fits_into_a_message(make_device: Callable[[str], Device]) -> None:
    device = make_device("small")
    device.set_pin()
    long = "\u20ac" * 90
    token = device.pin_token(Permission.MAKE_CREDENTIAL, "ssh:" + "r" * 150)
    auth = device.auth(token)
    request = {
        1: CLIENT_DATA_HASH,
        2: {"id": "ssh:" + "r" * 150, "name": "rp" * 40},
        3: {"id": b"u" * 64, "name": long[:30], "displayName": long[:80]},
        4: [{"type": "public-key", "alg": -7}],
        6: {"credProtect": 3, "credBlob": bytes(32), "hmac-secret": True, "largeBlobKey": True},
        7: {"rk": True},
        8: auth["pin_uv_param"],
        9: 2,
    }
    answer = device.call(0x10, b"\1" + encode(request))
    assert answer[0] == status.SUCCESS
    assert len(answer) <= 1024
    manager = device.credential_management()
    rp = manager.enumerate_rps()[0]
    listed = manager.enumerate_creds(rp[4])[0]
    assert rp[3] == {"id": "ssh:" + "r" * 150, "name": "rp" * 32}
    assert listed[6] == {"id": b"u" * 64, "name": long[:21], "displayName": long[:21]}
    assert len(encode(dict(listed))) <= 1024


def test_an_es256_only_token_makes_no_eddsa_key(make_device: Callable[[str], Device]) -> None:
    assert refusal(make_device("es256-only").make, algorithm=-8) == status.UNSUPPORTED_ALGORITHM


def test_commands_that_the_profile_lacks_are_unknown(make_device: Callable[[str], Device]) -> None:
    device = make_device("fido2.0")
    for command in (0x0A, 0x0B, 0x0C, 0x0D, 0x41):
        assert device.request(command, {}) == (status.INVALID_COMMAND, None)


@pytest.mark.parametrize("name", ["", "fido3", "slow:3", "stuck"])
def test_an_unknown_profile_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="there is no profile"):
        profile(name)


# Built-in user verification.


def test_a_verified_user_needs_no_further_touch(make_device: Callable[[str], Device], person: Person) -> None:
    device = make_device("uv")
    made = device.make(options={"uv": True, "rk": True})
    assert made.auth_data.flags == FLAG.UP | FLAG.UV | FLAG.AT
    assertion = device.get(credential_id(made), options={"uv": True})
    assert assertion.auth_data.flags == FLAG.UP | FLAG.UV
    assert person.actions == ["verify", "verify"]
    token = device.client_pin().get_uv_token(Permission.GET_ASSERTION, RP_ID)
    assert device.get(credential_id(made), **device.auth(token)).auth_data.flags == FLAG.UP | FLAG.UV
    assert person.actions == ["verify"] * 3


def test_built_in_verification_spends_the_pin_token_in_use(make_device: Callable[[str], Device]) -> None:
    device = make_device("uv")
    device.set_pin()
    made = credential_id(device.make())
    for verify in (device.make, lambda options: device.get(made, options=options)):
        auth = device.auth(device.pin_token(Permission.GET_ASSERTION, RP_ID))
        device.get(made, options={"up": False}, **auth)
        verify(options={"uv": True})
        assert refusal(device.get, made, options={"up": False}, **auth) == status.PIN_AUTH_INVALID


def test_a_resident_credential_needs_the_user_verified(make_device: Callable[[str], Device]) -> None:
    device = make_device("uv")
    assert refusal(device.make, options={"rk": True}) == status.OPERATION_DENIED
    device.set_pin()
    assert refusal(device.make, options={"rk": True}) == status.PUAT_REQUIRED


def test_an_unrecognised_user_is_asked_three_times_and_then_blocked(
    make_device: Callable[[str], Device], person: Person
) -> None:
    device = make_device("uv")
    made = credential_id(device.make())
    person.requests.clear()
    person.answer = DENIED
    assert refusal(device.get, made, options={"uv": True}) == status.PIN_BLOCKED
    assert person.actions == ["verify"] * 3
    assert ClientPin(device.ctap2).get_uv_retries() == 0
    device.power_up()
    person.answer = GRANTED
    assert refusal(device.get, made, options={"uv": True}) == status.PIN_BLOCKED
    assert refusal(device.make, options={"uv": True}) == status.PIN_BLOCKED
    assert refusal(device.client_pin().get_uv_token, Permission.GET_ASSERTION, RP_ID) == status.UV_BLOCKED
    device.set_pin()
    assert refusal(device.get, made, options={"uv": True}) == status.PUAT_REQUIRED
    device.client_pin().get_pin_token("1234")
    assert ClientPin(device.ctap2).get_uv_retries() == 3
    device.get(made, options={"uv": True})


def test_a_token_for_an_unrecognised_user_is_refused_once_per_request(
    make_device: Callable[[str], Device], person: Person
) -> None:
    device = make_device("uv")
    person.answer = DENIED
    request = device.client_pin().get_uv_token
    codes = [refusal(request, Permission.GET_ASSERTION, RP_ID) for _ in range(3)]
    assert codes == [status.UV_INVALID, status.UV_INVALID, status.UV_BLOCKED]
    assert len(person.requests) == 3


@pytest.mark.parametrize(("answer", "code"), [(TIMED_OUT, 0x2F), (CANCELLED, 0x2D)])
def test_nobody_there_costs_no_retry(
    make_device: Callable[[str], Device], person: Person, answer: int, code: int
) -> None:
    device = make_device("uv")
    person.answer = answer
    assert refusal(device.make, options={"uv": True}) == code
    assert ClientPin(device.ctap2).get_uv_retries() == 3


def test_with_always_uv_the_user_is_verified_unasked(make_device: Callable[[str], Device], person: Person) -> None:
    device = make_device("uv")
    made = credential_id(device.make())
    with device.store.transaction() as state:
        state.always_uv = True
    person.requests.clear()
    assert device.get(made).auth_data.flags == FLAG.UP | FLAG.UV
    assert device.make(user_id=b"2", options={"rk": True}).auth_data.flags == FLAG.UP | FLAG.UV | FLAG.AT
    assert person.actions == ["verify", "verify"]


# Whatever is sent.

SCALARS = st.integers(-300, 300) | st.binary(max_size=70) | st.text(max_size=12) | st.booleans()
KEYS = st.integers(-4, 12) | st.sampled_from(["id", "type", "alg", "rk", "up", "uv", "name", "hmac-secret", "credBlob"])
INNER = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=4), max_leaves=8)
PLAUSIBLE = st.sampled_from(
    [
        RP_ID,
        CLIENT_DATA_HASH,
        {"id": RP_ID},
        {"id": b"user", "name": "name"},
        [{"type": "public-key", "alg": -7}],
        [{"type": "public-key", "alg": -8}],
        {"rk": True},
        {"up": False},
        {"credProtect": 2, "credBlob": b"blob"},
        {"hmac-secret": {1: {1: 2, 3: -25, -1: 1, -2: bytes(32), -3: bytes(32)}, 2: bytes(32), 3: bytes(16)}},
        2,
        b"",
    ]
)
PARAMETERS = st.dictionaries(st.integers(1, 11), PLAUSIBLE | INNER, max_size=9)
FUZZ = settings(
    max_examples=FUZZ_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def make_anew(device: Device) -> bytes:
    """Make a credential, after undoing what an earlier example has set on purpose and would stand in the way."""
    with device.store.transaction() as state:
        state.force_pin_change = False
        state.always_uv = None
        state.min_pin_length = 4
        state.pin_retries = 8
        state.pin_wrong_in_a_row = 0
    return credential_id(device.make())


def check_whole(device: Device, made: bytes) -> None:
    """The store is whole, and what was in it still is, unless a reset was allowed."""
    state = device.store.read()
    assert 0 <= state.pin_retries <= 8
    assert device.get(made, options={"up": False}).credential["id"] == made


@FUZZ
@given(requests=st.lists(st.tuples(st.sampled_from(COMMANDS), PARAMETERS), min_size=1, max_size=4))
def test_any_cbor_to_any_command_gives_a_status_and_leaves_the_store_sound(
    device: Device, requests: list[tuple[int, Any]]
) -> None:
    device.reset_allowed = False
    made = make_anew(device)
    for command, parameters in requests:
        code, answer = device.request(command, parameters)
        assert code in STATUSES
        assert code == status.SUCCESS or answer is None
    check_whole(device, made)


@FUZZ
@given(messages=st.lists(st.tuples(st.sampled_from(COMMANDS), st.binary(max_size=60)), max_size=4))
def test_any_bytes_to_any_command_give_a_status(device: Device, messages: list[tuple[int, bytes]]) -> None:
    device.reset_allowed = False
    made = make_anew(device)
    for command, data in messages:
        assert device.call(0x10, bytes([command]) + data)[0] in STATUSES
    check_whole(device, made)


@FUZZ
@given(header=st.binary(max_size=7), data=st.binary(max_size=140))
def test_any_apdu_gives_a_status_word(device: Device, header: bytes, data: bytes) -> None:
    assert len(device.call(3, header + data)) >= 2
    assert Ctap1(device).get_version() == "U2F_V2"


@FUZZ
@given(
    command=st.sampled_from((1, 2)),
    key=st.integers(1, 10),
    value=st.one_of(INNER, st.none()),
)
def test_a_good_request_with_one_strange_member_gives_a_status(
    device: Device, command: int, key: int, value: Any
) -> None:
    made = make_anew(device)
    request: dict[int, Any] = {1: RP_ID, 2: CLIENT_DATA_HASH, 3: [descriptor(made)]}
    if command == 1:
        request = {1: CLIENT_DATA_HASH, 2: {"id": RP_ID}, 3: {"id": b"u"}, 4: [{"type": "public-key", "alg": -7}]}
    request[key] = value
    assert device.call(0x10, bytes([command]) + encode(request))[0] in STATUSES
    check_whole(device, made)


@FUZZ
@given(subcommand=st.integers(0, 10), parameters=PARAMETERS, arguments=INNER)
def test_an_authenticated_request_with_any_arguments_gives_a_status(
    device: Device, subcommand: int, parameters: Any, arguments: Any
) -> None:
    if not device.store.read().pin:
        device.set_pin()
    protocol: Any = PinProtocolV2()
    made = make_anew(device)
    token = device.pin_token(Permission(0x04 | 0x10 | 0x20))
    for command, prefix in ((0x0A, b""), (0x0D, b"\xff" * 32 + b"\x0d")):
        message = prefix + bytes([subcommand]) + encode(arguments)
        request = {1: subcommand, 2: arguments, 3: 2, 4: protocol.authenticate(token, message)}
        assert device.request(command, request)[0] in STATUSES
    assert device.request(6, {1: 2, 2: subcommand, **parameters})[0] in STATUSES
    check_whole(device, made)


def test_an_assertion_imports_little(device: Device) -> None:
    made = credential_id(device.make(algorithm=-8))
    request = b"\2" + encode({1: RP_ID, 2: bytes(32), 3: [descriptor(made)]})
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
before = set(sys.modules)
from sk_provider.authenticator.engine import Authenticator
from sk_provider.authenticator.store import Store
heavy = {{"typing", "enum", "dataclasses", "logging", "re", "threading", "json", "pathlib", "collections",
          "functools", "contextlib", "abc", "fido2", "cryptography"}}
assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)
token = Authenticator(Store.open({device.store.path!r}), lambda request, event: 0)
assert token.call(0x10, {request!r})[0] == 0
assert not {{"fido2", "json", "logging", "cryptography.x509"}} & set(sys.modules)
assert "cryptography.hazmat.primitives.serialization" not in sys.modules
room = "sk_provider.authenticator."
assert {{name[len(room):] for name in sys.modules if name.startswith(room)}} == {{
    "authenticator_data", "commands", "commands.get_assertion", "commands.parameters", "engine", "key_handle", "keys",
    "power_up", "presence", "profiles", "state", "store", "store_keeper",
}}
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
