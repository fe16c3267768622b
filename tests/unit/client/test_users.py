"""Which programs have a device open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sk_provider.client.users import users_of

HOLD = "import sys; held = open(sys.argv[1]); print(flush=True); sys.stdin.read()"


def test_another_process_is_named_and_ours_is_not(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.touch()
    link = tmp_path / "link"
    link.symlink_to(path)
    with (
        path.open(),
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder,
    ):
        assert holder.stdout is not None
        holder.stdout.readline()
        for name in (path, link):
            (user,) = users_of(str(name))
            assert user.number == holder.pid
            assert user.program == Path(f"/proc/{holder.pid}/comm").read_text().rstrip("\n")
        holder.communicate(timeout=60)
    assert users_of(str(path)) == []


def test_nobody_has_what_is_not_there(tmp_path: Path) -> None:
    assert users_of(os.fspath(tmp_path / "nothing")) == []
