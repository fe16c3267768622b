"""CBOR as CTAP2 uses it: written in the canonical form, read strictly (by a token) or tolerantly (by a client)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Data = bytes | memoryview

    # What can be encoded. Any stands for the same again.
    CborValue = int | bool | bytes | str | None | list[Any] | tuple[Any, ...] | dict[Any, Any]

# CTAP 2.1 §8: no message nests deeper than four levels of maps and arrays.
CANONICAL_DEPTH = 4
# Tolerant reading goes deeper, for unknown members that are skipped, yet never near Python's recursion limit.
TOLERANT_DEPTH = 16

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
FALSE, TRUE, NULL, UNDEFINED = 20, 21, 22, 23
INDEFINITE = 31
BREAK = 0xFF


class CborError(ValueError):
    """The bytes are not the CBOR that was asked for, or the value cannot be written as CBOR."""


def encode(value: CborValue) -> bytes:
    """Write a value in the CTAP2 canonical form (CTAP 2.1 §8): shortest lengths, map keys sorted.

    value: an int of up to 64 bits, bytes, str, bool, None, a list or tuple, or a dict with such keys.

    Raises CborError if the value, or one inside it, is of another type, too large, or not valid Unicode.
    """
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):  # before int, of which it is a subclass
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(UNSIGNED, value) if value >= 0 else _head(NEGATIVE, -1 - value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _head(BYTES, len(value)) + bytes(value)
    if isinstance(value, str):
        try:
            text = value.encode()
        except UnicodeEncodeError:
            raise CborError("text with lone surrogates has no encoding") from None
        return _head(TEXT, len(text)) + text
    if isinstance(value, (list, tuple)):
        return _head(ARRAY, len(value)) + b"".join([encode(item) for item in value])
    if isinstance(value, dict):
        # In canonical encodings of scalars, bytewise order is the order of type, then length, then value.
        items = sorted([(encode(key), encode(item)) for key, item in value.items()])
        return _head(MAP, len(items)) + b"".join([key + item for key, item in items])
    raise CborError(f"{type(value).__name__} has no encoding")


def decode(data: Data, canonical: bool = False) -> Any:
    """Return the value that takes up the whole of the data: int, bytes, str, bool, None, float, list or dict.

    data: untrusted bytes; canonical: as for decode_prefix(). Raises CborError as that does, and if bytes follow the
    value.
    """
    value, used = decode_prefix(data, canonical)
    if used != len(data):
        raise CborError("bytes follow the value")
    return value


def decode_prefix(data: Data, canonical: bool = False) -> tuple[Any, int]:
    """Return the value that the data starts with, and how many bytes it takes.

    data: untrusted bytes; canonical: whether to accept the CTAP2 canonical form alone: shortest integers and lengths,
    definite lengths, sorted keys, no tags, no floats, no undefined, at most four levels of maps and arrays (CTAP 2.1
    §8). Otherwise all that occurs in real tokens' answers is read: any order, any length of integers, indefinite
    lengths, floats; tags are skipped, undefined is None.

    Raises CborError if the bytes are truncated, malformed, nested too deeply, not canonical when that is asked for, or
    hold a map of which two keys are the same or equal each other in Python (1, 1.0 and true).
    """
    try:
        return _value(data, 0, canonical, CANONICAL_DEPTH if canonical else TOLERANT_DEPTH)
    except IndexError:
        raise CborError("truncated") from None


def _head(major: int, number: int) -> bytes:
    major <<= 5
    if number < 24:
        return bytes((major | number,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major | info,)) + number.to_bytes(size, "big")
    raise CborError("a number of more than 64 bits")


def _number(data: Data, start: int, info: int, canonical: bool) -> tuple[int, int]:
    """Read the number that an initial byte announces, and say where it ends."""
    if info < 24:
        return info, start
    if info > 27:
        raise CborError("a reserved or indefinite length where there can be none")
    size = 1 << info - 24
    end = start + size
    if end > len(data):
        raise CborError("truncated")
    number = int.from_bytes(data[start:end], "big")
    if canonical and number < (24 if size == 1 else 1 << 4 * size):
        raise CborError("a number is not in its shortest form")
    return number, end


def _value(data: Data, start: int, canonical: bool, depth: int) -> tuple[Any, int]:
    initial = data[start]
    start += 1
    while initial >> 5 == TAG:
        if canonical:
            raise CborError("a tag")
        _, start = _number(data, start, initial & 31, canonical)
        initial = data[start]
        start += 1
    major, info = initial >> 5, initial & 31
    if major == SIMPLE:
        return _simple(data, start, info, canonical)
    if info == INDEFINITE and not canonical:
        if major in (BYTES, TEXT):
            return _chunks(data, start, major)
        if major in (ARRAY, MAP):
            return _container(data, start, major, None, canonical=canonical, depth=depth)
    number, start = _number(data, start, info, canonical)
    if major == UNSIGNED:
        return number, start
    if major == NEGATIVE:
        return -1 - number, start
    if number > len(data) - start:  # of an array or map, each member takes a byte at least
        raise CborError("truncated")
    if major == BYTES:
        return bytes(data[start : start + number]), start + number
    if major == TEXT:
        return _text(data[start : start + number]), start + number
    return _container(data, start, major, number, canonical=canonical, depth=depth)


def _text(data: Data) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise CborError("text is not UTF-8") from None


def _chunks(data: Data, start: int, major: int) -> tuple[bytes | str, int]:
    chunks = []
    while data[start] != BREAK:
        if data[start] >> 5 != major:
            raise CborError("a string of indefinite length holds something else than its like")
        size, start = _number(data, start + 1, data[start] & 31, False)
        if size > len(data) - start:
            raise CborError("truncated")
        chunks.append(data[start : start + size])
        start += size
    if major == TEXT:  # each chunk is text in itself (RFC 8949 §3.2.3)
        return "".join([_text(chunk) for chunk in chunks]), start + 1
    return b"".join(chunks), start + 1


def _container(
    data: Data, start: int, major: int, count: int | None, *, canonical: bool, depth: int
) -> tuple[list[Any] | dict[Any, Any], int]:
    """Read the members of an array or map; a count of None stands for an indefinite length."""
    if not depth:
        raise CborError("nested too deeply")
    array: list[Any] = []
    pairs: dict[Any, Any] = {}
    last_key = b""
    while count != 0:
        if count is None:
            if data[start] == BREAK:
                start += 1
                break
        else:
            count -= 1
        item, end = _value(data, start, canonical, depth - 1)
        if major == ARRAY:
            array.append(item)
            start = end
            continue
        if isinstance(item, (list, dict)):
            raise CborError("a map or an array is a key")
        if item in pairs:
            raise CborError("a key is there twice")
        if canonical:
            key = bytes(data[start:end])
            if key <= last_key:
                raise CborError("keys are not sorted")
            last_key = key
        pairs[item], start = _value(data, end, canonical, depth - 1)
    return (array if major == ARRAY else pairs), start


def _simple(data: Data, start: int, info: int, canonical: bool) -> tuple[bool | float | None, int]:
    if info in (FALSE, TRUE):
        return info == TRUE, start
    if info == NULL or (info == UNDEFINED and not canonical):
        return None, start
    if info in (25, 26, 27) and not canonical:
        import struct

        size = 1 << info - 24
        if size > len(data) - start:
            raise CborError("truncated")
        number: float = struct.unpack({2: ">e", 4: ">f", 8: ">d"}[size], data[start : start + size])[0]
        return number, start + size
    raise CborError("a simple value that CTAP does not use")
