from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from support.keyrings import ANOTHER_SESSION, ANOTHER_USER, NO_KEYRINGS

from sk_provider.asking import keyring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = b"1234\0more"
LONG = 600
"""Seconds that no test lasts."""


@pytest.fixture
def name() -> Iterator[str]:
    own = f"pysk:test:{os.getpid()}:{time.monotonic_ns()}"
    yield own
    keyring.forget(own)


def elsewhere(first: str, code: str) -> str:
    """Return what code prints in a process that has done something first."""
    code = f"{first}\nfrom sk_provider.asking import keyring\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_what_is_kept_is_found_under_its_name_alone(name: str) -> None:
    keyring.keep(name, SECRET, LONG)
    assert keyring.recall(name) == SECRET
    assert keyring.recall(f"{name}:other") is None


def test_what_is_kept_later_takes_the_place(name: str) -> None:
    keyring.keep(name, b"before", LONG)
    keyring.keep(name, SECRET, LONG)
    assert keyring.recall(name) == SECRET
    assert keyring.forget(name) == 1


def test_it_is_gone_when_its_time_is_over(name: str) -> None:
    keyring.keep(name, SECRET, 1)
    ends = time.monotonic() + 60
    while keyring.recall(name) is not None:
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.parametrize("first", ["", ANOTHER_SESSION], ids=["process", "session"])
def test_the_users_other_sessions_find_it_and_can_forget_it(name: str, first: str) -> None:
    keyring.keep(name, SECRET, LONG)
    assert elsewhere(first, f"print(keyring.recall({name!r}))") == repr(SECRET)
    assert elsewhere(first, f"print(keyring.forget({name!r}), keyring.recall({name!r}))") == "1 None"
    assert keyring.recall(name) is None


def test_another_user_does_not_find_it(name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    keyring.keep(name, SECRET, LONG)
    found = f"print(keyring.recall({name!r}), keyring.forget({name!r}))"
    assert elsewhere(f"from sk_provider.asking import keyring\n{ANOTHER_USER}", found) == "None 0"
    assert keyring.recall(name) == SECRET


def test_only_what_begins_so_is_forgotten(name: str) -> None:
    for part in ("a", "b"):
        keyring.keep(f"{name}:{part}", SECRET, LONG)
    assert keyring.forget(f"{name}:a") == 1
    assert keyring.recall(f"{name}:b") == SECRET


def test_too_many_are_an_error(name: str) -> None:
    code = f"""
names = [f"{name}:{{number}}" for number in range(10_000)]
try:
    for each in names:
        keyring.keep(each, bytes(1000), {LONG})
except OSError as error:
    print(error.errno == 122)  # EDQUOT
print(keyring.forget({name!r}) > 0)
"""
    first = ANOTHER_USER if os.geteuid() == 0 else ""
    assert elsewhere(f"from sk_provider.asking import keyring\n{first}", code).split() == ["True", "True"]


def test_a_kernel_without_keyrings_keeps_nothing_and_says_so() -> None:
    code = """
import errno
try:
    keyring.keep("pysk:test", b"secret", 600)
except OSError as error:
    print(errno.errorcode[error.errno])
print(keyring.recall("pysk:test"), keyring.forget("pysk:test"))
"""
    assert elsewhere(NO_KEYRINGS, code).split() == ["ENOSYS", "None", "0"]


def test_the_same_is_so_on_a_machine_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_NUMBERS", {})
    with pytest.raises(OSError, match="not implemented"):
        keyring.keep("pysk:test", SECRET, LONG)
    assert keyring.recall("pysk:test") is None
