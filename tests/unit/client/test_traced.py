"""What a trace tells of messages: names, values, times and failures, and nothing that is secret."""

from __future__ import annotations

import re

import pytest
from fido2.ctap1 import Ctap1
from fido2.ctap2 import ClientPin, CredentialManagement, Ctap2, LargeBlobs
from fido2.ctap2.pin import PinProtocolV1, PinProtocolV2
from hypothesis import given
from hypothesis import strategies as st
from support.soft_token import CLIENT_DATA_HASH, RP_ID, Device, Permission, Person, credential_id, descriptor
from support.traced import of_pin, told, trace_into

from sk_provider.authenticator.store import Store
from sk_provider.client.traced import TracedChannel
from sk_provider.ctap import apdu, cbor, commands, framing, sha256
from sk_provider.errors import AuthenticatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

pytestmark = pytest.mark.slow

ADDRESS = "unix:/token"
SALT = bytes(range(100, 132))
OLD_PIN, NEW_PIN = "first secret", "second secret"
USER_ID = b"a user's id, which names somebody"


class Traced:
    """A channel whose answers are made up, and the lines of its trace."""

    def __init__(self, channel: Any) -> None:
        self.lines: list[str] = []
        self.channel = TracedChannel(channel, ADDRESS, trace_into(self.lines))

    @property
    def sentences(self) -> list[str]:
        """The lines without their times."""
        return [re.sub(r"^[\d.]+ ms: |(?<=after )[\d.]+ ms", "", line) for line in self.lines]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Answers:
    """A channel that gives the same answer to everything, or fails."""

    capabilities = framing.CAPABILITY_CBOR

    def __init__(self, answer: bytes | BaseException, keepalives: tuple[int, ...] = ()) -> None:
        self.answer = answer
        self.asks_a_person = False
        self.keepalives = keepalives

    def call(self, _cmd: int, _data: bytes = b"", _event: Any = None, on_keepalive: Any = None) -> bytes:
        for each in self.keepalives:
            on_keepalive(each)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def close(self) -> None:
        pass


def ask(answer: bytes | BaseException, request: bytes, cmd: int = framing.CBOR) -> list[str]:
    traced = Traced(Answers(answer))
    traced.channel.call(cmd, request)
    return traced.sentences


class Remembering:
    """Notes what a PIN protocol agrees on and makes, which nobody else is to know."""

    def __init__(self, protocol: type[PinProtocolV1 | PinProtocolV2], monkeypatch: pytest.MonkeyPatch) -> None:
        self.secrets: list[bytes] = []
        self.protocol: Any = protocol()
        for name in ("encapsulate", "encrypt", "decrypt", "authenticate"):
            self._note(name, monkeypatch)

    def _note(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        original = getattr(self.protocol, name)

        def noting(*arguments: Any) -> Any:
            made = original(*arguments)
            self.secrets += [each for each in (*arguments, made) if isinstance(each, bytes)]
            if name == "encapsulate":
                self.secrets.append(made[1])
            return made

        monkeypatch.setattr(self.protocol, name, noting)


@pytest.mark.parametrize("protocol", [PinProtocolV1, PinProtocolV2])
def test_no_message_about_a_pin_tells_a_secret(
    protocol: type[PinProtocolV1 | PinProtocolV2], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(Store.create(str(tmp_path / "store")), Person())
    traced = Traced(device)
    ctap2 = Ctap2(traced.channel)  # type: ignore[arg-type]
    remembering = Remembering(protocol, monkeypatch)
    client_pin: Any = ClientPin(ctap2, remembering.protocol)

    def auth(permission: Permission) -> dict[str, Any]:
        token = client_pin.get_pin_token(NEW_PIN, permission, RP_ID)
        remembering.secrets.append(token)
        parameter = remembering.protocol.authenticate(token, CLIENT_DATA_HASH)
        return {"pin_uv_param": parameter, "pin_uv_protocol": protocol.VERSION}

    client_pin.set_pin(OLD_PIN)
    client_pin.change_pin(OLD_PIN, NEW_PIN)
    made = ctap2.make_credential(
        CLIENT_DATA_HASH,
        {"id": RP_ID},
        {"id": USER_ID, "name": "somebody", "displayName": "Some Body"},
        [{"type": "public-key", "alg": -7}],
        extensions={"hmac-secret": True, "largeBlobKey": True, "credProtect": 2},
        options={"rk": True},
        **auth(Permission.MAKE_CREDENTIAL),
    )
    public_key, shared = client_pin._get_shared_secret()
    salts = remembering.protocol.encrypt(shared, SALT)
    salt_auth = remembering.protocol.authenticate(shared, salts)
    asserted = ctap2.get_assertion(
        RP_ID,
        CLIENT_DATA_HASH,
        [descriptor(credential_id(made))],
        extensions={
            "hmac-secret": {1: dict(public_key), 2: salts, 3: salt_auth, 4: protocol.VERSION},
            "largeBlobKey": True,
        },
        **auth(Permission.GET_ASSERTION),
    )
    assert made.large_blob_key is not None
    assert asserted.auth_data.extensions is not None
    output = asserted.auth_data.extensions["hmac-secret"]
    token = client_pin.get_pin_token(NEW_PIN, Permission.LARGE_BLOB_WRITE)
    blobs = LargeBlobs(ctap2, remembering.protocol, token)
    blobs.put_blob(made.large_blob_key, b"what nobody else is to read")
    blobs.get_blob(made.large_blob_key)
    token = client_pin.get_pin_token(NEW_PIN, Permission.CREDENTIAL_MGMT)
    management = CredentialManagement(ctap2, remembering.protocol, token)
    management.get_metadata()
    (rp,) = management.enumerate_rps()
    (listed,) = management.enumerate_creds(rp[CredentialManagement.RESULT.RP_ID_HASH])
    assert listed[CredentialManagement.RESULT.LARGE_BLOB_KEY] == made.large_blob_key
    management.update_user_info(descriptor(credential_id(made)), {"id": USER_ID, "name": "other"})  # type: ignore[arg-type]
    management.delete_cred(descriptor(credential_id(made)))

    secrets = {*remembering.secrets, *of_pin(OLD_PIN), *of_pin(NEW_PIN), SALT, output, made.large_blob_key, token}
    # Among what was authenticated are a hash that is no secret, and numbers.
    secrets = {secret for secret in secrets - {CLIENT_DATA_HASH} if len(secret) > 1}
    assert told(traced.text, secrets) == []
    assert told(traced.text, [credential_id(made), USER_ID, b"somebody", b"Some Body"]) == []
    assert told(traced.text, [CLIENT_DATA_HASH, made.auth_data.rp_id_hash]) != []
    for name in (
        "subCommand: setPIN (3), keyAgreement: <map of 5>, pinUvAuthParam: <", "subCommand: changePIN (4)",
        "newPinEnc: <", "pinHashEnc: <", "pinUvAuthToken: <", 'permissions: makeCredential (0x01), rpId: "ssh:"',
        "authenticatorMakeCredential {clientDataHash: h'000102", "flags: UP UV AT ED (0xc5)", "credProtect: 2",
        f"credentialId: <{len(credential_id(made))} bytes, SHA-256 {sha256(credential_id(made)).hex()[:16]}>",
        "hmac-secret: {keyAgreement: <map of 5>, saltEnc: <", "largeBlobKey: <32 bytes, secret>",
        "authenticatorLargeBlobs {", "set: <", "config: <", "subCommand: enumerateRPsBegin (2)",
        "subCommand: updateUserInformation (7)", "authenticatorCredentialManagement {subCommand: deleteCredential (6)",
        f"user: {{id: <{len(USER_ID)} bytes, SHA-256 {sha256(USER_ID).hex()[:16]}>",
    ):  # fmt: skip
        assert name in traced.text


def test_a_status_has_its_name_and_what_is_unknown_its_number() -> None:
    request = bytes([commands.GET_INFO])
    assert ask(b"\x2e", request) == [
        f"{ADDRESS} > authenticatorGetInfo",
        f"{ADDRESS} < NO_CREDENTIALS (0x2e), after ",
    ]
    assert ask(b"\xf7", request)[1] == f"{ADDRESS} < unknown status (0xf7), after "
    assert ask(b"", request)[1] == f"{ADDRESS} < an empty answer, after "
    assert ask(b"\0", bytes([0x55, 1, 2]))[0] == f"{ADDRESS} > command 0x55 <2 bytes, no CBOR: bytes follow the value>"


def test_what_no_table_knows_is_told_by_its_size() -> None:
    answer = b"\0" + cbor.encode({0x7E: b"hidden", 0x7D: "hidden", 0x7C: ["hidden"], 0x7B: {1: "hidden"}, "hidd": 5})
    _, line = ask(answer, bytes([commands.GET_INFO]))
    assert "hidden" not in line
    assert "123: <map of 1>, 124: <array of 1>, 125: <6 characters>, 126: <6 bytes>" in line
    request = bytes([0x55]) + cbor.encode({1: b"hidden", 2: 7})
    assert ask(b"\0", request)[0] == f"{ADDRESS} > command 0x55 {{1: <6 bytes>, 2: 7}}"


def test_keep_alives_are_told_and_handed_on() -> None:
    traced = Traced(Answers(b"\0", (framing.STATUS_PROCESSING, framing.STATUS_UPNEEDED, 0x77)))
    heard: list[int] = []
    traced.channel.call(framing.CBOR, bytes([commands.SELECTION]), None, heard.append)
    traced.channel.call(framing.CBOR, bytes([commands.SELECTION]))
    assert heard == [1, 2, 0x77]
    assert traced.sentences[:5] == [
        f"{ADDRESS} > authenticatorSelection",
        f"{ADDRESS} < keep-alive, PROCESSING (1), after ",
        f"{ADDRESS} < keep-alive, UPNEEDED (2), after ",
        f"{ADDRESS} < keep-alive, unknown (119), after ",
        f"{ADDRESS} < SUCCESS (0x00), after ",
    ]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(AuthenticatorError("it is silent", "try again"), "it is silent"), (KeyboardInterrupt(), "KeyboardInterrupt")],
)
def test_that_there_is_no_answer_is_told(error: BaseException, sentence: str) -> None:
    traced = Traced(Answers(error))
    with pytest.raises(type(error)):
        traced.channel.call(framing.CBOR, bytes([commands.GET_INFO]))
    assert re.fullmatch(rf"[\d.]+ ms: {ADDRESS} gives no answer after [\d.]+ ms: {sentence}", traced.lines[1])


def test_the_messages_of_u2f_are_told(tmp_path: Path) -> None:
    device = Device(Store.create(str(tmp_path / "store")), Person(), "u2f")
    traced = Traced(device)
    ctap1 = Ctap1(traced.channel)  # type: ignore[arg-type]
    ctap1.get_version()
    application = sha256(RP_ID.encode())
    registered = ctap1.register(CLIENT_DATA_HASH, application)
    ctap1.authenticate(CLIENT_DATA_HASH, application, registered.key_handle)
    digest = sha256(registered.key_handle).hex()[:16]
    handle = f"keyHandle: <{len(registered.key_handle)} bytes, SHA-256 {digest}>"
    asked = f"{{challenge: h'{CLIENT_DATA_HASH.hex()}', application: h'{application.hex()}'"
    lines = [line.removeprefix(f"{ADDRESS} ") for line in traced.sentences if "keep-alive" not in line]
    assert lines[:3] == ["> U2F VERSION", '< SUCCESS (0x9000) "U2F_V2", after ', f"> U2F REGISTER {asked}}}"]
    assert lines[3].startswith(f"< SUCCESS (0x9000) {{publicKey: h'{registered.public_key.hex()}', {handle}, ")
    assert lines[4] == f"> U2F AUTHENTICATE enforce-user-presence {asked}, {handle}}}"
    assert re.match(r"< SUCCESS \(0x9000\) \{userPresence: 1, counter: \d+, signature: h'30", lines[5])
    assert told(traced.text, [registered.key_handle]) == []


def test_a_status_word_has_its_name() -> None:
    message = apdu.extended(0, apdu.INS_AUTHENTICATE, apdu.P1_CHECK_ONLY, 0, bytes(70))
    said = ask(b"\x69\x85", message, framing.MSG)
    assert "U2F AUTHENTICATE check-only" in said[0]
    assert said[1] == f"{ADDRESS} < CONDITIONS_NOT_SATISFIED (0x6985), after "


@given(
    request=st.binary(max_size=200), answer=st.binary(max_size=200), cmd=st.sampled_from([framing.CBOR, framing.MSG])
)
def test_any_bytes_make_a_line_and_no_error(request: bytes, answer: bytes, cmd: int) -> None:
    assert len(ask(answer, request, cmd)) == 2


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=300) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.integers(-9, 32) | st.text(max_size=9), inner),
    max_leaves=60,
)


@given(command=st.integers(1, 0x42), answer=st.dictionaries(st.integers(1, 32), HOSTILE, max_size=40))
def test_any_answer_in_cbor_is_told_within_bounds(command: int, answer: dict[int, object]) -> None:
    _, line = ask(b"\0" + cbor.encode(answer), bytes([command]))
    assert "cannot be shown" not in line
    assert len(line) <= 4100


def test_an_authenticator_that_asks_a_person_itself_does_so_under_a_trace() -> None:
    channel = Answers(b"")
    assert not Traced(channel).channel.asks_a_person
    channel.asks_a_person = True
    assert Traced(channel).channel.asks_a_person
