"""What pysk_transport(7) says of the program that another package's transport runs in, seen by one in ssh-sk-helper."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from support.openssh import Person
from support.provider_tree import Tree

MODULE = """
import io, json, os, signal, subprocess, sys, _thread
from sk_provider.errors import DeviceNotFound


def discover(location):
    return []


def open(location, configuration, operation, *, may_create):
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        can_set_signals = True
    except ValueError:
        can_set_signals = False
    blocked = subprocess.run(["grep", "SigBlk", "/proc/self/status"], capture_output=True).stdout.split()[1]
    seen = {
        "location": location,
        "may_create": may_create,
        "executable": sys.executable,
        "isolated": sys.flags.isolated,
        "site": "site" in sys.modules,
        "paths": sys.path,
        "stdout is stderr": sys.stdout is sys.stderr,
        "streams": [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1)],
        "is main thread": _thread.get_native_id() == os.getpid(),
        "can set signals": can_set_signals,
        "blocked in a child": int(blocked, 16),
    }
    with io.open(os.path.dirname(__file__) + "/seen", "w") as file:
        json.dump(seen, file)
    operation.tell("wake the pigeon")
    raise DeviceNotFound("the pigeon sleeps", "wake it (pigeon-post)")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return packages of which one is another's, with the library beside it."""
    made = Tree(tmp_path / "tree")
    metadata = made.folder / "pigeon_post-1.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text("[sk_provider.transports]\npigeon = pigeon_post\n")
    (made.folder / "pigeon_post.py").write_text(MODULE)
    return made


def test_a_host_is_as_the_page_says(person: Person, tree: Tree) -> None:
    person.environment |= {"SSH_SK_PROVIDER": str(tree.library), "PYTHONPATH": "/pigeons"}
    done, _ = person.enroll("id", "ed25519-sk", "device=pigeon:~/a loft%20")
    assert done.status != 0
    lines = [line for line in done.errors.splitlines() if line.startswith("libpysk: ")]
    assert lines == ["libpysk: wake the pigeon", "libpysk: the pigeon sleeps; wake it (pigeon-post)"]
    seen = json.loads((tree.folder / "seen").read_text())
    assert "/pigeons" not in seen.pop("paths")
    assert seen.pop("blocked in a child") & 1 << signal.SIGPIPE - 1
    # It is "" or a program that is not there.
    assert not Path(seen.pop("executable")).is_file()
    assert seen == {
        # discover() has returned nothing, and it is the only address.
        "location": "~/a loft%20",
        "may_create": True,
        "isolated": 1,
        "site": False,
        "stdout is stderr": True,
        "streams": [os.devnull, os.devnull],
        "is main thread": False,
        "can set signals": False,
    }
