"""A TPM's device that none but one program can have, and what is asked of the TSS beside the host's environment.

The device is a terminal of which only one program may have it open, as of /dev/tpm0; swtpm is behind it.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import termios
import threading
import tty
from pathlib import Path

import pytest
from support.swtpm import HEADER, Manager, Swtpm, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Such a terminal is open to whoever has CAP_SYS_ADMIN.
UNPRIVILEGED = ["setpriv", "--bounding-set=-sys_admin"] if os.geteuid() == 0 else []
TIMEOUT = 60

CONNECTING = """
import sys
from sk_provider.errors import SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.tpm.tss import Tpm
from sk_provider.transports.tpm import _check_device

class Noted(Operation):
    has_waited = False

    def wait_for_others(self, since):
        if not self.has_waited:
            self.has_waited = True
            print("waits", flush=True)
        super().wait_for_others(since)

def is_interrupted():
    return operation.has_waited and sys.argv[3] == "interrupted"

operation = Noted(int(sys.argv[2]), is_interrupted, lambda sentence: None)
tpm = Tpm(sys.argv[1], operation, is_shared=False)
try:
    _check_device(sys.argv[1].partition(":")[2])
    print(len(tpm.primary_name()))
    tpm.close()
except SecurityKeyError as error:
    print(error)
"""

CHECKING = """
from sk_provider.errors import SecurityKeyError
from sk_provider.transports.tpm import _check_device

try:
    _check_device({device!r})
except SecurityKeyError as error:
    print(error)
"""

GIVING_UP = """
import _thread, os, subprocess, sys, time
from sk_provider.errors import SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.tpm import tss

tss.PATIENCE = 0.5
try:
    tss.Tpm(sys.argv[1], Operation(30), is_shared=False).primary_name()
except SecurityKeyError as error:
    print(error.happened)
print(subprocess.run(["printenv", "TSS2_LOG"], capture_output=True, text=True, check=False).stdout.strip(), flush=True)
os.close(1)
while _thread._count():
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def swtpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with Swtpm(tmp_path_factory.mktemp("tpm")) as tpm:
        yield tpm


@pytest.fixture
def device(swtpm: Swtpm) -> Iterator[int]:
    """The descriptor of a terminal that the TPM is behind."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    ended, end = os.pipe()

    def serve() -> None:
        while True:
            readable, _, _ = select.select([ours, ended], [], [])
            if ended in readable:
                return
            command = os.read(ours, HEADER.size)
            while len(command) < HEADER.size or len(command) < HEADER.unpack_from(command)[1]:
                command += os.read(ours, 4096)
            os.write(ours, swtpm.send(command))

    thread = threading.Thread(target=serve)
    thread.start()
    yield theirs
    os.write(end, b"\0")
    thread.join()
    for descriptor in (ours, theirs, ended, end):
        os.close(descriptor)


def connecting(device: int, seconds: int, how: str = "") -> subprocess.Popen[str]:
    """Start what connects to a device, which waits for others for no longer than so many seconds."""
    return subprocess.Popen(
        [*UNPRIVILEGED, sys.executable, "-c", CONNECTING, f"device:{os.ttyname(device)}", str(seconds), how],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_device_that_another_program_has_is_waited_for(device: int) -> None:
    fcntl.ioctl(device, termios.TIOCEXCL)
    process = connecting(device, 30)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    fcntl.ioctl(device, termios.TIOCNXCL)
    assert process.communicate(timeout=TIMEOUT)[0] == "34\n"


@pytest.mark.parametrize(
    ("seconds", "how", "said"),
    [
        (1, "", "the authenticator is busy with another"),
        (30, "interrupted", "the operation was interrupted;"),
    ],
)
def test_a_device_that_another_program_keeps_is_told(device: int, seconds: int, how: str, said: str) -> None:
    fcntl.ioctl(device, termios.TIOCEXCL)
    lines = connecting(device, seconds, how).communicate(timeout=TIMEOUT)[0].splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(said)


def test_whoever_may_not_use_a_device_that_is_no_resource_managers_is_led_to_that(tmp_path: Path) -> None:
    device = tmp_path / "tpm0"
    device.touch(0)
    script = CHECKING.format(device=str(device))
    nobody = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run([*nobody, sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"this account may not use the TPM ({device}); "
        "name /dev/tpmrm0 in its place, which is for accounts in the group tss\n"
    )


@pytest.mark.parametrize("before", ["", "all+ERROR"])
def test_a_tpm_that_does_not_answer_leaves_the_environment_of_the_host_as_it_was(swtpm: Swtpm, before: str) -> None:
    """What it says in the end, when nobody waits for it any more, is not for anybody's stderr either."""
    is_given_up = threading.Event()

    def wait(_: bytes) -> bytes:
        assert is_given_up.wait(TIMEOUT)
        return failure(0x101)

    with Manager(swtpm) as manager:
        manager.answer = wait
        process = subprocess.Popen(
            [sys.executable, "-c", GIVING_UP, manager.tcti],
            env=os.environ | ({"TSS2_LOG": before} if before else {}),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
        is_given_up.set()
        assert process.communicate(timeout=TIMEOUT)[1] == ""
    assert said == ["the TPM does not answer", before]
