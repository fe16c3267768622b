"""pysk devices and USB tokens: equal ones, one that may not be opened, and one that another program has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from support.openssh import Person, assert_signs
from support.serve import serve

from sk_provider.client import description
from sk_provider.client.description import look
from sk_provider.config import Configuration
from sk_provider.operation import Operation

NOBODY = 65534
LOCK = """
import fcntl, sys
device = open(sys.argv[1], "rb")
fcntl.flock(device, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def operation() -> Operation:
    return Operation(60, tell=lambda _: None)


def test_equal_tokens_are_told_apart_by_what_ssh_takes_for_each(person: Person) -> None:
    with serve("uhid:") as first, serve("uhid:") as second:
        paths = [first.names[0], second.names[0]]
        done = subprocess.run(
            [person.pysk, "devices", "--json"], env=person.environment, check=True, capture_output=True, timeout=60
        )
        found = [each for each in json.loads(done.stdout) if each["transport"] == "usb"]
        assert [each["address"] for each in found] == sorted(paths, key=lambda path: (len(path), path))
        assert {each["status"] for each in found} == {"ready"}
        assert {each["name"] for each in found} == {"pysk software authenticator"}
        assert found[0]["product"] == found[1]["product"] != ""
        for number, path in enumerate(paths):
            enrolling, key = person.enroll(f"id{number}", "ed25519-sk", f"device={path}")
            assert enrolling.status == 0, enrolling
            assert_signs(person, key)


def test_a_device_that_may_not_be_opened_comes_with_the_rule_that_helps(token: str) -> None:
    os.chmod(token, 0o600)
    os.seteuid(NOBODY)
    try:
        (found,) = look([token], Configuration(), operation())
    finally:
        os.seteuid(0)
    assert (found.status, found.problem) == ("forbidden", f"{token} may not be opened")
    assert found.product
    assert found.udev_rule is not None
    assert re.fullmatch(
        r'KERNEL=="hidraw\*", SUBSYSTEM=="hidraw", ATTRS\{idVendor\}=="[0-9a-f]{4}", '
        r'ATTRS\{idProduct\}=="[0-9a-f]{4}", TAG\+="uaccess", GROUP="plugdev", MODE="0660"',
        found.udev_rule,
    )


def test_the_program_that_has_a_device_is_named(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "PROBE_PATIENCE", 1)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", LOCK, token], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (found,) = look([token], Configuration(), operation())
        other.communicate(timeout=60)
    assert found.status == "busy"
    assert [user.pid for user in found.users] == [other.pid]
    (found,) = look([token], Configuration(), operation())
    assert found.status == "ready"
