"""The record of what real programs did."""

from __future__ import annotations

import getpass
import hashlib
import re
import runpy
import signal
import subprocess
import syslog
from pathlib import Path

import pytest
from bench.sk_helper import HELPER
from support.demo import Shell
from support.openssh import PIN, USER_PRESENT, USER_VERIFIED, KeyFile, Person, assert_signs, version
from support.provider_tree import REPOSITORY
from support.system_log import SystemLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = re.compile(
    r'time=\S+ operation=(\S+) purpose=(-|"[^"]*") application=(-|"[^"]*") key=(\S+) device="([^"]*)" '
    r"aaguid=([0-9a-f]{32}|-) flags=(\S+) counter=(\S+) outcome=(\S+)"
)


def test_each_operation_is_a_line_of_the_log(person: Person, kind: str) -> None:
    log = SystemLog(person.folder)
    person.environment |= log.variables
    person.configure("Presence auto", "AuditLog syslog")
    person.set_pin(PIN)
    _, key = person.enroll("id", kind)
    assert_signs(person, key)
    _, strict = person.enroll("strict", kind, "verify-required")
    done, signature = person.sign(strict, answers=[("Enter PIN", PIN)])
    assert (done.status, signature.exists()) == (0, True)
    person.run("ssh-keygen", "-K", answers=[("Enter PIN", PIN)])
    lines = [LINE.fullmatch(line.removeprefix("libpysk: ")) for line in log.lines()]
    assert None not in lines
    seen = [match.groups() for match in lines if match is not None]
    keys = [hashlib.sha256(KeyFile(path).key_handle).hexdigest()[:16] for path in (key, strict)]
    assert [(*each[:4], each[8]) for each in seen] == [
        ("enroll", "-", '"ssh:"', keys[0], "ok"),
        ("sign", '"file signature"', '"ssh:"', keys[0], "ok"),
        ("enroll", "-", '"ssh:"', keys[1], "ok"),
        ("sign", '"file signature"', '"ssh:"', keys[1], "ok"),
        ("list", "-", "-", "-", "ok"),
    ]
    assert {each[4] for each in seen} == {f"soft:{person.store}"}
    assert len({each[5] for each in seen}) == 1
    assert [each[6] for each in seen[1:4:2]] == [f"{USER_PRESENT:#04x}", f"{USER_PRESENT | USER_VERIFIED:#04x}"]
    assert PIN not in "".join(log.lines())
    # No failure, so that nobody is alarmed.
    assert {priority for priority, _ in log.entries()} == {syslog.LOG_AUTHPRIV | syslog.LOG_INFO}


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    """Have a program that is run here leave no handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_log_of_the_whole_demo_has_a_line_for_each_of_its_operations(tmp_path: Path, signal_handlers: None) -> None:
    log = SystemLog(tmp_path)
    helper = tmp_path / "helper"
    keys: list[str] = []
    hosts: list[str] = []
    people: list[Person] = []

    class Recorded(Person):
        """Whoever shows the demo, whose helpers all write to that log."""

        def __init__(self, folder: Path, provider: Path) -> None:
            super().__init__(folder, provider, ("Presence auto", "AuditLog syslog"))
            program = self.environment.get("SSH_SK_HELPER", HELPER)
            helper.write_text(f'#!/bin/sh\nLD_PRELOAD={log.variables["LD_PRELOAD"]} exec {program} "$@"\n')
            helper.chmod(0o700)
            self.environment["SSH_SK_HELPER"] = str(helper)
            people.append(self)

    class Watched(Shell):
        """Commands of the demo, which removes the keys in the end."""

        def run(self, *command: str, source: Path | None = None, has_terminal: bool = True) -> None:
            (person,) = people
            if command[0] == "rm":
                handles = [KeyFile(person.folder / name).key_handle for name in command[1:]]
                keys.extend(hashlib.sha256(handle).hexdigest()[:16] for handle in handles)
                listed = subprocess.run(
                    ["ssh-keygen", "-l", "-f", person.folder / "sshd/host_key.pub"],
                    env=person.environment, capture_output=True, text=True, check=True, timeout=60,
                )  # fmt: skip
                hosts.append(listed.stdout.split()[1])
            super().run(*command, source=source, has_terminal=has_terminal)

    demo = runpy.run_path(str(REPOSITORY / "tests/demo"))
    demo["main"].__globals__.update(Person=Recorded, Shell=Watched)
    demo["main"]()

    lines = [LINE.fullmatch(line.removeprefix("libpysk: ")) for line in log.lines()]
    seen = [match.groups() for match in lines if match is not None]
    assert len(seen) == len(lines)
    (host,) = hosts
    at_host = f" at {host}" if version() >= (8, 9) else ""
    logins = [("sign", f'"login as {getpass.getuser()}{at_host}"', '"ssh:"', key, "ok") for key in 2 * keys]
    assert [(*line[:4], line[8]) for line in seen] == [
        ("enroll", "-", '"ssh:"', keys[0], "ok"),
        ("enroll", "-", '"ssh:"', keys[1], "ok"),
        ("sign", '"file signature"', '"ssh:"', keys[0], "ok"),
        *logins,
    ]
    (person,) = people
    assert {line[4] for line in seen} == {f"soft:{person.store}"}
    assert [line[6] for line in seen[2:]] == [f"{USER_PRESENT:#04x}"] * 5
    assert [line[7] for line in seen[:2]] == ["-", "-"]
    assert all(line[7].isdecimal() for line in seen[2:])
