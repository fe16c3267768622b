"""The memory of responses, of which nothing may be left after a failure, and what failures are told as."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import cffi
import pytest

from sk_provider.api import EnrollResponse, ResidentKey, SignResponse
from sk_provider.embed import _Allocations, _defect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Build = Callable[[_Allocations], object]

SK_API = Path(__file__).resolve().parents[2] / "cbuild/sk-api.h"


class Memory:
    """The C library's, and which of it is held; the allocation after so many as are allowed fails."""

    def __init__(self, ffi: Any, allowed: int | None = None) -> None:
        ffi.cdef("void *calloc(size_t, size_t); void free(void *);")
        self._ffi = ffi
        self._libc = ffi.dlopen(None)
        self._allowed = allowed
        self.held: list[Any] = []

    def calloc(self, count: int, size: int) -> Any:
        if self._allowed is not None and len(self.held) >= self._allowed:
            return self._ffi.NULL
        self.held.append(self._libc.calloc(count, size))
        return self.held[-1]

    def free(self, pointer: Any) -> None:
        self.held.remove(pointer)  # which fails for what is not held
        self._libc.free(pointer)


@pytest.fixture(params=[0x00040000, 0x00050000, 0x00070000, 0x00090000, 0x000A0000], ids=hex)
def major(request: pytest.FixtureRequest) -> int:
    chosen: int = request.param
    return chosen


@pytest.fixture
def ffi(major: int) -> Any:
    command = ["gcc", "-E", "-P", "-DPYSK_CDEF", f"-DPYSK_API_MAJOR={major:#010x}", str(SK_API)]
    ffi = cffi.FFI()
    ffi.cdef(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    return ffi


def enroll_response(certificate: Any = b"certificate") -> Build:
    response = EnrollResponse(1, b"public key", b"key handle", b"signature", certificate, b"data")
    return lambda allocations: allocations.enroll_response(response)


def sign_response(counter: int = 1, sig_s: Any = b"s") -> Build:
    response = SignResponse(1, counter, b"r", sig_s)
    return lambda allocations: allocations.sign_response(response)


def resident_keys(algorithm: int = 1, application: str = "ssh:", key_handle: Any = b"key handle") -> Build:
    keys = [
        ResidentKey(1, "ssh:", 0, b"key handle", b"public key", b"user"),
        ResidentKey(algorithm, application, 0, key_handle, b"public key", b"user"),
    ]
    return lambda allocations: allocations.resident_keys(keys)


@pytest.mark.parametrize("build", [enroll_response(), sign_response(), resident_keys()])
def test_a_whole_response_is_the_hosts(ffi: Any, major: int, build: Build) -> None:
    memory = Memory(ffi)
    with _Allocations(ffi, memory, major) as allocations:
        assert build(allocations) in memory.held
    assert len(memory.held) >= 3


@pytest.mark.parametrize(
    ("build", "exception"),
    [
        (enroll_response(certificate="text"), TypeError),
        (sign_response(counter=1 << 32), OverflowError),
        (sign_response(sig_s="text"), TypeError),
        (resident_keys(algorithm=-1), OverflowError),
        (resident_keys(application="ssh:\udc80"), UnicodeEncodeError),
        (resident_keys(key_handle="text"), TypeError),
    ],
)
def test_of_a_response_that_cannot_be_told_nothing_is_left(
    ffi: Any, major: int, build: Build, exception: type[Exception]
) -> None:
    memory = Memory(ffi)
    with pytest.raises(exception), _Allocations(ffi, memory, major) as allocations:
        build(allocations)
    assert memory.held == []


@pytest.mark.parametrize("build", [enroll_response(), sign_response(), resident_keys()])
@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_of_a_response_that_there_is_no_memory_for_nothing_is_left(
    ffi: Any, major: int, build: Build, allowed: int
) -> None:
    memory = Memory(ffi, allowed)
    with pytest.raises(MemoryError), _Allocations(ffi, memory, major) as allocations:
        build(allocations)
    assert memory.held == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_no_more_files_are_no_bug_of_ours(number: int) -> None:
    assert "ulimit -n" in str(_defect(OSError(number, os.strerror(number))))
    assert "as a bug" in str(_defect(OSError(errno.EIO, os.strerror(errno.EIO))))
