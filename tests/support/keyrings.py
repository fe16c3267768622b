"""The kernel's keyrings, as tests have them: who uses the user's, and what a process does first to see others."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# It begins a session of its own.
ANOTHER_SESSION = "import ctypes; from sk_provider.asking import keyring as k; k._keyctl(1, ctypes.c_char_p(None))"
# It is somebody else.
ANOTHER_USER = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)"
# It has no keyrings, as in a container that forbids them.
NO_KEYRINGS = """
import ctypes, struct
from sk_provider.asking import keyring as k
import os
numbers = k._NUMBERS[os.uname().machine]
# Each of the two calls fails with ENOSYS, as in a container that forbids them (seccomp(2)).
program = struct.pack("HBBI", 0x20, 0, 0, 0)
program += b"".join(struct.pack("HBBI", 0x15, 0, 1, n) + struct.pack("HBBI", 0x06, 0, 0, 0x50000 | 38) for n in numbers)
program += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0
"""


@contextmanager
def alone() -> Iterator[None]:
    """Keep what other processes test from the user's keyring, which is one for all of them, whatever their folders."""
    path = Path(tempfile.gettempdir()) / f"pysk-tests-keyring-{os.getuid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
