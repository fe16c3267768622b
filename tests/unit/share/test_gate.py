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
from support.answering import Scripted, Token
from support.soft_token import CLIENT_DATA_HASH, FUZZ_EXAMPLES, PIN, Device, Permission, Person, credential_id

from sk_provider.authenticator.presence import DENIED, GRANTED
from sk_provider.authenticator.store import Store
from sk_provider.ctap import cbor, framing, status
from sk_provider.errors import AuthenticatorError, Interrupted
from sk_provider.operation import Operation
from sk_provider.share import permitted
from sk_provider.share.gate import Gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.transport_api import Event

pytestmark = pytest.mark.slow

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
        (0x06, 0x03, "ssh:work", "wants user verification for ssh:work"),
        (0x06, 0x02, "ssh:two words", "wants user verification for ssh:two words"),
        (0x09, 0x04, None, "enters a PIN, to list keys"),
        (0x06, 0x04, None, "wants user verification, to list keys"),
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
    assert shared.told == ["asks for a touch that chooses this authenticator"]


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


class Far(Scripted):
    """A scripted authenticator that notes who listens to its keep-alives."""

    def __init__(self, answers: dict[int, bytes | list[bytes]]) -> None:
        super().__init__(answers)
        self.told: list[str] = []
        self.listeners: list[object] = []
        self.error: Exception | None = None
        self.gate = Gate(self, self.told.append)

    def call(self, cmd: int, data: bytes = b"", event: Event | None = None, on_keepalive: Any = None) -> bytes:
        self.listeners.append(on_keepalive)
        if self.error is not None:
            raise self.error
        return super().call(cmd, data, event, on_keepalive)

    def ask(self, command: int, parameters: object = None, on_keepalive: Any = None) -> bytes:
        encoded = b"" if parameters is None else cbor.encode(parameters)  # type: ignore[arg-type]
        return self.gate.call(framing.CBOR, bytes([command]) + encoded, Operation(60), on_keepalive)


ASSERT = {1: "ssh:", 2: CLIENT_DATA_HASH}
WEB_HASH = hashlib.sha256(WEB.encode()).digest()


def made(**members: object) -> bytes:
    return told_answer({1: "none", 2: SSH_HASH + bytes(5), 3: {}}, members)


def asserted(**members: object) -> bytes:
    return told_answer({1: {"id": b"key"}, 2: SSH_HASH + bytes(5), 3: b"signature"}, members)


def told_answer(answer: dict[int, object], members: dict[str, object]) -> bytes:
    return b"\0" + cbor.encode(answer | {int(name[1:]): value for name, value in members.items()})


INFO_WITH_PIN = b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: bytes(16), 4: {"clientPin": True}})


@pytest.mark.parametrize(
    ("command", "members"),
    [
        (0x01, permitted.MAKE_CREDENTIAL),
        (0x02, permitted.GET_ASSERTION),
        (0x06, permitted.CLIENT_PIN),
        (0x0A, permitted.CREDENTIAL_MANAGEMENT),
    ],
)
def test_a_member_of_another_type_does_not_pass(command: int, members: dict[int, type]) -> None:
    for member, kind in members.items():
        far = Far({})
        wrong: object = "text" if kind is not str else b"bytes"
        assert far.ask(command, {member: wrong}) == bytes([status.CBOR_UNEXPECTED_TYPE])
        assert far.told == ["refused: a request with a member of the wrong type"]
        assert far.asked == []


@pytest.mark.parametrize(
    ("command", "parameters", "passed"),
    [
        (0x01, make_request("ssh:") | {5: [], 6: {}, 7: {}, 10: 1, 11: {}}, {1, 2, 3, 4, 5, 6, 7}),
        (0x02, ASSERT | {3: [], 4: {}, 5: {}, 8: {}}, {1, 2, 3, 4, 5}),
        (0x06, {1: 2, 2: 9, 3: {}, 4: b"", 5: b"", 6: b"", 9: 1, 10: "ssh:", 11: 1}, {1, 2, 3, 6, 9, 10}),
        (0x0A, {1: 1, 2: {}, 3: 1, 5: 1}, {1, 2, 3}),
    ],
)
def test_only_what_ssh_uses_of_a_request_passes(command: int, parameters: object, passed: set[int]) -> None:
    far = Far({0x01: made(), 0x02: asserted()})
    far.ask(command, parameters)
    assert set(far.parameters(command)[0]) == passed


def test_only_what_ssh_uses_of_an_answer_passes() -> None:
    far = Far({0x01: made(m4=True, m5=b"blob"), 0x02: asserted(m4={"id": b"user"}, m7=b"blob", m8={})})
    assert set(answer(far.ask(0x01, make_request("ssh:")))) == {1, 2, 3}
    assert set(answer(far.ask(0x02, ASSERT))) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("extensions", [{"hmac-secret": True}, {"credProtect": 2, "largeBlobKey": True}, {1: 2}])
def test_no_extension_passes_but_protection(extensions: dict[object, object]) -> None:
    far = Far({0x01: made(), 0x02: asserted()})
    assert far.ask(0x01, make_request("ssh:", m6=extensions)) == NOT_ALLOWED
    assert far.ask(0x02, ASSERT | {4: extensions}) == NOT_ALLOWED
    assert far.told == [
        "refused: a key for ssh: with more than ssh asks for",
        "refused: a signature for ssh: with extensions",
    ]
    assert far.asked == []
    assert far.ask(0x01, make_request("ssh:", m6={"credProtect": 3}))[0] == status.SUCCESS


@pytest.mark.parametrize("rp", [{"id": 5}, {}, {"name": "ssh:"}, {"id": WEB}])
def test_a_key_is_for_an_application_of_ssh(rp: object) -> None:
    far = Far({0x01: made()})
    assert far.ask(0x01, make_request("ssh:") | {2: rp}) == NOT_ALLOWED
    without = make_request("ssh:")
    del without[2]
    assert far.ask(0x01, without) == NOT_ALLOWED
    assert far.ask(0x02, {2: CLIENT_DATA_HASH}) == NOT_ALLOWED
    assert far.asked == []


@pytest.mark.parametrize("options", [{"clientPin": True}, {"uv": True}])
def test_a_resident_key_is_made_where_somebody_is_verified(options: dict[str, bool]) -> None:
    info = b"\0" + cbor.encode({1: ["FIDO_2_1"], 3: bytes(16), 4: options})
    far = Far({0x01: made(), 0x04: info})
    assert far.ask(0x01, make_request("ssh:", m7={"rk": True, "uv": True, "up": True}))[0] == status.SUCCESS


@pytest.mark.parametrize("options", [{"clientPin": False}, {"uv": False}, {}, [True], None])
def test_no_resident_key_is_made_where_nobody_is(options: object) -> None:
    members = {1: ["FIDO_2_1"], 3: bytes(16)} | ({} if options is None else {4: options})
    far = Far({0x01: made(), 0x04: b"\0" + cbor.encode(members)})
    assert far.ask(0x01, make_request("ssh:", m7={"rk": True})) == NOT_ALLOWED
    assert far.parameters(0x01) == []
    assert far.ask(0x01, make_request("ssh:", m7={"rk": False}))[0] == status.SUCCESS


def test_a_request_for_a_touch_alone_is_told_as_one() -> None:
    far = Far({0x01: made()})
    for param, told in ((None, "wants a new key for ssh:"), (b"", "wants a touch, or a new key for ssh:")):
        far.ask(0x01, make_request("ssh:") if param is None else make_request("ssh:", m8=param))
        assert far.told.pop() == told


def test_who_wants_keepalives_hears_those_of_what_waits_for_a_person() -> None:
    far = Far({0x01: made(), 0x02: [asserted(m5=2), asserted()], 0x04: INFO_WITH_PIN, 0x06: b"\0", 0x08: asserted()})
    for command, parameters in (
        (0x01, make_request("ssh:")),
        (0x06, {1: 2, 2: 9, 9: 1, 10: "ssh:"}),
        (0x0B, None),
    ):
        far.ask(command, parameters, "listener")
    assert far.listeners == ["listener"] * 3
    far.listeners.clear()
    far.ask(0x02, ASSERT, "listener")
    far.ask(0x04, None, "listener")
    far.ask(0x0A, {1: 1}, "listener")
    assert far.listeners == ["listener", None, None, None]


@pytest.mark.parametrize(
    ("request_bytes", "code", "told"),
    [
        (b"", status.INVALID_LENGTH, "an empty request"),
        (b"\x55", status.NOT_ALLOWED, "the command 0x55"),
        (b"\x07", status.NOT_ALLOWED, "the command 0x07"),
        (b"\x02\xff", status.INVALID_CBOR, "a request that is not CBOR"),
        (b"\x02\x01", status.INVALID_CBOR, "a request that is not a CBOR map"),
        (b"\x08", status.NOT_ALLOWED, "the rest of a list that was not begun here"),
        (b"\x06" + cbor.encode({2: 3}), status.NOT_ALLOWED, "a change of the PIN"),
        (b"\x06" + cbor.encode({2: 4}), status.NOT_ALLOWED, "a change of the PIN"),
        (b"\x06\xa0", status.NOT_ALLOWED, "a change of the PIN"),
        (b"\x06" + cbor.encode({2: 9}), status.NOT_ALLOWED, "a PIN's token for more than keys of ssh"),
        (b"\x06" + cbor.encode({2: 9, 9: 8}), status.NOT_ALLOWED, "a PIN's token for more than keys of ssh"),
        (
            b"\x06" + cbor.encode({2: 6, 9: 0x21, 10: "ssh:"}),
            status.NOT_ALLOWED,
            "a PIN's token for more than keys of ssh",
        ),
        (b"\x06" + cbor.encode({2: 9, 9: 1}), status.MISSING_PARAMETER, "a PIN's token for any application"),
        (b"\x0a" + cbor.encode({1: 6}), status.NOT_ALLOWED, "a deletion or change of keys"),
        (b"\x0a" + cbor.encode({1: 7}), status.NOT_ALLOWED, "a deletion or change of keys"),
        (b"\x41\xa0", status.NOT_ALLOWED, "a deletion or change of keys"),
        (b"\x0a" + cbor.encode({1: 4}), status.NOT_ALLOWED, "a list of keys that are not ssh's"),
        (b"\x0a" + cbor.encode({1: 4, 2: {1: 5}}), status.NOT_ALLOWED, "a list of keys that are not ssh's"),
        (b"\x0a" + cbor.encode({1: 4, 2: {1: SSH_HASH}}), status.NOT_ALLOWED, "a list of keys that are not ssh's"),
        (
            b"\x02" + cbor.encode({**ASSERT, 5: {"rk": 1}}),
            status.INVALID_OPTION,
            "options that ssh does not use",
        ),
        (
            b"\x02" + cbor.encode({**ASSERT, 5: {"up": False}}),
            status.UP_REQUIRED,
            "a signature for ssh: without a touch",
        ),
        (
            b"\x01" + cbor.encode(make_request("ssh:", m7={"up": False})),
            status.INVALID_OPTION,
            "a key for ssh: without a touch",
        ),
        (b"\x02" + cbor.encode({**ASSERT, 1: "x"}), status.NOT_ALLOWED, "a key for 'x', which is not ssh's"),
        (
            b"\x0a" + cbor.encode({1: 1, 4: b"x"}),
            status.PIN_AUTH_INVALID,
            "the use of a PIN that was not entered in this turn",
        ),
    ],
)
def test_what_does_not_pass_is_told_and_answered(request_bytes: bytes, code: int, told: str) -> None:
    far = Far({})
    assert far.gate.call(framing.CBOR, request_bytes, Operation(60), None) == bytes([code])
    assert far.told == [f"refused: {told}"]
    assert far.asked == []


@pytest.mark.parametrize(
    ("request_bytes", "told"),
    [
        (extended(1, 0, bytes(32) + WEB_HASH), "a U2F key that is not ssh's"),
        (extended(2, 8, bytes(32) + SSH_HASH + b"\1k"), "a signature without a touch"),
        (extended(2, 0, bytes(32) + SSH_HASH + b"\1k"), "a signature without a touch"),
        (extended(2, 3, bytes(32) + SSH_HASH), "a U2F request of the wrong length"),
        (extended(2, 3, bytes(32) + SSH_HASH + b"\1"), "a U2F request of the wrong length"),
        (extended(2, 3, bytes(32) + SSH_HASH + b"\1kk"), "a U2F request of the wrong length"),
        (extended(1, 0, bytes(32) + SSH_HASH + b"\1"), "a U2F request of the wrong length"),
        (extended(0x40, 0, b""), "the U2F command 0x40"),
        (b"\x01" + extended(3, 0, b"")[1:], "a U2F request that is not one"),
        (b"\0\1", "a U2F request that is not one"),
    ],
)
def test_what_does_not_pass_of_u2f_is_told_and_answered(request_bytes: bytes, told: str) -> None:
    far = Far({})
    assert far.gate.call(framing.MSG, request_bytes, Operation(60), None) == b"\x69\x86"
    assert far.told == [f"refused: {told}"]
    assert far.asked == []


def test_a_u2f_request_of_every_kind_passes() -> None:
    far = Far({0: b"\x69\x85"})
    handle = bytes(32) + SSH_HASH + b"\xff" + bytes(255)
    for request in (extended(1, 0, bytes(32) + SSH_HASH), extended(2, 3, handle), extended(2, 7, handle)):
        assert far.gate.call(framing.MSG, request, Operation(60), None) == b"\x69\x85"
        assert far.asked.pop() == request


@pytest.mark.parametrize("cmd", [framing.CBOR, framing.MSG])
def test_what_goes_wrong_is_answered(cmd: int) -> None:
    far = Far({})
    request = GET_INFO if cmd == framing.CBOR else extended(3, 0, b"")
    far.error = Interrupted("it was interrupted", "start again")
    expected = bytes([status.KEEPALIVE_CANCEL]) if cmd == framing.CBOR else b"\x69\x85"
    assert far.gate.call(cmd, request, Operation(60), None) == expected
    assert far.told == []
    far.error = AuthenticatorError("it is gone", "bring it back")
    assert far.gate.call(cmd, request, Operation(60), None) == (OTHER if cmd == framing.CBOR else b"\x6f\x00")
    assert far.told == ["cannot be served: it is gone; bring it back"]


@pytest.mark.parametrize("answered", [b"", b"\0\xff", b"\0\x01"])
def test_nonsense_is_told(answered: bytes) -> None:
    far = Far({0x02: answered})
    assert far.ask(0x02, ASSERT) == OTHER
    assert far.told[-1].startswith("cannot be served: the authenticator's answer ")


def test_a_refusal_of_the_authenticators_passes() -> None:
    far = Far({0x02: bytes([status.NO_CREDENTIALS]), 0x04: b"\x01"})
    assert far.ask(0x02, ASSERT) == bytes([status.NO_CREDENTIALS])
    assert far.ask(0x04) == b"\x01"
    assert far.told == ["wants a signature for ssh:"]


def test_an_answer_of_the_longest_length_passes() -> None:
    longest = bytes(framing.MAX_MESSAGE_SIZE)
    assert Far({0x04: longest}).ask(0x04) == longest
    assert Far({0x04: longest + b"x"}).ask(0x04) == OTHER


@pytest.mark.parametrize("total", [1001, "many"])
def test_a_list_without_an_end_is_nonsense(total: object) -> None:
    far = Far({0x02: asserted(m5=total), 0x08: asserted()})
    assert far.ask(0x02, ASSERT) == OTHER
    assert "has an impossible number of entries" in far.told[-1]
    assert len(far.asked) == 1


@pytest.mark.parametrize(("total", "number"), [(1, 1), (2, 2), (1000, 1000)])
def test_a_list_is_read_to_its_end(total: int, number: int) -> None:
    far = Far({0x02: asserted(m5=total), 0x08: asserted()})
    assert answer(far.ask(0x02, ASSERT))[5] == number
    assert len(far.asked) == number
    for _ in range(number - 1):
        assert 5 not in answer(far.ask(0x08))
    assert far.ask(0x08) == NOT_ALLOWED


@pytest.mark.parametrize("total", [0, -1])
def test_an_empty_list_is_no_credentials(total: int) -> None:
    assert Far({0x02: asserted(m5=total)}).ask(0x02, ASSERT) == bytes([status.NO_CREDENTIALS])


def test_each_entry_of_a_list_is_for_the_application() -> None:
    far = Far({0x02: asserted(m5=2), 0x08: asserted(m2=WEB_HASH + bytes(5))})
    assert far.ask(0x02, ASSERT) == OTHER
    assert "is for another application" in far.told[-1]
    assert far.ask(0x08) == NOT_ALLOWED


@pytest.mark.parametrize("members", [{"m2": 5}, {"m2": b""}])
def test_an_answer_without_authenticator_data_is_for_nobody(members: dict[str, object]) -> None:
    assert Far({0x02: asserted(**members)}).ask(0x02, ASSERT) == OTHER
    assert Far({0x01: made(**members)}).ask(0x01, make_request("ssh:")) == OTHER


def rp(rp_id: object, rp_id_hash: object = None, **members: object) -> bytes:
    if isinstance(rp_id, str) and rp_id_hash is None:
        rp_id_hash = hashlib.sha256(rp_id.encode()).digest()
    return told_answer({3: {"id": rp_id, "name": "x"}, 4: rp_id_hash}, members)


@pytest.mark.parametrize("command", [0x0A, 0x41])
def test_of_all_applications_those_of_ssh_are_listed_with_their_keys(command: int) -> None:
    key = told_answer({6: {"id": b"user"}, 7: {"id": b"key"}, 8: {}, 10: 2, 11: b"blob"}, {"m9": 2})
    far = Far(
        {
            command: [
                rp(WEB, m5=4),
                rp("ssh:"),
                rp("ssh:other", WEB_HASH),
                rp("ssh:" + 100 * "x"),
                key,
                key,
                rp("ssh:work", m5=1),
            ]
        }
    )
    listed = answer(far.ask(command, {1: 2}))
    assert listed == {3: {"id": "ssh:", "name": "x"}, 4: SSH_HASH, 5: 1}
    assert far.told == ["lists the resident keys"]
    assert far.ask(command, {1: 3}) == NOT_ALLOWED
    assert far.parameters(command) == [{1: 2}] + [{1: 3}] * 3
    assert far.ask(command, {1: 4, 2: {1: WEB_HASH}}) == NOT_ALLOWED
    found = answer(far.ask(command, {1: 4, 2: {1: SSH_HASH, 2: "more"}, 3: 1}))
    assert set(found) == {6, 7, 8, 9, 10}
    assert found[9] == 2
    assert far.parameters(command)[4:] == [{1: 4, 2: {1: SSH_HASH}, 3: 1}, {1: 5}]
    assert set(answer(far.ask(command, {1: 5}))) == {6, 7, 8, 10}
    assert far.ask(command, {1: 5}) == NOT_ALLOWED
    # A list that is begun anew forgets what was in the last one.
    assert answer(far.ask(command, {1: 2}))[3]["id"] == "ssh:work"
    assert far.ask(command, {1: 4, 2: {1: SSH_HASH}}) == NOT_ALLOWED


@pytest.mark.parametrize(
    "entry", [rp(5, SSH_HASH), rp("ssh:", "text"), rp("ssh:", bytes(31)), b"\0" + cbor.encode({3: 5})]
)
def test_an_application_that_is_none_is_not_listed(entry: bytes) -> None:
    assert Far({0x0A: entry}).ask(0x0A, {1: 2}) == bytes([status.NO_CREDENTIALS])


def test_a_list_that_is_begun_anew_is_not_the_old_one() -> None:
    far = Far({0x0A: [rp("ssh:a", m5=2), rp("ssh:b"), bytes([status.NOT_ALLOWED])]})
    assert answer(far.ask(0x0A, {1: 2}))[5] == 2
    assert far.ask(0x0A, {1: 2}) == NOT_ALLOWED
    assert far.ask(0x0A, {1: 3}) == NOT_ALLOWED
    assert far.told[-1] == "refused: the rest of a list that was not begun here"
    key = told_answer({6: {"id": b"user"}, 7: {"id": b"key"}, 8: {}}, {"m9": 2})
    far = Far(
        {0x0A: [rp("ssh:"), key, key, bytes([status.NOT_ALLOWED])], 0x02: [asserted(m5=2), b"\x2e"], 0x08: asserted()}
    )
    far.ask(0x0A, {1: 2})
    far.ask(0x0A, {1: 4, 2: {1: SSH_HASH}})
    assert far.ask(0x0A, {1: 4, 2: {1: SSH_HASH}}) == NOT_ALLOWED
    assert far.ask(0x0A, {1: 5}) == NOT_ALLOWED
    assert far.told[-1] == "refused: the rest of a list that was not begun here"
    far.ask(0x02, ASSERT)
    assert far.ask(0x02, ASSERT) == b"\x2e"
    assert far.ask(0x08) == NOT_ALLOWED
    # U2F ends a list as well.
    far.answers[0x02] = [asserted(m5=2)]
    far.ask(0x02, ASSERT)
    far.gate.call(framing.MSG, extended(3, 0, b""), Operation(60), None)
    assert far.ask(0x08) == NOT_ALLOWED


def test_asking_for_the_number_of_keys_is_told() -> None:
    far = Far({0x0A: b"\0\xa1\x01\x05"})
    assert far.ask(0x0A, {1: 1}) == b"\0\xa1\x01\x05"
    assert far.told == ["asks how many resident keys there are"]


@pytest.mark.parametrize(
    ("pin", "first_use"), [({1: 2, 2: 9, 9: 3, 10: "ssh:work"}, None), ({1: 1, 2: 5}, "ssh:work")], ids=["2.1", "2.0"]
)
def test_a_pins_token_is_for_one_application(pin: dict[int, object], first_use: str | None) -> None:
    far = Far({0x01: made(), 0x02: asserted(), 0x06: b"\0"})
    proof = {6: b"proof", 7: 1}
    assert far.ask(0x02, ASSERT | proof) == bytes([status.PIN_AUTH_INVALID])
    far.ask(0x06, pin)
    if first_use is not None:
        far.ask(0x02, ASSERT | proof | {1: first_use})
        far.told.clear()
    assert far.ask(0x02, ASSERT | proof) == bytes([status.PIN_AUTH_INVALID])
    assert far.told[-1] == "refused: a PIN that was entered for ssh:work, used for ssh:"
    assert far.ask(0x01, make_request("ssh:", m8=b"proof", m9=1)) == bytes([status.PIN_AUTH_INVALID])
    assert far.ask(0x0A, {1: 1, 4: b"proof"}) != bytes([status.PIN_AUTH_INVALID])
    far.ask(0x06, {1: 2, 2: 9, 9: 3, 10: "ssh:"})
    assert far.ask(0x02, ASSERT | proof)[0] == status.SUCCESS
    # What is asked without a proof is bound to nothing.
    assert far.ask(0x02, ASSERT)[0] == status.SUCCESS


@pytest.mark.parametrize(
    ("pin", "answered"), [({1: 1, 2: 1}, b"\0"), ({1: 1, 2: 2}, b"\0"), ({1: 1, 2: 7}, b"\0"), ({1: 1, 2: 5}, b"\x31")]
)
def test_what_gets_no_token_permits_nothing(pin: dict[int, object], answered: bytes) -> None:
    far = Far({0x02: asserted(), 0x06: answered})
    assert far.ask(0x06, pin) == answered
    assert far.ask(0x02, ASSERT | {6: b"proof", 7: 1}) == bytes([status.PIN_AUTH_INVALID])


def test_reading_the_pins_state_is_not_told() -> None:
    far = Far({0x06: b"\0"})
    for subcommand in (1, 2, 7):
        far.ask(0x06, {1: 1, 2: subcommand})
    assert far.told == []


@pytest.mark.parametrize(("length", "passes"), [(96, True), (97, False)])
def test_an_application_has_a_hundred_characters_at_most(length: int, passes: bool) -> None:
    rp_id = "ssh:" + length * "x"
    assert permitted.can_be_shown(rp_id) is passes
    far = Far({0x02: bytes([status.NO_CREDENTIALS])})
    assert far.ask(0x02, {1: rp_id, 2: CLIENT_DATA_HASH}) == (b"\x2e" if passes else NOT_ALLOWED)
    # Of others as many are told.
    far.ask(0x02, {1: 200 * "y", 2: CLIENT_DATA_HASH})
    assert far.told[-1] == f"refused: a key for '{99 * 'y'}, which is not ssh's"


def test_what_is_no_cbor_of_ctaps_does_not_pass() -> None:
    far = Far({0x02: asserted()})
    request = b"\x02" + bytes.fromhex("a301647373683a02400481f93e00")  # a float among the members
    assert far.gate.call(framing.CBOR, request, Operation(60), None)[0] != status.SUCCESS
    floats = bytes.fromhex("a201647373683a0381f93e00")
    assert far.gate.call(framing.CBOR, b"\x02" + floats, Operation(60), None) == bytes([status.INVALID_CBOR])
    assert far.told[-1] == "refused: a request that is not CTAP's CBOR"
    far = Far({0x02: b"\0" + bytes.fromhex("a301f93e00025820") + SSH_HASH + b"\x03\x41s"})
    assert far.ask(0x02, ASSERT) == OTHER
    assert "is not CTAP's CBOR" in far.told[-1]


def test_a_request_without_parameters_has_none() -> None:
    assert permitted.decode(b"") == {}
