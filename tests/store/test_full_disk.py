from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Runs in mount and user namespaces of its own, on a disk of 64 KiB. It is a script, for the test's own process cannot
# enter them.
PROGRAM = """
import os, sys
from sk_provider.authenticator.engine import Authenticator
from sk_provider.authenticator.store import Store
from sk_provider.ctap.cbor import encode
from sk_provider.errors import StoreUnusable

folder = sys.argv[1]

def fill():
    with open(folder + "/ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(256))
        except OSError:
            pass

def expect_full(call):
    try:
        call()
    except StoreUnusable as error:
        assert "No space left on device" in str(error), error
    else:
        raise SystemExit("there was room")

store = Store.create(folder + "/store")
token = Authenticator(store, lambda request, event: 0)
request = b"\\1" + encode({
    1: bytes(32), 2: {"id": "ssh:"}, 3: {"id": b"u" * 64, "name": "n" * 5000},
    4: [{"type": "public-key", "alg": -8}], 7: {"rk": True},
})
fill()
before = store.read().to_bytes()
expect_full(lambda: token.call(0x10, request))
assert store.read().to_bytes() == before
assert sorted(os.listdir(folder + "/store")) == ["lock", "state"]
expect_full(lambda: Store.create(folder + "/other"))
assert Store.find(folder + "/other") is None
os.unlink(folder + "/ballast")
assert token.call(0x10, request)[0] == 0
assert len(store.read().credentials) == 1
Store.create(folder + "/other")

# And when it fills up little by little, no credential is lost.
names = 0
while True:
    try:
        answer = token.call(0x10, request.replace(b"u" * 64, b"%064d" % names))
    except StoreUnusable:
        break
    assert answer[0] == 0
    names += 1
assert len(store.read().credentials) == names + 1
assert sorted(os.listdir(folder + "/store")) == ["lock", "state"]
"""


def test_a_full_disk_is_reported_and_nothing_is_lost(tmp_path: os.PathLike[str]) -> None:
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    script = f'mount -t tmpfs -o size=64k,mode=700 none "{tmp_path}" && exec "$@"'
    command = [*unshare, "sh", "-c", script, "sh", sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.fail(f"this system lets nobody mount a small disk: {done.stderr}")
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: os.PathLike[str]) -> None:
    program = """
import os, sys
from sk_provider.authenticator.store import Store
from sk_provider.errors import StoreUnusable
folder = sys.argv[1]
store = Store.open(folder + "/store")
assert store.read().counter == 0
for call in (lambda: store.transaction().__enter__(), lambda: Store.create(folder + "/other")):
    try:
        call()
    except StoreUnusable as error:
        assert "Read-only file system" in str(error), error
    else:
        raise SystemExit("was written")
"""
    from sk_provider.authenticator.store import Store

    Store.create(f"{os.fspath(tmp_path)}/store")
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    script = f'mount --bind "{tmp_path}" "{tmp_path}" && mount -o remount,bind,ro "{tmp_path}" && exec "$@"'
    command = [*unshare, "sh", "-c", script, "sh", sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
