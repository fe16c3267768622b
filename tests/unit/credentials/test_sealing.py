"""Sealed key handles: their permanent format, that no passphrase can be told from another, and what hostile ones do."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519
from sk_provider.authenticator.keeper import Properties
from sk_provider.authenticator.key_handle import SealingKeeper
from sk_provider.credentials import sealing
from sk_provider.credentials.directory import record as records
from sk_provider.credentials.sealing import COST, MARK, Cost
from sk_provider.ctap import ES256, cbor
from sk_provider.errors import InvalidRequest, SecurityKeyError, Unsupported
from sk_provider.tpm import key_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

CHEAP = Cost(4, 1, 1)
APPLICATION = "ssh:work"
RP_ID_HASH = hashlib.sha256(APPLICATION.encode()).digest()
PASSPHRASE = "correct horse"
PLAINTEXT = len(MARK) + 8 + 16
"""Where what is left in clear begins."""

# Of each layout one, as the first version has sealed it: people's key files hold such.
RECORDED = json.loads(Path(__file__).with_name("sealed_key_handles.json").read_text())


def soft() -> bytes:
    keeper = SealingKeeper(os.urandom(16), os.urandom(32))
    return keeper.make(ES256, RP_ID_HASH, Properties(1, discoverable=False))[0]


def tpm() -> bytes:
    content = key_handle.Content(1, os.urandom(32), os.urandom(32), os.urandom(218), discoverable=False)
    return key_handle.seal(content, os.urandom(16), os.urandom(32), ES256, RP_ID_HASH)


def solo() -> bytes:
    return os.urandom(16) + os.urandom(18) + RP_ID_HASH + (7).to_bytes(4, "little")


def old_solo() -> bytes:
    return os.urandom(16) + os.urandom(16) + RP_ID_HASH + (7).to_bytes(4, "little")


def oldest_canokey() -> bytes:
    return os.urandom(16) + os.urandom(16) + RP_ID_HASH


def canokey() -> bytes:
    return os.urandom(16) + os.urandom(16) + bytes((0, 1)) + RP_ID_HASH + (-7).to_bytes(4, "little", signed=True)


def pico_fido() -> bytes:
    return b"\xf1\xd0\x02\x05" + os.urandom(12 + 150 + 16 + 16)


def opensk() -> bytes:
    return b"\x01" + os.urandom(16 + 192 + 32)


def trussed(length: int = 180) -> bytes:
    return cbor.encode({0: os.urandom(length), 1: os.urandom(12), 2: os.urandom(16)})


def of_no_known_kind() -> bytes:
    return os.urandom(64)


# How a handle of each kind is made, its layout, and what those who know the kind can say of its bytes.
KINDS: list[tuple[Callable[[], bytes], int, Callable[[bytes], bool]]] = [
    (soft, 1, lambda handle: handle[:5] == b"pysk\x01"),
    (tpm, 6, lambda handle: handle[:5] == b"ptpm\x01"),
    (solo, 2, lambda handle: handle[34:66] == RP_ID_HASH and handle[68:] == bytes(2)),
    (canokey, 2, lambda handle: handle[32:34] == bytes((0, 1)) and handle[66:] == b"\xf9\xff\xff\xff"),
    (old_solo, 2, lambda handle: handle[32:64] == RP_ID_HASH and handle[65:] == bytes(3)),
    (oldest_canokey, 2, lambda handle: handle[32:] == RP_ID_HASH),
    (pico_fido, 3, lambda handle: handle[:4] == b"\xf1\xd0\x02\x05"),
    (opensk, 4, lambda handle: handle[0] == 1),
    (trussed, 5, lambda handle: set(cbor.decode(handle)) == {0, 1, 2}),
    (lambda: trussed(300), 5, lambda handle: set(cbor.decode(handle)) == {0, 1, 2}),
    (of_no_known_kind, 0, lambda handle: len(handle) == 64),
]


def seal(handle: bytes, passphrase: str = PASSPHRASE, algorithm: int = ALGORITHM_ED25519) -> bytes:
    return sealing.seal(handle, APPLICATION, algorithm, passphrase, cost=CHEAP)


def unseal(
    untrusted: bytes,
    passphrase: str = PASSPHRASE,
    application: str = APPLICATION,
    algorithm: int = ALGORITHM_ED25519,
) -> bytes:
    sealed = sealing.parse(untrusted, application, algorithm, least=CHEAP)
    return sealed.open(sealed.key_stream(passphrase))


@pytest.mark.parametrize(("make", "number", "is_plausible"), KINDS)
def test_a_key_handle_of_each_kind_comes_back(
    make: Callable[[], bytes], number: int, is_plausible: Callable[[bytes], bool]
) -> None:
    handle = make()
    layout = sealing.layout_of(handle, APPLICATION)
    assert (layout.number, layout.is_certain) == (number, number not in (0, 3))
    assert is_plausible(handle)
    sealed = seal(handle)
    assert sealing.is_sealed(sealed)
    assert sealed[len(MARK) + 5] == number
    assert unseal(sealed) == handle
    assert seal(handle) != sealed


@pytest.mark.parametrize(("make", "number", "is_plausible"), KINDS)
def test_no_passphrase_can_be_told_from_another(
    make: Callable[[], bytes], number: int, is_plausible: Callable[[bytes], bool]
) -> None:
    """Every one of 10,000 opens it to what may be a key handle of this kind, and these differ as chance has it."""
    sealed = sealing.parse(seal(make()), APPLICATION, ALGORITHM_ED25519, least=CHEAP)
    clear = sealed.layout.cut(sealed.open(bytes(sealed.key_stream_length)), APPLICATION)
    assert clear is not None
    ones = 0
    for guess in range(10_000):
        handle = sealed.open(sealed.key_stream(f"guess {guess}"))
        assert is_plausible(handle)
        cut = sealed.layout.cut(handle, APPLICATION)
        assert cut is not None
        assert cut[0] == clear[0]
        ones += int.from_bytes(cut[1], "big").bit_count()
    bits = 10_000 * 8 * sealed.key_stream_length
    # Six standard deviations.
    assert abs(ones - bits / 2) < 3 * bits**0.5


@pytest.mark.parametrize(("make", "number", "is_plausible"), KINDS)
def test_the_work_does_not_depend_on_the_answer(
    make: Callable[[], bytes], number: int, is_plausible: Callable[[bytes], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right passphrase, a wrong one, a long one and none each have one key stream derived, of the same parameters."""
    derive, derived = hashlib.scrypt, []

    def derive_noted(_passphrase: bytes, **parameters: Any) -> bytes:
        derived.append(parameters)
        return derive(_passphrase, **parameters)

    handle = make()
    untrusted = seal(handle)
    monkeypatch.setattr(hashlib, "scrypt", derive_noted)
    opened = [unseal(untrusted, passphrase) for passphrase in (PASSPHRASE, "wrong", "x" * 1000, "")]
    assert [each == handle for each in opened] == [True, False, False, False]
    assert len(derived) == len(opened)
    assert all(parameters == derived[0] for parameters in derived)


@given(handle=st.binary(min_size=1, max_size=sealing.MAX_KEY_HANDLE), passphrase=st.text(), application=st.text())
def test_whatever_is_sealed_opens(handle: bytes, passphrase: str, application: str) -> None:
    try:
        application.encode()
    except UnicodeEncodeError:
        return
    sealed = sealing.seal(handle, application, ALGORITHM_ECDSA, passphrase, cost=CHEAP)
    assert unseal(sealed, passphrase, application, ALGORITHM_ECDSA) == handle


@given(handle=st.one_of(st.binary(), st.sampled_from(KINDS).map(lambda kind: kind[0]())), data=st.data())
def test_what_almost_has_a_layout_comes_back_too(handle: bytes, data: st.DataObject) -> None:
    handle += b"\0" if not handle else b""
    position = data.draw(st.integers(0, len(handle) - 1))
    for almost in (
        handle[:position] + bytes((handle[position] ^ 1,)) + handle[position + 1 :],
        handle[:position] or b"\0",
        handle + b"\0",
    ):
        if not sealing.is_sealed(almost):
            assert unseal(seal(almost)) == almost


def test_application_algorithm_and_passphrase_are_bound_in() -> None:
    handle = opensk()
    sealed = seal(handle)
    assert unseal(sealed, "correct horsf") != handle
    assert unseal(sealed, application="ssh:work ") != handle
    assert unseal(sealed, algorithm=ALGORITHM_ECDSA) != handle
    # Fields with their lengths: no byte of one is another's.
    assert seal(handle)[: len(MARK)] == MARK
    assert unseal(seal(handle, "caf\u00e9"), "cafe\u0301") == handle


def test_nothing_of_the_header_can_be_changed() -> None:
    handle = solo()
    sealed = seal(handle)
    for position in range(PLAINTEXT):
        changed = sealed[:position] + bytes((sealed[position] ^ 1,)) + sealed[position + 1 :]
        try:
            assert unseal(changed) != handle
        except SecurityKeyError:
            continue


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_recorded_one_opens(recorded: dict[str, Any]) -> None:
    untrusted = bytes.fromhex(recorded["sealed"])
    sealed = sealing.parse(
        untrusted, recorded["application"], recorded["algorithm"], least=COST if recorded["is_costly"] else CHEAP
    )
    assert sealed.layout.number == recorded["layout"]
    assert sealed.open(sealed.key_stream(recorded["passphrase"])).hex() == recorded["key_handle"]


def test_the_recorded_ones_are_of_all_layouts_and_of_the_cost_of_new_ones() -> None:
    assert {recorded["layout"] for recorded in RECORDED} == set(range(7))
    assert any(recorded["is_costly"] for recorded in RECORDED)


def test_the_format_is_the_one_that_key_files_hold() -> None:
    """Opens one that was put together from the format's description alone."""

    def field(content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + content

    handle = bytes(range(16)) + bytes(range(100, 116)) + b"\1\2" + RP_ID_HASH + b"\3\4\5\6"
    header = b"sealpysk" + bytes((1, 1, 16, 8, 1, 2)) + b"\0\x46" + bytes(range(16))
    salt = field(header) + field(APPLICATION.encode()) + field(b"sk-ssh-ed25519@openssh.com")
    stream = hashlib.scrypt("pässword".encode(), salt=salt, n=65536, r=8, p=1, maxmem=1 << 27, dklen=32)
    body = b"\1\2\3\4\5\6" + bytes(one ^ other for one, other in zip(handle[:32], stream, strict=True))
    sealed = sealing.parse(header + body, APPLICATION, ALGORITHM_ED25519)
    assert sealed.open(sealed.key_stream("pässword")) == handle


@pytest.mark.parametrize(
    "cost",
    [
        (0, 8, 1), (16, 0, 1), (16, 8, 0), (0, 0, 0), (255, 255, 255), (1, 1, 1), (15, 8, 1), (16, 7, 1),
        (20, 8, 1), (19, 8, 1), (16, 255, 1), (16, 8, 255), (16, 8, 9), (24, 1, 1), (18, 8, 4),
        (19, 1, 1), (21, 1, 2), (14, 33, 1), (14, 32, 9), (13, 32, 1), (20, 2, 3), (21, 2, 1), (17, 4, 33),
    ],
)  # fmt: skip
def test_hostile_parameters_are_refused_before_anything_is_derived(cost: tuple[int, int, int]) -> None:
    """A gigabyte, an hour, zero, and next to nothing, by which an accomplice could learn the passphrase."""
    sealed = bytearray(seal(solo()))
    sealed[len(MARK) + 2 : len(MARK) + 5] = bytes(cost)
    with pytest.raises(InvalidRequest, match="asks for more or less computing"):
        sealing.parse(bytes(sealed), APPLICATION, ALGORITHM_ED25519)


@pytest.mark.parametrize("cost", [(16, 8, 1), (17, 8, 2), (18, 8, 2), (14, 32, 1), (14, 32, 8), (20, 2, 2)])
def test_more_may_be_asked_for_within_reason(cost: tuple[int, int, int]) -> None:
    assert Cost(*cost).is_affordable(COST)


def test_whatever_may_be_asked_for_is_what_scrypt_takes() -> None:
    for log2_n in (1, 15, 16, 17):
        if Cost(log2_n, 1, 1).is_affordable(Cost(1, 1, 1)):
            hashlib.scrypt(b"", salt=b"", n=1 << log2_n, r=1, p=1, maxmem=1 << 26, dklen=16)


@given(data=st.data())
def test_of_two_that_are_mixed_neither_opens(data: st.DataObject) -> None:
    kinds = st.sampled_from(KINDS).map(lambda kind: kind[0]())
    handles = [data.draw(kinds), data.draw(kinds)]
    one, other = (seal(handle) for handle in handles)
    at, where = data.draw(st.integers(1, len(one) - 1)), data.draw(st.integers(1, len(other) - 1))
    for mixed in (one[:at] + other[where:], one[:at] + other[at:], one[:PLAINTEXT] + other[PLAINTEXT:]):
        if mixed in (one, other):
            continue
        try:
            opened = unseal(mixed)
        except SecurityKeyError:
            continue
        assert opened not in handles


@given(data=st.data())
def test_of_another_byte_at_any_place_it_opens_to_another_handle_or_none(data: st.DataObject) -> None:
    handle = data.draw(st.sampled_from(KINDS).map(lambda kind: kind[0]()))
    sealed = seal(handle)
    at, change = data.draw(st.integers(0, len(sealed) - 1)), data.draw(st.integers(1, 255))
    try:
        opened = unseal(sealed[:at] + bytes((sealed[at] ^ change,)) + sealed[at + 1 :])
    except SecurityKeyError:
        return
    assert opened != handle


@pytest.mark.parametrize(("make", "number", "is_plausible"), KINDS)
def test_one_that_is_cut_short_or_goes_on_is_refused(
    make: Callable[[], bytes], number: int, is_plausible: Callable[[bytes], bool]
) -> None:
    sealed = seal(make())
    for length in range(len(MARK), len(sealed)):
        with pytest.raises(SecurityKeyError, match="damaged or cut short"):
            unseal(sealed[:length])
    with pytest.raises(InvalidRequest, match="damaged"):
        unseal(sealed + b"\0")


@pytest.mark.parametrize(("position", "value"), [(len(MARK), 2), (len(MARK) + 1, 2), (len(MARK) + 5, 7)])
def test_one_of_a_newer_version_is_told_as_such(position: int, value: int) -> None:
    sealed = bytearray(seal(solo()))
    sealed[position] = value
    with pytest.raises(Unsupported, match="sealed by a newer libpysk; update libpysk"):
        unseal(bytes(sealed))


@given(st.binary(max_size=300))
def test_no_content_does_more_than_be_refused(untrusted: bytes) -> None:
    for content in (untrusted, MARK + untrusted, MARK + bytes((1, 1, 4, 1, 1)) + untrusted):
        try:
            sealed = sealing.parse(content, APPLICATION, ALGORITHM_ED25519, least=CHEAP)
        except SecurityKeyError:
            continue
        assert len(sealed.open(bytes(sealed.key_stream_length))) <= sealing.MAX_KEY_HANDLE


def test_what_is_no_key_handle_to_seal_or_open_is_told() -> None:
    with pytest.raises(InvalidRequest, match="is not sealed"):
        unseal(solo())
    with pytest.raises(InvalidRequest, match="is sealed"):
        seal(seal(solo()))
    with pytest.raises(Unsupported, match="too long"):
        seal(bytes(sealing.MAX_KEY_HANDLE + 1))
    with pytest.raises(InvalidRequest, match="damaged"):
        unseal(seal(solo()), algorithm=7)


def test_a_directory_can_have_those_of_all_kinds() -> None:
    assert max(len(seal(make())) for make, _, _ in KINDS) <= records.MAX_KEY_HANDLE
    assert sealing.MAX_KEY_HANDLE == records.MAX_KEY_HANDLE
