"""The kernel's keyring of the user, in which secrets are kept for a while, see keyrings(7) and keyctl(2).

Every process of the user can read them, in whichever session, until their time is over.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

# Of add_key and keyctl, by machine (os.uname()), of 64 bits: the C library has no functions for these calls.
_NUMBERS: Final = {
    "x86_64": (248, 250),
    "aarch64": (217, 219),
    "riscv64": (217, 219),
    "loongarch64": (217, 219),
    "ppc64le": (269, 271),
    "s390x": (278, 280),
}

_PROCESS_KEYRING: Final = -2
_USER_KEYRING: Final = -4

_SETPERM: Final = 5
_DESCRIBE: Final = 6
_LINK: Final = 8
_UNLINK: Final = 9
_SEARCH: Final = 10
_READ: Final = 11
_SET_TIMEOUT: Final = 15
_INVALIDATE: Final = 21

_RIGHTS: Final = 0x3F0B0000
"""All for who possesses it; to view, read and search for the user's other sessions, which do not possess it."""

_TYPE: Final = b"user"
_MAX_SIZE: Final = 32767
"""Bytes of a key, and of a list of keys that is looked at."""


def keep(name: str, secret: bytes, seconds: int) -> None:
    """Keep a secret for so many seconds, in place of what had that name.

    It enters the user's keyring when it has its time, and so never stays for good.

    Raises OSError where the kernel keeps no keys, or no more of them.
    """
    key = _add_key(name, secret)
    try:
        _keyctl(_SET_TIMEOUT, key, seconds)
        _keyctl(_SETPERM, key, _RIGHTS)
        _keyctl(_LINK, key, _USER_KEYRING)
    except OSError:
        _keyctl(_INVALIDATE, key)
        raise
    _keyctl(_UNLINK, key, _PROCESS_KEYRING)


def recall(name: str) -> bytes | None:
    """Return the secret of that name, None if there is none, or none any more, or the kernel keeps no keys."""
    try:
        return _read(_keyctl(_SEARCH, _USER_KEYRING, ctypes.c_char_p(_TYPE), ctypes.c_char_p(name.encode()), 0))
    except OSError:
        return None


def forget(prefix: str) -> int:
    """Forget all secrets whose names begin so, and return how many there were."""
    try:
        serials = _read(_USER_KEYRING)
    except OSError:
        return 0
    count = 0
    for start in range(0, len(serials), 4):
        key = int.from_bytes(serials[start : start + 4], sys.byteorder, signed=True)
        try:
            if _name_of(key).startswith(prefix):
                _forget(key)
                count += 1
        except OSError:  # it has ended in the meantime, or is none that may be looked at
            continue
    return count


def _forget(key: int) -> None:
    # What this process does not possess it may unlink, as the keyring is the user's, but not invalidate.
    try:
        _keyctl(_INVALIDATE, key)
    except PermissionError:
        _keyctl(_UNLINK, key, _USER_KEYRING)


def _name_of(key: int) -> str:
    """Return the name of a key, "" if it is none of ours by its type."""
    described = _filled(lambda buffer, size: _keyctl(_DESCRIBE, key, buffer, size)).rstrip(b"\0")
    fields = described.split(b";", 4)  # type;uid;gid;permissions;description
    return fields[4].decode(errors="replace") if len(fields) == 5 and fields[0] == _TYPE else ""


def _read(key: int) -> bytes:
    return _filled(lambda buffer, size: _keyctl(_READ, key, buffer, size))


def _filled(fill: Callable[[ctypes.Array[ctypes.c_char], int], int]) -> bytes:
    buffer = ctypes.create_string_buffer(_MAX_SIZE)
    try:
        size = min(fill(buffer, _MAX_SIZE), _MAX_SIZE)
        return ctypes.string_at(buffer, size)
    finally:
        ctypes.memset(buffer, 0, _MAX_SIZE)


def _add_key(name: str, secret: bytes) -> int:
    arguments = (ctypes.c_char_p(_TYPE), ctypes.c_char_p(name.encode()), ctypes.c_char_p(secret), len(secret))
    return _call(0, *arguments, _PROCESS_KEYRING)


def _keyctl(operation: int, *arguments: object) -> int:
    return _call(1, operation, *arguments)


def _call(which: int, *arguments: object) -> int:
    numbers = _NUMBERS.get(os.uname().machine)
    # A Python of 32 bits makes other calls on the same machine.
    if numbers is None or sys.maxsize < 1 << 32:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    widened = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = syscall(ctypes.c_long(numbers[which]), *widened)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
