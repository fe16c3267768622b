"""The provider on a real /dev/hidraw, with one token or several; it takes turns with OpenSSH's built-in provider."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import tempfile
import threading
from contextlib import closing, contextmanager

import pytest
from support import side_by_side
from support.openssh import (
    PIN,
    PIN_PROMPT,
    RESIDENT,
    WRONG_PIN,
    KeyFile,
    Person,
    asks_to_choose,
    assert_signs,
    enrolled,
    provider_lines,
    sign_at_once,
)
from support.processes import in_time
from support.serve import serve, wait_until

from sk_provider.config import Configuration
from sk_provider.credentials import sealing
from sk_provider.ctap import framing
from sk_provider.operation import Operation
from sk_provider.transports import usb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from support.serve import Served

NOBODY = 65534

TIMEOUT_S = 2
WAITING = "libpysk: another program is using the authenticator; waiting for it"

# Rows of tests/hardware/side-by-side: one in which each profile is told apart from the others, and, on the profile with
# the oldest way to list keys, what else there is to do with them, for which one preparation serves.
TELLING = [
    ("u2f", "enroll ecdsa"),
    ("fido2.0", "enroll, PIN set"),
    ("fido2.1-pre", "-K"),
    ("fido2.1-pre", "overwrite"),
    ("fido2.1-pre", "ssh-add -K"),
    ("fido2.1-pre", "two tokens: -K"),
    ("fido2.1", "resident, wrong PIN"),
    ("uv", "verify-required, no PIN"),
    ("always-uv", "sign, PIN set"),
    ("pin-for-create", "enroll, PIN set"),
    ("es256-only", "enroll ed25519"),
    ("es256-only", "resident ed25519"),
    ("no-algorithms-field", "enroll ed25519"),
    ("credential-omitted", "sign ecdsa"),
    ("small", "resident, no room"),
    ("slow", "enroll ecdsa"),
    ("bad-signature", "enroll ecdsa"),
    ("dies-after:8", "enroll ecdsa"),
    ("garbage", "enroll ecdsa"),
    ("stuck", "enroll ecdsa"),
]


@contextmanager
def plugged(person: Person, *options: str, presence: str = "auto") -> Iterator[Served]:
    """Plug in a token, which keeps its keys in the person's store."""
    with serve("--store", str(person.store), *options, "uhid:", presence=presence) as served:
        yield served
        path = served.names[0]
        served.end()
        wait_until(lambda: not os.path.exists(path), "the unplugging")


@pytest.mark.parametrize("kind", ["ed25519-sk", "ecdsa-sk"])
def test_a_token_that_is_plugged_in_enrolls_and_signs(person: Person, kind: str) -> None:
    with plugged(person):
        assert_signs(person, enrolled(person, kind))


def test_a_token_wants_its_pin_and_lists_and_overwrites_its_keys(person: Person) -> None:
    with plugged(person):
        person.set_pin(PIN)
        options = ("resident", "verify-required")
        done, first = person.enroll("first", "ed25519-sk", *options, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        overwritten = [(PIN_PROMPT, PIN), ("Overwrite key in token", "y")]
        done, second = person.enroll("second", "ed25519-sk", *options, answers=overwritten)
        assert done.status == 0, done
        done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        loaded = KeyFile(person.folder / "id_ed25519_sk_rk")
        assert loaded.public.blob == KeyFile(second).public.blob != KeyFile(first).public.blob
        assert loaded.flags & RESIDENT
        done, _ = person.sign(second, answers=[(PIN_PROMPT, WRONG_PIN)])
        assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]
        assert_signs(person, second, answers=((PIN_PROMPT, PIN),))


@pytest.fixture
def other(tmp_path: Path, provider: Path) -> Person:
    """Somebody else, whose token may be plugged in as well."""
    (tmp_path / "other").mkdir()
    return Person(tmp_path / "other", provider)


def test_the_token_that_holds_the_key_signs(person: Person, other: Person) -> None:
    with plugged(person):
        key = enrolled(person)
        with plugged(other, presence="deny"):
            assert_signs(person, key)
    with plugged(other, presence="deny"), plugged(person):
        assert_signs(person, key)


def test_a_token_is_chosen_by_touch(person: Person, other: Person) -> None:
    with plugged(other, presence="after:600000"), plugged(person, presence="after:500"):
        done, key = person.enroll("id", "ed25519-sk")
        assert done.status == 0, done
        (line,) = provider_lines(done.errors)
        assert asks_to_choose(line, 2)
    with plugged(person):
        assert_signs(person, key)


def is_locked(device: int) -> bool:
    """Whether another program has locked a device that is open here."""
    try:
        fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(device, fcntl.LOCK_UN)
    return False


def test_a_token_that_is_unplugged_in_the_middle_is_told_and_the_next_operation_works(person: Person) -> None:
    with plugged(person):
        key = enrolled(person)
    document = person.folder / "document"
    document.write_bytes(b"a message")
    with serve("--store", str(person.store), "uhid:", presence="after:600000") as served:
        path = served.names[0]
        device = os.open(path, os.O_RDWR)
        try:
            process = subprocess.Popen(
                ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, document],
                env=person.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                start_new_session=True,
            )  # fmt: skip
            wait_until(lambda: is_locked(device), "the opening of the device")
            served.process.kill()
            _, said = process.communicate(timeout=60)
        finally:
            os.close(device)
    assert process.returncode != 0
    (line,) = provider_lines(said)
    assert line.startswith("libpysk: the authenticator was unplugged")
    wait_until(lambda: not os.path.exists(path), "the unplugging")
    with plugged(person):
        assert_signs(person, key)


def test_a_token_that_another_program_holds_is_told_and_used_when_it_is_free(person: Person) -> None:
    with plugged(person) as served:
        key = enrolled(person)
        device = os.open(served.names[0], os.O_RDWR)
        try:
            fcntl.flock(device, fcntl.LOCK_EX)
            person.config.write_text(f"Timeout {TIMEOUT_S}\n")
            done, _ = in_time(TIMEOUT_S, lambda: person.sign(key))
        finally:
            os.close(device)
        assert done.status != 0
        assert provider_lines(done.errors) == [
            WAITING,
            "libpysk: the authenticator is busy with another program; end that, or try again when it is done",
        ]
        assert_signs(person, key)


def test_what_others_were_sent_while_they_were_waited_for_takes_no_room(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usb, "HidChannel", lambda reports, _operation: reports)
    is_waiting = threading.Event()
    operation = Operation(60, tell=lambda _: is_waiting.set())
    opened: list[Any] = []
    init = framing.split_message(framing.BROADCAST_CHANNEL, framing.INIT, bytes(8))[0]
    with plugged(person) as served:
        path = served.names[0]
        device = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(device, fcntl.LOCK_EX)
            thread = threading.Thread(
                target=lambda: opened.append(usb.open(path, Configuration(), operation, may_create=False))
            )
            thread.start()
            assert is_waiting.wait(60)
            for _ in range(2 * usb._REPORTS_KEPT):
                os.write(device, b"\0" + init)
                os.read(device, framing.REPORT_SIZE)
        finally:
            os.close(device)
        thread.join(60)
        with closing(opened[0]) as reports:
            assert reports.receive(0) is None


def test_programs_that_sign_at_the_same_time_take_turns(person: Person) -> None:
    with plugged(person):
        key = enrolled(person)
    with plugged(person, presence="after:1500"):
        assert set(sign_at_once(person, key, 4)) == {WAITING}


def test_a_token_that_may_not_be_opened_is_told_with_what_to_install(person: Person) -> None:
    user = person.provider.stat().st_uid or NOBODY  # somebody other than root
    for folder_above in person.provider.parents:  # what the guest changes is dropped with it
        folder_above.chmod(folder_above.stat().st_mode | 0o055)
    with plugged(person) as served, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chown(folder, user, -1)
        os.chmod(served.names[0], 0o600)
        done = subprocess.run(
            ["ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", f"{folder}/id"],
            env={"PATH": os.defpath, "SSH_SK_PROVIDER": str(person.provider)}, user=user, cwd=folder, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, start_new_session=True,
        )  # fmt: skip
    assert done.returncode != 0
    (line,) = provider_lines(done.stderr)
    assert line.startswith(f"libpysk: {served.names[0]} may not be opened; install your distribution's udev rules")


@pytest.fixture(scope="module")
def bench(provider: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], side_by_side.Bench]:
    """Returns a profile's bench, the same for all of its rows."""
    return functools.cache(lambda profile: side_by_side.Bench(tmp_path_factory.mktemp("bench"), provider, profile))


@pytest.mark.parametrize(("profile", "name"), TELLING)
def test_it_is_no_worse_than_the_built_in_provider(
    bench: Callable[[str], side_by_side.Bench], profile: str, name: str
) -> None:
    row = side_by_side.ROWS[name]
    compared = bench(profile).compare(row)
    assert compared is not None
    internal, ours = compared
    mark, why = side_by_side.judge(row, profile, internal, ours)
    assert mark != side_by_side.WORSE, f"{why}\ninternal: {internal}\nlibpysk.so: {ours}"


def test_a_sealed_key_signs_by_its_passphrase_alone(person: Person) -> None:
    asked = [("Passphrase for the new key: ", "correct horse"), ("Same passphrase again: ", "correct horse")]
    with plugged(person):
        person.config.write_text("SealKeyHandle passphrase\n")
        done, key = person.enroll("id", "ed25519-sk", answers=asked)
        assert done.status == 0, done
        assert sealing.is_sealed(KeyFile(key).key_handle)
        person.config.write_text("")
        assert_signs(person, key, [("Passphrase: ", "correct horse")])
        done, _ = person.sign(key, answers=[("Passphrase: ", "correct horsf")])
    assert done.status != 0
    (line,) = provider_lines(done.errors)
    assert line.startswith("libpysk: the passphrase is wrong, or the authenticator does not hold this key; try again")
