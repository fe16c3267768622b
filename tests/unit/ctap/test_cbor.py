from __future__ import annotations

import math
import struct
import sys
import time
from typing import Any

import pytest
from fido2 import cbor as reference
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.ctap.cbor import CborError, decode, decode_prefix, encode

pytestmark = pytest.mark.slow

INTEGERS = st.integers(-(2**64), 2**64 - 1)
KEYS = INTEGERS | st.binary(max_size=40) | st.text(max_size=40)
SCALARS = KEYS | st.booleans()


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=4) | st.dictionaries(KEYS, children, max_size=4)


# Four levels at most, and long containers, whose heads take more than a byte, of integers alone.
LONG = st.lists(st.integers(0, 9), min_size=20, max_size=300) | st.dictionaries(INTEGERS, st.booleans(), min_size=20)
VALUES = SCALARS | LONG | containers(SCALARS | containers(containers(SCALARS) | containers(containers(SCALARS))))


@given(VALUES)
def test_encodes_as_the_reference_does(value: Any) -> None:
    assert encode(value) == reference.encode(value)


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65535, 65536])
def test_strings_of_every_length_are_encoded_as_the_reference_does(size: int) -> None:
    for value in (bytes(size), "x" * size):
        data = encode(value)
        assert data == reference.encode(value)
        assert decode(data, canonical=True) == value


@given(VALUES)
def test_what_is_encoded_is_canonical_and_decodes_to_itself(value: Any) -> None:
    data = encode(value)
    assert decode(data, canonical=True) == value
    assert decode(data) == value == reference.decode(data)


@given(VALUES, st.binary(max_size=8))
def test_a_prefix_ends_where_the_value_does(value: Any, rest: bytes) -> None:
    data = encode(value)
    assert decode_prefix(data + rest, canonical=True) == (value, len(data))
    if rest:
        with pytest.raises(CborError):
            decode(data + rest)


@given(st.binary(max_size=200))
def test_only_the_encoding_of_a_value_is_read_as_canonical(data: bytes) -> None:
    try:
        value = decode(data, canonical=True)
    except CborError:
        return
    assert encode(value) == data
    assert decode(data) == value


def test_reading_is_tolerant_unless_it_is_told_otherwise() -> None:
    longer_than_need_be = b"\x18\x01"
    assert (decode(longer_than_need_be), decode_prefix(longer_than_need_be)) == (1, (1, 2))
    for read in (decode, decode_prefix):
        with pytest.raises(CborError):
            read(longer_than_need_be, canonical=True)


@given(st.binary(max_size=200))
def test_tolerant_reading_ends_in_a_value_or_an_error(data: bytes) -> None:
    try:
        _, used = decode_prefix(data)
    except CborError:
        return
    assert 0 < used <= len(data)


@given(VALUES, st.data())
def test_a_truncated_value_is_an_error(value: Any, data: st.DataObject) -> None:
    whole = encode(value)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for canonical in (True, False):
        with pytest.raises(CborError):
            decode(cut, canonical)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("1817", 23),  # from here on: longer than needed
        ("190017", 23),
        ("1a00000017", 23),
        ("1b0000000000000017", 23),
        ("380f", -16),
        ("580161", b"a"),
        ("780161", "a"),
        ("980101", [1]),
        ("b8010102", {1: 2}),
        ("a202010101", {2: 1, 1: 1}),  # not sorted
        ("a2616101617802", {"a": 1, "x": 2}),  # sorted, as a control
        ("a26261610161780a", {"aa": 1, "x": 10}),  # longer key first
        ("f7", None),  # undefined
        ("5f41614162ff", b"ab"),  # from here on: indefinite lengths
        ("7f61616162ff", "ab"),
        ("9f0102ff", [1, 2]),
        ("bf010203f5ff", {1: 2, 3: True}),
        ("c11a514b67b0", 1363896240),  # tags
        ("d9d9f7c001", 1),
        ("f93c00", 1.0),  # floats
        ("fa3fc00000", 1.5),
        ("fb3ff8000000000000", 1.5),
    ],
)
def test_what_is_not_canonical_is_read_tolerantly_alone(encoded: str, value: Any) -> None:
    data = bytes.fromhex(encoded)
    assert decode(data) == value
    if encode(value if not isinstance(value, float) else 0) == data:
        assert decode(data, canonical=True) == value
    else:
        with pytest.raises(CborError):
            decode(data, canonical=True)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "1c",  # reserved lengths
        "1d",
        "1e",
        "1f",
        "3f",
        "df00",
        "ff",  # a break alone
        "81ff",
        "a1ff00",
        "a101ff",
        "bf01ff",  # a key without a value
        "5f6161ff",  # text inside bytes
        "5f5f4161ffff",  # indefinite inside indefinite
        "7f61ff",
        "61ff",  # not UTF-8
        "62c328",
        "63eda080",  # a surrogate
        "7f61c361a9ff",  # a character cut in two by chunks
        "a1a0a0",  # a map as a key
        "a1800a",
        "a201020102",  # a key twice
        "a2010220f5",  # control: 1 and -1 differ
        "a201f501f4",
        "e0",  # simple values that nobody uses
        "f3",
        "f820",
        "f814",
        "9b7fffffffffffffff",  # lengths beyond the input
        "bb7fffffffffffffff",
        "5bffffffffffffffff",
        "7bffffffffffffffff",
        "9affffffff00",
    ],
)
def test_malformed_bytes_are_an_error_in_both_readings(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    if encoded == "a2010220f5":
        assert decode(data, canonical=True) == {1: 2, -1: True}
        return
    for canonical in (True, False):
        with pytest.raises(CborError):
            decode(data, canonical)


@pytest.mark.parametrize("encoded", ["a20100f500", "a20000f400", "a2f9000000f400", "a201f9f93c00f9"])
def test_keys_that_python_takes_for_one_are_never_merged(encoded: str) -> None:
    for canonical in (True, False):
        with pytest.raises(CborError):
            decode(bytes.fromhex(encoded), canonical)


def test_booleans_stay_booleans() -> None:
    assert encode({"up": True, "n": 1}) == encode({"n": 1, "up": True}) != encode({"n": 1, "up": 1})
    assert decode(b"\xf5") is True
    assert decode(b"\xf4") is False
    assert decode(b"\x01") is not True


def test_special_floats_are_read() -> None:
    assert math.isnan(decode(b"\xf9\x7e\x00"))
    assert decode(b"\xfb" + struct.pack(">d", -math.inf)) == -math.inf


def test_four_levels_are_canonical_and_five_are_not() -> None:
    assert decode(bytes.fromhex("81a10181a0"), canonical=True) == [{1: [{}]}]
    with pytest.raises(CborError):
        decode(bytes.fromhex("81a10181a10180"), canonical=True)


@pytest.mark.parametrize("unit", [b"\x81", b"\x9f", b"\xa1\x01", b"\xbf\x01", b"\xc1", b"\xd8\x20"])
def test_deep_nesting_neither_recurses_far_nor_takes_long(unit: bytes) -> None:
    data = unit * 200_000
    limit = sys.getrecursionlimit()
    start = time.monotonic()
    for canonical in (True, False):
        with pytest.raises(CborError):
            decode(data, canonical)
    assert time.monotonic() - start < 10
    assert sys.getrecursionlimit() == limit


def test_large_input_takes_linear_time() -> None:
    start = time.monotonic()
    assert len(decode(b"\x5f" + b"\x41a" * 100_000 + b"\xff")) == 100_000
    assert len(decode(encode(list(range(100_000))), canonical=True)) == 100_000
    assert len(decode(encode(dict.fromkeys(range(50_000), b"")), canonical=True)) == 50_000
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("value", [1.5, {1}, object(), 2**64, -(2**64) - 1, "\ud800", [object()], {1: 2j}, {1.5: 0}])
def test_what_has_no_encoding_is_refused(value: Any) -> None:
    with pytest.raises(CborError):
        encode(value)


def test_nothing_is_a_value_in_both_readings() -> None:
    assert encode(None) == b"\xf6"
    assert decode(b"\xf6", canonical=True) is decode(b"\xf6") is None
    with pytest.raises(CborError):
        decode(b"\xf7", canonical=True)


@pytest.mark.parametrize("depth", [16, 17])
def test_tolerant_reading_goes_sixteen_levels_deep(depth: int) -> None:
    for data in (depth * b"\x81" + b"\0", depth * b"\x9f" + b"\0" + depth * b"\xff", depth * b"\xa1\1" + b"\0"):
        if depth == 16:
            decode(data)
        else:
            with pytest.raises(CborError, match="nested too deeply"):
                decode(data)


@pytest.mark.parametrize(
    ("encoded", "sentence"),
    [
        ("00ff", "bytes follow the value"),
        ("", "truncated"),
        ("18", "truncated"),
        ("4261", "truncated"),
        ("5f4261ff", "truncated"),
        ("fa3fc000", "truncated"),
        ("1c", "a reserved or indefinite length where there can be none"),
        ("61ff", "text is not UTF-8"),
        ("5f6161ff", "a string of indefinite length holds something else than its like"),
        ("a1a0a0", "a map or an array is a key"),
        ("a201020102", "a key is there twice"),
        ("f820", "a simple value that CTAP does not use"),
    ],
)
def test_what_is_wrong_is_said(encoded: str, sentence: str) -> None:
    with pytest.raises(CborError, match=f"^{sentence}$"):
        decode(bytes.fromhex(encoded))


@pytest.mark.parametrize(
    ("encoded", "sentence"),
    [
        ("c101", "a tag"),
        ("1817", "a number is not in its shortest form"),
        ("a202010101", "keys are not sorted"),
        ("81818181" + "80", "nested too deeply"),
    ],
)
def test_what_is_not_canonical_is_said(encoded: str, sentence: str) -> None:
    with pytest.raises(CborError, match=f"^{sentence}$"):
        decode(bytes.fromhex(encoded), canonical=True)


@pytest.mark.parametrize("number", [23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
def test_numbers_of_every_length_are_read_in_their_shortest_form(number: int) -> None:
    for value in (number, -1 - number):
        data = encode(value)
        assert data == reference.encode(value)
        assert decode(data, canonical=True) == decode(data) == value
