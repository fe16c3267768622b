"""libpysk and OpenSSH's built-in provider on the same USB HID token, which takes a virtual machine's kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from bench import sk_helper
from bench.measure import HERE, PATIENCE_S, BenchError, Row, Sample, environment, interleave
from support import vm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DELAYS_MS = (0, 5, 20, 50)
GROUP = "ssh-keygen -Y sign in the virtual machine, USB token"
_BUILT_IN = "built-in provider"
_BOOT_S = 300
_RUN_S = 20
_INSIDE = "import sys; sys.path.insert(0, sys.argv[1]); from bench import usb; usb.inside(*sys.argv[2:])"


def rows(shared: Path, library: Path, rounds: int, warm_up: int) -> list[Row]:
    """Boot the machine and return the rows with their samples.

    :param shared: a folder with the compiled programs token and launch, the token's answers, an sk key and its public
        half as key and key.pub, a document, and as data what ssh-keygen has the key sign for it.
    """
    (shared / "job").write_text(json.dumps([str(library), rounds, warm_up]))
    runs = 2 * len(DELAYS_MS) * (rounds + warm_up)
    command = [sys.executable, "-c", _INSIDE, str(HERE.parent), str(shared)]
    done = vm.run(command, shared, _BOOT_S + _RUN_S * runs)
    if done.returncode != 0:
        raise BenchError(f"measuring in the virtual machine failed: {done.stdout}{done.stderr}")
    measured = _rows(shared, library)
    told = json.loads((shared / "samples").read_text())
    for row in measured:
        row.samples = [Sample(*figures) for figures in told[row.name]]
    return measured


def _rows(shared: Path, library: Path) -> list[Row]:
    """Return two rows for each delay, unmeasured."""
    made: list[Row] = []

    def check(armoured: bytes) -> None:
        sk_helper.verify_armoured(armoured, shared / "key.pub", (shared / "data").read_bytes())

    for delay in DELAYS_MS:
        for name, provider in ((_BUILT_IN, "internal"), ("libpysk", str(library))):
            against = {} if name == _BUILT_IN else {f"{GROUP}: {_BUILT_IN}, {delay} ms": "built-in"}
            sent = (shared / "document").read_bytes()
            command: Sequence[str | Path] = ["ssh-keygen", "-q", "-Y", "sign", "-n", "bench", "-f", "/run/key"]
            variables = environment(Path("/root"), SSH_SK_PROVIDER=provider)
            full = f"{GROUP}: {name}, {delay} ms"
            made.append(Row(full, GROUP, command, variables, sent=sent, check=check, against=against))
    return made


def inside(shared_name: str) -> None:
    """In the machine, measure what the job says and write the samples down."""
    shared = Path(shared_name)
    library, rounds, warm_up = json.loads((shared / "job").read_text())
    # ssh-keygen takes no key that others can read, which all of what is shared may seem.
    key = Path("/run/key")
    key.touch(mode=0o600)
    key.write_bytes((shared / "key").read_bytes())
    key.with_name("key.pub").write_bytes((shared / "key.pub").read_bytes())
    all_rows = _rows(shared, Path(library))
    samples = {}
    for number, delay in enumerate(DELAYS_MS):
        pair = all_rows[2 * number : 2 * number + 2]
        command = [str(shared / "token"), str(shared / "answers"), str(delay), "uhid"]
        token = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            _wait_for_device(present=True)
            interleave(pair, rounds, warm_up, shared / "launch")
        finally:
            token.kill()
            token.wait()
        _wait_for_device(present=False)
        for row in pair:
            samples[row.name] = [(each.wall_ms, each.cpu_ms, each.peak_mib, each.faults) for each in row.samples]
    (shared / "samples").write_text(json.dumps(samples))


def _wait_for_device(*, present: bool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(Path("/dev").glob("hidraw*")) != present:
        if time.monotonic() > deadline:
            raise BenchError("the kernel made no device, or kept it")
        time.sleep(0.05)
