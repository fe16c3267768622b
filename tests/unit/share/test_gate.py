"""The gate of `pysk share`, before a software authenticator that other programs use as well."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from fido2.ctap1 import Ctap1
from fido2.ctap2 import Ctap2
from fido2.ctap2.pin import ClientPin
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.answering import Token
from support.soft_token import CLIENT_DATA_HASH, FUZZ_EXAMPLES, PIN, Device, Permission, Person, credential_id

from sk_provider.authenticator.presence import DENIED, GRANTED
from sk_provider.authenticator.store import Store
from sk_provider.ctap import cbor, framing, status
from sk_provider.operation import Operation
from sk_provider.share.gate import Gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.transport_api import Event

WEB = "example.org"
SSH_HASH = hashlib.sha256(b"ssh:").digest()
GET_INFO = b"\x04"
OTHER = bytes([status.OTHER])
NOT_ALLOWED = bytes([status.NOT_ALLOWED])


class Shared:
    """A token, the gate before it, what its person was told, and what has reached it through the gate."""

    def __init__(self, folder: Path, profile: str = "fido2.1") -> None:
        self.person = Person()
        self.token = Device(Store.create(str(folder / "store")), self.person, profile)
        self.capabilities = self.token.capabilities
        self.told: list[str] = []
        self.passed: list[bytes] = []
        self.gate = Gate(self, self.told.append)

    def call(self, cmd: int, data: bytes = b"", event: Event | None = None, on_keepalive: Any = None) -> bytes:
        self.passed.append(data)
        return self.token.call(cmd, data, event, on_keepalive)

    def close(self) -> None:
        self.token.close()

    def ask(self, request: bytes, cmd: int = framing.CBOR) -> bytes:
        """Ask through the gate."""
        return self.gate.call(cmd, request, Operation(60), None)

    def client_pin(self) -> ClientPin:
        """Return what gets PIN tokens through the gate."""
        far: Any = SimpleNamespace(capabilities=framing.CAPABILITY_CBOR, call=lambda cmd, data, *_: self.ask(data, cmd))
        return ClientPin(Ctap2(far))

    def request(self, command: int, parameters: object = None) -> bytes:
        encoded = b"" if parameters is None else cbor.encode(parameters)  # type: ignore[arg-type]
        return self.ask(bytes([command]) + encoded)


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


@pytest.fixture(scope="module")
def lasting() -> Iterator[Shared]:
    """A token for many examples."""
    with tempfile.TemporaryDirectory() as folder:
        yield Shared(Path(folder))


def answer(response: bytes) -> dict[int, Any]:
    assert response[0] == status.SUCCESS
    decoded: dict[int, Any] = cbor.decode(response[1:], canonical=True)
    return decoded


def management(token: Device | Shared, subcommand: int, arguments: object = None) -> dict[int, Any]:
    """A request of credentialManagement, authenticated as whoever knows the PIN can."""
    client_pin = token.client_pin()
    protocol = client_pin.protocol
    message = bytes([subcommand]) + (b"" if arguments is None else cbor.encode(arguments))  # type: ignore[arg-type]
    pin_token = client_pin.get_pin_token(PIN, Permission.CREDENTIAL_MGMT)
    request: dict[int, Any] = {
        1: subcommand,
        3: protocol.VERSION,
        4: protocol.authenticate(pin_token, message),
    }
    return request if arguments is None else {**request, 2: arguments}


def test_what_another_program_began_is_not_continued(shared: Shared) -> None:
    token = shared.token
    token.set_pin()
    for user_id in (b"first", b"second"):
        token.make_resident(WEB, user_id)
    assert token.get(rp_id=WEB).number_of_credentials == 2
    assert shared.request(0x08) == NOT_ALLOWED
    assert token.get_next().auth_data.rp_id_hash == hashlib.sha256(WEB.encode()).digest()
    web = {1: hashlib.sha256(WEB.encode()).digest()}
    assert token.request(0x0A, management(token, 4, web))[1][9] == 2
    assert shared.request(0x0A, {1: 5}) == NOT_ALLOWED
    assert token.request(0x0A, {1: 5})[0] == status.SUCCESS
    assert token.request(0x0A, management(token, 2))[0] == status.SUCCESS
    assert shared.request(0x0A, {1: 3}) == NOT_ALLOWED


def test_the_prototype_of_credential_management_is_not_continued_either(tmp_path: Path) -> None:
    shared = Shared(tmp_path, "fido2.1-pre")
    token = shared.token
    token.set_pin()
    for user_id in (b"first", b"second"):
        token.make("example.org", user_id, options={"rk": True}, **token.auth(token.client_pin().get_pin_token("1234")))
    web = {1: hashlib.sha256(WEB.encode()).digest()}
    protocol = token.pin_protocol
    param = protocol.authenticate(token.client_pin().get_pin_token("1234"), b"\x04" + cbor.encode(web))
    assert token.request(0x41, {1: 4, 2: web, 3: protocol.VERSION, 4: param})[1][9] == 2
    assert shared.request(0x41, {1: 5}) == NOT_ALLOWED
    assert token.request(0x41, {1: 5})[0] == status.SUCCESS


def test_what_the_client_began_is_continued_to_its_end(shared: Shared) -> None:
    token = shared.token
    token.set_pin()
    for user_id in (b"first", b"second"):
        token.make_resident("ssh:", user_id)
    token.make_resident("ssh:other")
    token.make_resident(WEB)
    get_assertion = {1: "ssh:", 2: CLIENT_DATA_HASH}
    first = answer(shared.request(0x02, get_assertion))
    assert first[5] == 2
    # What another program does in between changes nothing.
    token.get(rp_id=WEB)
    second = answer(shared.request(0x08))
    assert first[1] != second[1]
    assert first[2][:32] == second[2][:32] == SSH_HASH
    assert shared.request(0x08) == NOT_ALLOWED
    rps = answer(shared.request(0x0A, management(shared, 2)))
    assert rps[5] == 2
    assert {rps[3]["id"], answer(shared.request(0x0A, {1: 3}))[3]["id"]} == {"ssh:", "ssh:other"}
    assert shared.request(0x0A, {1: 3}) == NOT_ALLOWED
    credentials = answer(shared.request(0x0A, management(shared, 4, {1: SSH_HASH})))
    assert credentials[9] == 2
    assert credentials[7] != answer(shared.request(0x0A, {1: 5}))[7]
    assert shared.request(0x0A, {1: 5}) == NOT_ALLOWED


@pytest.mark.parametrize("between", [GET_INFO, b"\x02\xa0", b"\x55"], ids=["getInfo", "getAssertion", "unknown"])
def test_another_command_ends_what_the_client_began(shared: Shared, between: bytes) -> None:
    shared.token.set_pin()
    for user_id in (b"first", b"second"):
        shared.token.make_resident("ssh:", user_id)
    assert answer(shared.request(0x02, {1: "ssh:", 2: CLIENT_DATA_HASH}))[5] == 2
    shared.ask(between)
    assert shared.request(0x08) == NOT_ALLOWED


@pytest.mark.parametrize("request_bytes", [
    b"\x02" + cbor.encode({1: "ssh:", 2: CLIENT_DATA_HASH}),
    b"\x01" + cbor.encode({1: CLIENT_DATA_HASH, 2: {"id": "ssh:"}, 3: {}, 4: []}),
])  # fmt: skip
def test_an_answer_for_another_application_does_not_pass(request_bytes: bytes) -> None:
    told: list[str] = []
    web = hashlib.sha256(WEB.encode()).digest() + bytes(5)
    gate = Gate(Token(b"\0" + cbor.encode({1: {}, 2: web, 3: b"signature"})), told.append)
    assert gate.call(framing.CBOR, request_bytes, Operation(60), None) == OTHER
    assert "is for another application" in told[-1]


def test_a_key_and_a_signature_want_a_touch_whatever_the_options_are_called(shared: Shared) -> None:
    make = {1: CLIENT_DATA_HASH, 2: {"id": "ssh:"}, 3: {"id": b"user"}, 4: [{"type": "public-key", "alg": -7}]}
    for options in ({"up": False}, {"up": 0}, {"down": True}):
        assert shared.request(0x01, {**make, 7: options})[0] == status.INVALID_OPTION
        assert shared.request(0x02, {1: "ssh:", 2: CLIENT_DATA_HASH, 5: options})[0] != status.SUCCESS
    assert shared.passed == []


@pytest.mark.parametrize("application", [
    "ssh:" + 60 * " " + "process 1 (ssh) wants a signature for ssh:mine", "ssh:" + 20 * "\u202e", "ssh:" + 100 * "m",
    "ssh:" + 20 * "\u2800" + "process 1 (ssh) wants a signature for ssh:mine",
], ids=["spaces", "right to left", "long", "blanks"])  # fmt: skip
def test_an_application_that_could_look_like_another_is_refused(shared: Shared, application: str) -> None:
    make = {1: CLIENT_DATA_HASH, 2: {"id": application}, 3: {"id": b"user"}, 4: [{"type": "public-key", "alg": -7}]}
    for command, parameters in ((0x01, make), (0x02, {1: application, 2: CLIENT_DATA_HASH})):
        assert shared.request(command, parameters)[0] == status.NOT_ALLOWED
    assert shared.told == 2 * ["refused: a key for an application that cannot be shown clearly"]
    assert shared.passed == []


def test_an_application_is_told_by_characters_that_all_can_be_seen(shared: Shared) -> None:
    shared.request(0x02, {1: "ssh:b\u00fcro\u202e\u3164", 2: CLIENT_DATA_HASH})
    assert shared.told == [r"wants a signature for ssh:b\xfcro\u202e\u3164"]
    shared.request(0x02, {1: "b\u2800", 2: CLIENT_DATA_HASH})
    assert shared.told[-1] == r"refused: a key for 'b\u2800', which is not ssh's"
    shared.request(0x02, {1: "b" + 40 * " " + "process 1 (ssh) wants a signature", 2: CLIENT_DATA_HASH})
    assert shared.told[-1] == "refused: a key for 'b process 1 (ssh) wants a signature', which is not ssh's"


def make_request(rp_id: str, **members: object) -> dict[int, Any]:
    parameters = {
        1: CLIENT_DATA_HASH,
        2: {"id": rp_id},
        3: {"id": b"user", "name": "user"},
        4: [{"type": "public-key", "alg": -7}],
    }
    return parameters | {int(name.removeprefix("m")): value for name, value in members.items()}


def test_a_new_resident_key_is_told_to_replace_another(shared: Shared) -> None:
    shared.token.set_pin()
    auth = shared.token.auth(shared.client_pin().get_pin_token(PIN, Permission.MAKE_CREDENTIAL, "ssh:work"))
    request = make_request("ssh:work", m7={"rk": True}, m8=auth["pin_uv_param"], m9=auth["pin_uv_protocol"])
    assert shared.request(0x01, request)[0] == status.SUCCESS
    assert shared.told[1:] == [
        "wants a new RESIDENT key for ssh:work; it replaces one of the same application and user"
    ]


def test_no_resident_key_is_made_where_nobody_is_verified_for_it(shared: Shared) -> None:
    assert shared.request(0x01, make_request("ssh:work", m7={"rk": True})) == NOT_ALLOWED
    assert shared.told == ["refused: a resident key for ssh:work, as the authenticator has no PIN"]
    assert shared.token.store.read().credentials == {}


def key_agreement() -> dict[int, Any]:
    return {1: 2, 3: -25, -1: 1, -2: bytes(32), -3: bytes(32)}


@pytest.mark.parametrize(
    ("subcommand", "permissions", "rp_id", "told"),
    [
        (0x09, 0x01, "ssh:work", "enters a PIN for ssh:work"),
        (0x06, 0x03, "ssh:work", "wants you verified for ssh:work"),
        (0x06, 0x02, "ssh:two words", "wants you verified for ssh:two words"),
        (0x09, 0x04, None, "enters a PIN, to list keys"),
        (0x06, 0x04, None, "wants you verified, to list keys"),
        (0x09, 0x01, None, "refused: a PIN's token for any application"),
        (0x06, 0x02, None, "refused: a PIN's token for any application"),
        (0x09, 0x05, None, "refused: a PIN's token for any application"),
        (0x05, None, None, "enters a PIN, for the first application that it is used for"),
    ],
)
def test_the_person_is_told_what_a_pin_or_a_gesture_is_for(
    tmp_path: Path, subcommand: int, permissions: int | None, rp_id: str | None, told: str
) -> None:
    shared = Shared(tmp_path, "uv")
    shared.token.set_pin()
    request: dict[int, Any] = {1: 2, 2: subcommand, 3: key_agreement(), 6: bytes(32)}
    request |= ({} if permissions is None else {9: permissions}) | ({} if rp_id is None else {10: rp_id})
    shared.request(0x06, request)
    assert shared.told == [told]


def test_a_pin_for_one_application_buys_nothing_for_another(tmp_path: Path) -> None:
    shared = Shared(tmp_path, "fido2.0")  # whose tokens are bound to no application
    token = shared.token
    token.set_pin()
    auth = token.auth(token.client_pin().get_pin_token("1234"))
    handles = {rp_id: credential_id(token.make(rp_id, **auth)) for rp_id in ("ssh:", "ssh:work")}
    client_pin = shared.client_pin()

    def sign(rp_id: str, pin_token: bytes) -> bytes:
        allowed = [{"type": "public-key", "id": handles[rp_id]}]
        pin_uv_auth_param = client_pin.protocol.authenticate(pin_token, CLIENT_DATA_HASH)
        return shared.request(0x02, {1: rp_id, 2: CLIENT_DATA_HASH, 3: allowed, 6: pin_uv_auth_param, 7: 1})

    pin_token = client_pin.get_pin_token("1234")
    assert sign("ssh:", pin_token)[0] == status.SUCCESS
    assert sign("ssh:work", pin_token) == bytes([status.PIN_AUTH_INVALID])
    assert shared.told[-1] == "refused: a PIN that was entered for ssh:, used for ssh:work"
    shared.request(0x06, {1: 1, 2: 0x05, 3: key_agreement(), 6: bytes(16)})  # which is no PIN
    assert sign("ssh:work", pin_token) == bytes([status.PIN_AUTH_INVALID])
    assert sign("ssh:", pin_token)[0] == status.SUCCESS
    assert sign("ssh:work", client_pin.get_pin_token("1234"))[0] == status.SUCCESS


def test_a_pin_that_was_entered_in_another_turn_buys_nothing(tmp_path: Path) -> None:
    shared = Shared(tmp_path, "fido2.0")  # whose tokens last until power-down
    token = shared.token
    token.set_pin()
    pin_token = token.client_pin().get_pin_token(PIN)
    auth = token.auth(pin_token)
    allowed = [{"type": "public-key", "id": credential_id(token.make("ssh:", **auth))}]
    assert shared.client_pin().get_pin_token(PIN) == pin_token
    get_assertion = {1: "ssh:", 2: CLIENT_DATA_HASH, 3: allowed, 6: auth["pin_uv_param"], 7: 1}
    assert shared.request(0x02, get_assertion)[0] == status.SUCCESS
    shared.gate = Gate(shared, shared.told.append)
    shared.passed.clear()
    shared.request(0x06, {1: 1, 2: 0x01})  # which gets no token
    for command, parameters in (
        (0x02, get_assertion),
        (0x01, make_request("ssh:", m8=auth["pin_uv_param"], m9=1)),
        *((command, {1: subcommand, 3: 1, 4: bytes(16)}) for command in (0x0A, 0x41) for subcommand in (1, 2, 4)),
    ):
        assert shared.request(command, parameters) == bytes([status.PIN_AUTH_INVALID])
        assert shared.told[-1] == "refused: the use of a PIN that was not entered in this turn"
    assert [request[:1] for request in shared.passed] == [b"\x06"]
    shared.request(0x06, {1: 1, 2: 0x05, 3: key_agreement(), 6: bytes(16)})  # which is no PIN
    assert shared.request(0x02, get_assertion) == bytes([status.PIN_AUTH_INVALID])
    shared.client_pin().get_pin_token(PIN)
    assert shared.request(0x02, get_assertion)[0] == status.SUCCESS


@pytest.mark.parametrize("zeros", [32, 16, 15, 0])
def test_a_silent_question_is_about_what_no_message_can_be(shared: Shared, zeros: int) -> None:
    handle = credential_id(shared.token.make("ssh:"))
    allowed = [{"type": "public-key", "id": handle}]
    client_data_hash = bytes(zeros) + bytes(range(1, 33 - zeros))
    response = shared.request(0x02, {1: "ssh:", 2: client_data_hash, 3: allowed, 5: {"up": False}})
    assert response[0] == (status.SUCCESS if zeros >= 16 else status.UP_REQUIRED)


def test_only_keys_that_could_be_used_are_listed(shared: Shared) -> None:
    shared.token.set_pin()
    shared.token.make_resident("ssh:")
    shared.token.make_resident("ssh:two  words")
    listed = answer(shared.request(0x0A, management(shared, 2)))
    assert (listed[3]["id"], listed[5]) == ("ssh:", 1)


def test_the_person_is_told_of_a_touch_that_chooses(shared: Shared) -> None:
    assert shared.request(0x0B) == b"\0"
    assert shared.told == ["wants a touch that chooses this authenticator"]


def test_u2f_requests_are_told_once_however_often_the_client_asks(shared: Shared) -> None:
    register = extended(1, 0, CLIENT_DATA_HASH + SSH_HASH)
    shared.person.answer = DENIED
    for _ in range(3):
        assert shared.ask(register, framing.MSG) == b"\x69\x85"
    assert shared.told == ["wants a new U2F key for ssh:"]
    shared.person.answer = GRANTED
    assert shared.ask(register, framing.MSG)[-2:] == b"\x90\x00"
    handle = Ctap1(shared.token).register(CLIENT_DATA_HASH, SSH_HASH).key_handle
    data = CLIENT_DATA_HASH + SSH_HASH + bytes([len(handle)]) + handle
    for _ in range(2):
        assert shared.ask(extended(2, 7, data), framing.MSG) == b"\x69\x85"
    for _ in range(2):
        assert shared.ask(extended(2, 3, data), framing.MSG)[-2:] == b"\x90\x00"
    # Each signature is told, as each is one.
    assert shared.told[1:] == [
        "asks whether there is a U2F key for ssh:",
        "wants a U2F signature for ssh:",
        "wants a U2F signature for ssh:",
    ]


def test_a_u2f_request_is_told_again_once_something_else_was_told(shared: Shared) -> None:
    register = extended(1, 0, CLIENT_DATA_HASH + SSH_HASH)
    shared.person.answer = DENIED
    for other, cmd in ((b"\x55", framing.CBOR), (extended(4, 0, b""), framing.MSG)):
        shared.ask(register, framing.MSG)
        assert shared.told[-1] == "wants a new U2F key for ssh:"
        shared.ask(other, cmd)
        assert shared.told[-1].startswith("refused: ")
        shared.ask(register, framing.MSG)
        assert shared.told[-1] == "wants a new U2F key for ssh:"


def extended(instruction: int, control: int, data: bytes) -> bytes:
    return bytes([0, instruction, control, 0, 0]) + len(data).to_bytes(2, "big") + data + b"\0\0"


def test_u2f_requests_are_written_anew(shared: Shared) -> None:
    data = CLIENT_DATA_HASH + SSH_HASH
    for apdu in (b"\0\x01\x03\x55\x40" + data, b"\0\x01\x80\0\x40" + data + b"\0", b"\0\x01\0\0\0\0\x40" + data):
        assert shared.ask(apdu, framing.MSG)[-2:] == b"\x90\x00"
    for apdu in (b"\0\x03\0\0", b"\0\x03\0\0\0", b"\0\x03\0\0\0\0\0", b"\0\x03\0\0\0\0\0\0\0"):
        assert shared.ask(apdu, framing.MSG) == b"U2F_V2\x90\x00"
    assert set(shared.passed) == {extended(1, 0, data), extended(3, 0, b"")}


@pytest.mark.parametrize("apdu", [
    b"",
    b"\0\x01\0",
    b"\x80\x03\0\0",
    b"\0\x01\0\0\x40" + CLIENT_DATA_HASH,
    b"\0\x01\0\0\x41" + CLIENT_DATA_HASH + SSH_HASH + b"x",
    b"\0\x02\x03\0\x41" + CLIENT_DATA_HASH + SSH_HASH + b"\x01",
    b"\0\x01\0\0\0\0\x40" + CLIENT_DATA_HASH + SSH_HASH + b"more",
])  # fmt: skip
def test_u2f_requests_that_are_none_do_not_pass(shared: Shared, apdu: bytes) -> None:
    assert shared.ask(apdu, framing.MSG) == b"\x69\x86"
    assert shared.passed == []


def test_what_extensions_add_to_an_answer_does_not_pass(shared: Shared) -> None:
    token = shared.token
    token.set_pin()
    made = token.make_resident("ssh:", extensions={"largeBlobKey": True})
    assert shared.request(0x0A, management(shared, 2))[0] == status.SUCCESS
    listed = answer(shared.request(0x0A, management(shared, 4, {1: SSH_HASH})))
    assert listed[7]["id"] == credential_id(made)
    assert 0x0B not in listed
    assert 0x0B in token.request(0x0A, management(token, 4, {1: SSH_HASH}))[1]


def test_an_answer_that_no_report_can_carry_is_not_passed_on() -> None:
    told: list[str] = []
    gate = Gate(Token(b"\0" + cbor.encode({1: bytes(framing.MAX_MESSAGE_SIZE)})), told.append)
    assert gate.call(framing.CBOR, GET_INFO, Operation(60), None) == OTHER
    assert "is too long" in told[-1]


@st.composite
def encodings(draw: st.DrawFn, depth: int = 3) -> bytes:
    """Draw CBOR of whatever is in it, floats, tags and duplicate keys too, and mostly what CTAP's parameters hold."""
    kind = draw(st.integers(0, 6 if depth else 4))
    if kind == 0:
        return cbor.encode(draw(st.integers(-(1 << 64), (1 << 64) - 1) | st.integers(0, 12)))
    if kind == 1:
        return cbor.encode(draw(st.sampled_from(["ssh:", "ssh:x", "id", "type", "alg", "up", "rk", WEB]) | st.text()))
    if kind == 2:
        return cbor.encode(draw(st.binary(max_size=40) | st.just(CLIENT_DATA_HASH)))
    if kind == 3:
        return draw(
            st.sampled_from([b"\xf4", b"\xf5", b"\xf6", b"\xf7", b"\xf9\x3e\x00", b"\xf9\x7e\x00", b"\xc1\x00"])
        )
    if kind == 4:
        return draw(st.sampled_from([b"\xa1\x62id\x64ssh:", b"\xa1\x62up\xf4", cbor.encode({1: SSH_HASH})]))
    inner = draw(st.lists(encodings(depth - 1), max_size=5))
    if kind == 5:
        return bytes([0x80 | len(inner)]) + b"".join(inner)
    keys = draw(st.lists(st.integers(0, 12).map(cbor.encode) | encodings(0), min_size=len(inner), max_size=len(inner)))
    return bytes([0xA0 | len(inner)]) + b"".join(key + item for key, item in zip(keys, inner, strict=True))


# What a request must hold to get as far as the authenticator, by command.
FRAMES: tuple[dict[int, dict[int, bytes]], ...] = tuple(
    {
        0x01: {1: cbor.encode(CLIENT_DATA_HASH), 2: b"\xa1\x62id\x64ssh:"},
        0x02: {1: b"\x64ssh:"},
        0x06: {1: b"\x02", 2: cbor.encode(subcommand)},
        0x0A: {1: cbor.encode(subcommand)},
        0x41: {1: cbor.encode(subcommand)},
    }
    for subcommand in range(1, 10)
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a command and a map of parameters."""
    command = draw(st.sampled_from([0x01, 0x02, 0x04, 0x06, 0x08, 0x0A, 0x0B, 0x41]) | st.integers(0, 255))
    inner = draw(st.dictionaries(st.integers(0, 12), encodings(), max_size=8))
    if draw(st.booleans()):
        inner |= draw(st.sampled_from(FRAMES)).get(command, {})
    members = b"".join(cbor.encode(key) + inner[key] for key in sorted(inner))
    return bytes([command, 0xA0 | len(inner)]) + members


@settings(max_examples=FUZZ_EXAMPLES * 10)
@example([(framing.CBOR, bytes.fromhex("02a201647373683a02f93e00"))])  # a float
@example([(framing.CBOR, bytes.fromhex("02a301647373683a02400481f93e00"))])
@example([(framing.CBOR, bytes.fromhex("0aa2010402a10180"))])  # an array where a hash is looked up
@given(
    st.lists(
        st.tuples(st.just(framing.CBOR), requests() | st.binary())
        | st.tuples(st.just(framing.MSG), st.binary() | st.binary().map(lambda data: extended(2, 3, data))),
        min_size=1,
        max_size=4,
    )
)
def test_any_request_gets_a_status_and_the_next_one_is_served(lasting: Shared, asked: list[tuple[int, bytes]]) -> None:
    gate = Gate(lasting, lambda _what: None)
    for cmd, data in asked:
        assert 1 <= len(gate.call(cmd, data, Operation(60), None)) <= framing.MAX_MESSAGE_SIZE
    assert answer(gate.call(framing.CBOR, GET_INFO, Operation(60), None))[1]


GOOD_REQUESTS = (
    GET_INFO,
    b"\x01" + cbor.encode({1: CLIENT_DATA_HASH, 2: {"id": "ssh:"}}),
    b"\x02" + cbor.encode({1: "ssh:", 2: CLIENT_DATA_HASH}),
    b"\x06" + cbor.encode({1: 2, 2: 2}),
    b"\x0a" + cbor.encode({1: 2}),
    b"\x0a" + cbor.encode({1: 4, 2: {1: SSH_HASH}}),
)


@settings(max_examples=FUZZ_EXAMPLES * 10)
@given(st.binary() | encodings().map(lambda encoded: b"\0" + encoded) | requests().map(lambda made: b"\0" + made[1:]))
def test_any_answer_of_the_authenticator_leaves_the_gate_alive(answered: bytes) -> None:
    gate = Gate(Token(answered), lambda _what: None)
    for request in GOOD_REQUESTS:
        assert 1 <= len(gate.call(framing.CBOR, request, Operation(60), None)) <= framing.MAX_MESSAGE_SIZE
    gate.call(framing.MSG, extended(1, 0, CLIENT_DATA_HASH + SSH_HASH), Operation(60), None)
