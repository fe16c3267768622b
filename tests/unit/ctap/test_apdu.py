"""APDUs as they are written and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sk_provider.ctap import apdu
from sk_provider.ctap.apdu import Apdu

HEADER = (0x00, 0x02, 0x03, 0x04)


@given(st.binary(max_size=apdu.MAX_SHORT_DATA))
def test_a_short_command_is_read_as_it_was_written(data: bytes) -> None:
    read = Apdu(apdu.short(*HEADER, data))
    assert (read.cla, read.ins, read.p1, read.p2) == HEADER
    assert (read.data, read.le, read.is_extended) == (data, apdu.MAX_SHORT_RESPONSE, False)


@given(st.binary(max_size=700))
def test_an_extended_command_is_read_as_it_was_written(data: bytes) -> None:
    read = Apdu(apdu.extended(*HEADER, data))
    assert (read.cla, read.ins, read.p1, read.p2) == HEADER
    assert (read.data, read.le, read.is_extended) == (data, apdu.MAX_EXTENDED_RESPONSE, True)


@pytest.mark.parametrize(
    ("body", "data", "le"),
    [
        ("", "", 0),
        ("00", "", 256),
        ("05", "", 5),
        ("02aabb", "aabb", 0),
        ("02aabb07", "aabb", 7),
        ("000000", "", 65536),
        ("000100", "", 256),
        ("000002aabb", "aabb", 0),
        ("000002aabb0100", "aabb", 256),
    ],
)
def test_every_form_of_a_command_is_read(body: str, data: str, le: int) -> None:
    read = Apdu(bytes(HEADER) + bytes.fromhex(body))
    assert (read.data.hex(), read.le) == (data, le)


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ("0000", "lengths"),
        ("02aa", "lengths"),
        ("02aabb0700", "lengths"),
        ("000002aa", "extended lengths"),
        ("000002aabb01", "extended lengths"),
        ("000002aabb010000", "extended lengths"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(body: str, form: str) -> None:
    with pytest.raises(ValueError, match=f"^the {form} do not fit the APDU$"):
        Apdu(bytes(HEADER) + bytes.fromhex(body))


@pytest.mark.parametrize("length", [0, 3])
def test_a_command_has_a_header(length: int) -> None:
    with pytest.raises(ValueError, match=r"^a command APDU has at least 4 bytes$"):
        Apdu(bytes(HEADER[:length]))
    assert Apdu(bytes(HEADER)).ins == HEADER[1]


@given(st.binary(max_size=40))
def test_any_bytes_are_a_command_or_a_value_error(untrusted_apdu: bytes) -> None:
    try:
        read = Apdu(untrusted_apdu)
    except ValueError:
        return
    assert len(read.data) < len(untrusted_apdu)
