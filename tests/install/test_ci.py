""".ci/run on a checkout of somebody else, where the tests are run by root, whose `make test` is a short one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from typing import TYPE_CHECKING

from support.provider_tree import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

TESTS = "test:\n\t@echo CI is $(CI)\n\t@echo 1 passed in 0.01s\n"


def test_ci_runs_what_is_committed_in_a_checkout_of_somebody_else(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "tests").mkdir(parents=True)
    shutil.copytree(REPOSITORY / ".ci", checkout / ".ci")
    (checkout / "tests/setup").symlink_to("/bin/true")
    (checkout / "Makefile").write_text(TESTS)
    # No more than git itself knows of whom to trust.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    author = ("-c", "user.name=person", "-c", "user.email=person@localhost")
    for command in (("init",), ("add", "."), (*author, "commit", "--message", "All")):
        subprocess.run(
            ("git", *command), cwd=checkout, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60
        )
    (checkout / "Makefile").write_text("")
    if os.geteuid() == 0:
        for path in (checkout, *checkout.rglob("*")):
            os.chown(path, pwd.getpwnam("nobody").pw_uid, -1, follow_symlinks=False)
    done = subprocess.run(
        checkout / ".ci/run", cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["pytest said:", "1 passed in 0.01s"]
    assert "CI is true\n" in done.stdout
