"""What pysk doctor prints as a whole: where nothing is to be done, where a check fails, and with little around it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path

from support.doctor import Account
from support.provider_tree import Tree


def write(library: Path) -> str:
    return f"mkdir -p -m 700 ~/.ssh && printf 'Host *\\n    SecurityKeyProvider {library}\\n' >>~/.ssh/config"


def test_nothing_is_to_be_done_for_a_healthy_account(account: Account, tree: Tree) -> None:
    done = account.doctor()
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[-1] == "nothing to do"
    assert [line for line in lines[:-1] if not line.startswith("  ")] == []
    assert done.returncode == 0
    assert {each["subject"] for each in json.loads(account.doctor("--json").stdout)} == {
        "account", "programs", "library", "agent", "ssh", "devices", "pysk_config", "Python", "keys",
    }  # fmt: skip


def test_what_is_to_be_done_ends_a_line_and_makes_the_status_1(account: Account, tree: Tree) -> None:
    account.configure_ssh()
    done = account.doctor()
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    assert lines == [
        f"! ssh: SecurityKeyProvider is internal, OpenSSH's built-in provider, not libpysk; run: {write(tree.library)}"
    ]


def test_the_setting_that_is_told_is_made_where_there_is_no_folder_for_it(account: Account, tmp_path: Path) -> None:
    account.configure_ssh()
    ((_, _, remedy),) = account.to_do()
    home = tmp_path / "home"
    home.mkdir()
    command = remedy.removeprefix("run: ")
    subprocess.run(["sh", "-c", command], env={"HOME": str(home), "PATH": os.defpath}, check=True, timeout=60)
    assert (home / ".ssh").stat().st_mode & 0o777 == 0o700
    assert (home / ".ssh/config").read_text() == f"Host *\n    SecurityKeyProvider {account.provider}\n"


def test_a_check_that_fails_is_a_finding_and_keeps_nobody_from_the_others(account: Account, tree: Tree) -> None:
    tree.append("doctor/agent.py", "def check(account):\n    yield Finding(SUBJECT, 'begun')\n    print(1 / 0)\n")
    whole = {each["subject"]: each for each in json.loads(account.doctor("--json").stdout)}
    assert whole["agent"]["seen"].startswith("this check failed (ZeroDivisionError at agent.py:")
    assert whole["agent"]["remedy"].startswith("report it as a bug of libpysk")
    assert "'begun'" in repr([each["seen"] for each in json.loads(account.doctor("--json").stdout)])
    assert {"programs", "library", "ssh", "Python"} <= whole.keys()


def test_whose_account_it_is_is_told(account: Account) -> None:
    seen = [each.seen for each in account.findings(variables={"SUDO_USER": "alice"}) if each.subject == "account"]
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert seen[:2] == [
        f"{'root' if os.geteuid() == 0 else f'user {os.geteuid()}'} is examined, with the home directory {home}",
        f"HOME is {account.folder}, but ssh and libpysk read ~/.ssh in {home}",
    ]
    if os.geteuid() == 0:
        assert seen[2:] == ["to examine the account of alice, run pysk doctor without sudo"]


def test_it_does_without_ssh_git_and_a_terminal(account: Account) -> None:
    empty = account.folder / "empty"
    empty.mkdir()
    assert account.to_do(variables={"PATH": str(empty), "HOME": None, "LANG": None}) == [
        (
            "programs",
            "ssh, ssh-keygen, ssh-add and ssh-agent are not on PATH",
            "install OpenSSH's client (Debian: sudo apt-get install openssh-client)",
        )
    ]
    done = subprocess.run(
        ["setsid", "--wait", "sh", "-c", f"{account.pysk} doctor <&- 2>&- >out"],
        env=account.environment, cwd=account.folder, check=False, timeout=60,
    )  # fmt: skip
    assert (account.folder / "out").read_text().splitlines()[-1] == "nothing to do"
    assert done.returncode == 0
