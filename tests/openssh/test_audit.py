"""The record of what real programs did."""

from __future__ import annotations

import hashlib
import re

from support.openssh import PIN, USER_PRESENT, USER_VERIFIED, KeyFile, Person, assert_signs
from support.system_log import SystemLog

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
