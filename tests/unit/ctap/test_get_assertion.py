"""What an authenticator may answer to getAssertion, and what it may not: hostile tokens are scripted here."""

from __future__ import annotations

import hashlib

import pytest
from fido2.ctap import CtapDevice
from fido2.ctap2 import Ctap2
from fido2.webauthn import AuthenticatorData
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.ctap import cbor, requests
from sk_provider.ctap.status import StatusError
from sk_provider.errors import AuthenticatorError, SecurityKeyError
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fido2.ctap import STATUS

    from sk_provider.transport_api import Event

RP_ID = "ssh:"
HASH = bytes(32)
KEY_HANDLE = b"key handle"
RP_ID_HASH = hashlib.sha256(RP_ID.encode()).digest()


class Token:
    """Answers every command with the same bytes, and keeps what it was asked."""

    capabilities = 4

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        self.asked.append(data)
        return self.answer

    def close(self) -> None:
        """Nothing to let go."""


class ReferenceToken(CtapDevice):
    """The same for python-fido2, which asks who it is first."""

    capabilities = 4

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: object = None,
        on_keepalive: Callable[[STATUS], None] | None = None,
    ) -> bytes:
        if data == b"\x04":
            return b"\0" + cbor.encode({1: ["FIDO_2_0"], 3: bytes(16), 5: 7609})
        self.asked.append(data)
        return self.answer

    def close(self) -> None:
        """Nothing to let go."""

    @classmethod
    def list_devices(cls) -> Iterator[ReferenceToken]:
        return iter(())


def authenticator_data(rp_id_hash: bytes = RP_ID_HASH, flags: int = 1, counter: int = 7, rest: bytes = b"") -> bytes:
    return rp_id_hash + bytes([flags]) + counter.to_bytes(4, "big") + rest


def answer(data: bytes, credential: object = None, signature: object = b"signature") -> bytes:
    response: dict[object, object] = {2: data, 3: signature}
    if credential is not None:
        response[1] = credential
    return b"\0" + cbor.encode(response)


def get_assertion(token: Token, *, up: bool = True, uv: bool = False) -> requests.Assertion:
    return requests.get_assertion(token, RP_ID, HASH, KEY_HANDLE, Operation(5), up=up, uv=uv)


def test_the_credential_may_be_left_out() -> None:
    assertion = get_assertion(Token(answer(authenticator_data())))
    assert (assertion.flags, assertion.counter, assertion.signature) == (1, 7, b"signature")


def test_presence_is_the_default_and_its_absence_is_asked_for() -> None:
    token = Token(answer(authenticator_data()))
    get_assertion(token)
    get_assertion(token, up=False)
    with_presence, without = (cbor.decode(asked[1:]) for asked in token.asked)
    assert 5 not in with_presence
    assert without[5] == {"up": False}


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=100),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=1, max_size=1024),
    st.booleans(),
    st.booleans(),
    st.none() | st.tuples(st.sampled_from([1, 2]), st.binary(min_size=16, max_size=32)),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=80),
)
def test_request_and_answer_are_those_of_the_reference(
    rp_id: str,
    client_data_hash: bytes,
    key_handle: bytes,
    up: bool,
    uv: bool,
    pin_uv_auth: tuple[int, bytes] | None,
    counter: int,
    signature: bytes,
) -> None:
    credential = {"id": key_handle, "type": "public-key"}
    data = authenticator_data(hashlib.sha256(rp_id.encode()).digest(), 5, counter)
    told = answer(data, credential, signature)
    ours, reference = Token(told), ReferenceToken(told)
    found = requests.get_assertion(
        ours, rp_id, client_data_hash, key_handle, Operation(5), up=up, uv=uv, pin_uv_auth=pin_uv_auth
    )
    protocol, parameter = pin_uv_auth or (None, None)
    options = {**({} if up else {"up": False}), **({"uv": True} if uv else {})}
    expected = Ctap2(reference).get_assertion(
        rp_id,
        client_data_hash,
        [credential],
        options=options or None,
        pin_uv_param=parameter,
        pin_uv_protocol=protocol,
    )
    assert ours.asked == reference.asked
    assert found.signature == expected.signature
    assert (found.flags, found.counter) == (expected.auth_data.flags, expected.auth_data.counter)


@given(st.integers(0, 255), st.integers(0, 2**32 - 1), st.just(b"") | st.binary(max_size=60))
def test_authenticator_data_is_read_as_the_reference_reads_it_or_refused(flags: int, counter: int, rest: bytes) -> None:
    data = authenticator_data(flags=flags, counter=counter, rest=rest)
    try:
        found = get_assertion(Token(answer(data)), up=False)
    except AuthenticatorError:
        # Refused is what has more than flags and counter, and nothing else.
        assert flags & 0xC0 or rest
        return
    reference = AuthenticatorData(data)
    assert (found.flags, found.counter) == (reference.flags, reference.counter) == (flags, counter)


@pytest.mark.parametrize(
    ("untrusted_answer", "sentence"),
    [
        (b"", "is empty"),
        (b"\0", "not CBOR"),
        (b"\0\xff", "not CBOR"),
        (b"\0\x01", "not a CBOR map"),
        (b"\0\xa0", "no signature"),
        (answer(authenticator_data(), signature="text"), "no signature"),
        (answer(authenticator_data(), credential={"id": b"another", "type": "public-key"}), "another key"),
        (answer(authenticator_data(), credential=b"key handle"), "another key"),
        (answer(authenticator_data()[:36]), "cut short"),
        (answer(authenticator_data(rp_id_hash=bytes(32))), "another application"),
        (answer(authenticator_data(flags=0)), "a touch"),
        (answer(authenticator_data(flags=0x81)), "extensions"),
        (answer(authenticator_data(flags=0x41)), "extensions"),
        (answer(authenticator_data(rest=b"\xa0")), "extensions"),
    ],
)
def test_what_no_ssh_signature_can_carry_is_refused(untrusted_answer: bytes, sentence: str) -> None:
    with pytest.raises(AuthenticatorError, match=sentence):
        get_assertion(Token(untrusted_answer))


def test_verification_that_was_asked_for_must_be_confirmed() -> None:
    with pytest.raises(AuthenticatorError, match="confirm user verification"):
        get_assertion(Token(answer(authenticator_data(flags=1))), uv=True)


def test_a_status_reaches_the_caller() -> None:
    with pytest.raises(StatusError) as caught:
        get_assertion(Token(b"\x2e"))
    assert caught.value.code == 0x2E


@given(st.binary(max_size=200))
def test_no_answer_raises_anything_but_our_errors(untrusted_answer: bytes) -> None:
    try:
        get_assertion(Token(untrusted_answer))
    except (SecurityKeyError, StatusError):
        pass


def test_what_is_signed_where_nothing_is_can_be_no_messages_digest() -> None:
    fresh = [requests.fresh_client_data_hash() for _ in range(4)]
    assert len(set(fresh)) == 4
    assert [requests.is_of_no_message(each) for each in fresh] == [True] * 4
    assert len(requests.NO_CLIENT_DATA) == 32
    assert not any(requests.NO_CLIENT_DATA)
    for other in (bytes(31), bytes(33), bytes(16), b"", bytes(15) + bytes([1]) + bytes(16)):
        assert not requests.is_of_no_message(other)
    assert requests.is_of_no_message(bytes(16) + bytes(range(16)))


def test_what_is_signed_is_told() -> None:
    assertion = requests.Assertion(5, 0x01020304, b"signature")
    assert assertion.signed(RP_ID, HASH) == RP_ID_HASH + b"\x05\x01\x02\x03\x04" + HASH


def info(members: dict[object, object]) -> requests.Info:
    return requests.get_info(Token(b"\0" + cbor.encode(members)), Operation(5))


def test_what_an_authenticator_says_of_itself_is_read() -> None:
    told = info({2: ["credProtect"], 4: {"rk": True}, 0x0C: True})
    assert (told.options, told.extensions, told.force_pin_change) == ({"rk": True}, ["credProtect"], True)
    others: list[dict[object, object]] = [{}, {2: "credProtect", 0x0C: 1}, {2: None, 0x0C: False}]
    for members in others:
        told = info(members)
        assert (told.options, told.extensions, told.force_pin_change) == ({}, [], False)
    with pytest.raises(AuthenticatorError, match="has no map of options"):
        info({4: ["rk"]})


def test_all_that_an_authenticator_says_of_itself_is_passed_on() -> None:
    token = Token(b"\0" + cbor.encode({1: 7, 4: "nonsense"}))
    assert requests.get_info_members(token, Operation(5)) == {1: 7, 4: "nonsense"}
    assert token.asked == [b"\x04"]


def test_the_tries_of_a_pin_are_read() -> None:
    token = Token(b"\0" + cbor.encode({3: 7, 4: True}))
    assert requests.get_pin_retries(token, Operation(5)) == (7, True)
    assert token.asked == [b"\x06" + cbor.encode({1: 1, 2: 1})]
    for told in ({3: 7}, {3: 7, 4: False}, {3: 7, 4: 1}):
        assert requests.get_pin_retries(Token(b"\0" + cbor.encode(told)), Operation(5)) == (7, False)
    with pytest.raises(AuthenticatorError, match="has no number of tries"):
        requests.get_pin_retries(Token(b"\0\xa0"), Operation(5))


@pytest.mark.parametrize("pin_uv_auth", [None, (2, b"proof")])
@pytest.mark.parametrize("uv", [False, True])
def test_verification_by_a_pin_must_be_confirmed_as_well(uv: bool, pin_uv_auth: tuple[int, bytes] | None) -> None:
    token = Token(answer(authenticator_data(flags=1)))

    def ask() -> requests.Assertion:
        return requests.get_assertion(
            token, RP_ID, HASH, KEY_HANDLE, Operation(5), up=True, uv=uv, pin_uv_auth=pin_uv_auth
        )

    if uv or pin_uv_auth:
        with pytest.raises(AuthenticatorError, match="does not confirm user verification"):
            ask()
        token.answer = answer(authenticator_data(flags=5))
    assert ask().flags & 1
