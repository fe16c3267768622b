"""What pysk devices says of authenticators that it cannot use, or where there are none."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from sk_provider import config
from sk_provider.cli.devices import devices
from sk_provider.client import description
from sk_provider.client.description import Description, User
from sk_provider.config import Configuration

RULE = 'KERNEL=="hidraw*", SUBSYSTEM=="hidraw", ATTRS{idVendor}=="1050", TAG+="uaccess"'


def run(monkeypatch: pytest.MonkeyPatch, *found: Description, arguments: tuple[str, ...] = ()) -> Result:
    monkeypatch.setattr(config, "load", Configuration)
    monkeypatch.setattr(description, "look", lambda *_: list(found))
    return CliRunner().invoke(devices, [*arguments])


def test_that_there_is_none_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Description("soft:", "soft", "not-made", "there is none", "make one")
    for found in ((), (absent,)):
        done = run(monkeypatch, *found)
        assert done.exit_code == 0
        assert done.stdout == "soft:  -  not-made  -  -  -\n" * len(found)
        assert done.stderr == (
            "pysk: there is no authenticator at any of usb:, nfc:, soft:, tpm:; plug one in, name another with Device "
            "in pysk_config, or make a software authenticator with: ssh-keygen -t ed25519-sk -O device=soft:\n"
        )
    assert json.loads(run(monkeypatch, arguments=("--json",)).stdout) == []


def test_a_rule_is_given_where_the_device_may_not_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Description("/dev/hidraw3", "usb", "forbidden", "/dev/hidraw3 may not be opened", "ask", udev_rule=RULE)
    done = run(monkeypatch, found)
    assert done.exit_code == 1
    assert done.stderr == (
        "pysk: /dev/hidraw3 may not be opened; ask; if they do not know it, write into "
        f"/etc/udev/rules.d/70-security-key.rules: {RULE}\n"
    )


def test_who_has_a_busy_one_open_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    users = [User(12, "brow\x1bser"), User(13, "")]
    found = Description("/dev/hidraw3", "usb", "busy", "it is busy", "wait", users=users, name="A Key")
    done = run(monkeypatch, found)
    assert (done.exit_code, done.stdout) == (1, "/dev/hidraw3  A Key  busy  -  -  -\n")
    assert done.stderr == "pysk: /dev/hidraw3: it is busy (brow?ser, process 12, a program, process 13); wait\n"


def test_why_one_that_is_ready_takes_no_pin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Description("tpm:", "tpm", "ready", "the TPM is locked", "wait", name="A TPM", pin="blocked")
    done = run(monkeypatch, found)
    assert (done.exit_code, done.stdout) == (0, "tpm:  A TPM  ready  -  -  blocked\n")
    assert done.stderr == "pysk: tpm: the TPM is locked; wait\n"


@pytest.mark.parametrize("status", description.ABSENT)
def test_what_is_not_there_is_a_failure_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    found = Description("unix:/a", "unix", status, "nobody listens", "start it")
    assert run(monkeypatch, found).exit_code == 0
    done = run(monkeypatch, found, arguments=("unix:/a",))
    assert (done.exit_code, done.stdout) == (1, f"unix:/a\n  status           {status}\n")
    assert done.stderr == "pysk: unix:/a: nobody listens; start it\n"


def test_nothing_that_a_token_says_steers_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "\x1b[2J\n\r\x07\u202e"
    found = Description(
        f"nfc:{hostile}", "nfc", name=hostile, product=hostile, versions=[hostile], extensions=[hostile],
        transports=[hostile], ecdsa_sk=True, resident_keys=False, pin="unsupported", built_in_verification="none",
    )  # fmt: skip
    for arguments in ((), ("nfc:",), ("--json",)):
        done = run(monkeypatch, found, arguments=arguments)
        assert done.exit_code == 0
        assert all(line.isprintable() for line in done.output.split("\n"))
    assert json.loads(done.stdout)[0]["name"] == hostile
