"""The examples of transports, by OpenSSH's programs."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.login import authorize, log_in, log_in_by_agent, succeeded
from support.openssh import Agent, Person, assert_signs, provider_lines, sign_at_once
from support.processes import interrupt
from support.serve import PATIENCE, wait_until
from support.sshd import Sshd, keygen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from support.provider_tree import Tree

    # See conftest.py
    Plug = Callable[[str], AbstractContextManager[str]]

PYSK = Path(sys.executable).with_name("pysk")
UPNEEDED = "(2), after"  # of a keep-alive, in a trace


def enrolled(guest: Person, address: str) -> Path:
    """Return a new key, and have the address named for it from now on."""
    done, key = guest.enroll("id", "ed25519-sk", f"device={address}")
    assert (done.status, provider_lines(done.errors)) == (0, []), done
    guest.configure(device=f'"{address}"')
    return key


def refusal(guest: Person, address: str) -> str:
    """Return what is told where no key can be enrolled."""
    done, _ = guest.enroll("id", "ed25519-sk", f"device={address}")
    assert done.status != 0
    (line,) = provider_lines(done.errors)
    return line.removeprefix("libpysk: ")


def tokens(guest: Person) -> list[int]:
    """Return the processes that serve the person's token, and those that have been told to."""
    store = str(guest.store).encode()
    return [int(each.name) for each in Path("/proc").glob("[0-9]*") if store in _command_line(each)]


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def assert_nothing_is_left(guest: Person) -> None:
    wait_until(lambda: not tokens(guest), "the token's end")


@contextmanager
def waiting_for_a_touch(guest: Person, address: str) -> Iterator[subprocess.Popen[str]]:
    """Return a program that enrolls a key, and waits for a touch of the token at the address."""
    log = guest.folder / "log"
    guest.configure("LogLevel trace", f"LogFile {log}")
    process = subprocess.Popen(
        ["ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", str(guest.folder / "id"), "-O", f"device={address}"],
        env=guest.environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until(lambda: log.exists() and UPNEEDED in log.read_text(), "the token's waiting")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_key_is_enrolled_signs_and_logs_in(guest: Person, plug: Plug, server: Sshd) -> None:
    with plug("auto") as address:
        key = enrolled(guest, address)
        assert_signs(guest, key)
        authorize(server, key)
        done = log_in(guest, server, key)
        assert succeeded(done), done
        with Agent(guest) as agent:
            assert agent.add(str(key)).status == 0
            done = log_in_by_agent(guest, server, agent)
            assert succeeded(done), done
    assert_nothing_is_left(guest)


def test_several_that_sign_take_turns_and_late_touches_are_waited_for(guest: Person, plug: Plug) -> None:
    with plug("after:400") as address:
        sign_at_once(guest, enrolled(guest, address), 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_for_a_touch_may_give_up(guest: Person, plug: Plug, number: signal.Signals) -> None:
    with plug("after:60000") as address, waiting_for_a_touch(guest, address) as process:
        interrupt(process, number)
    assert_nothing_is_left(guest)


def test_what_goes_while_it_is_waited_for_is_told(guest: Person, plug: Plug) -> None:
    with plug("after:60000") as address, waiting_for_a_touch(guest, address) as process:
        for token in tokens(guest):
            # Who has but started it ends with it, or is the helper.
            if f"serve\0--store\0{guest.store}" in _command_line(Path("/proc", str(token))).decode():
                os.kill(token, signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
    (line,) = provider_lines(errors)
    assert line in {
        f"libpysk: {address} has ended; try the command by itself (pysk-exec)",
        f"libpysk: the other end of {address} is gone; check what is there (pysk-serial)",
    }


def test_a_command_may_have_arguments_with_spaces(guest: Person) -> None:
    store = guest.folder / "my store"
    command = [str(PYSK), "serve", "--store", str(store), "--presence", "auto", "stdio:messages"]
    assert_signs(guest, enrolled(guest, f"exec:{shlex.join(command)}"))
    assert store.exists()


def test_a_token_of_another_machine_is_reached_by_ssh(guest: Person, server: Sshd) -> None:
    login = guest.folder / "login"
    keygen("-t", "ed25519", "-f", str(login))
    authorize(server, login)
    there = shlex.join([str(PYSK), "serve", "--store", str(guest.store), "--presence", "auto", "stdio:messages"])
    command = [*server.client("-i", str(login), "-o", "BatchMode=yes"), there]
    assert_signs(guest, enrolled(guest, f"exec:{shlex.join(command)}"))
    assert guest.store.exists()
    assert_nothing_is_left(guest)


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("", " is no command; correct it"),
        ("ssh 'host", " is no command; correct it"),
        ("/no/such host", " does not start (No such file or directory); correct it"),
        ("false", " has ended; try the command by itself"),
        ("sh -c 'echo Welcome; exec sleep 60'", " prints what is no message; try the command by itself"),
    ],
)
def test_what_is_no_command_or_no_authenticator_is_told(guest: Person, location: str, sentence: str) -> None:
    assert refusal(guest, f"exec:{location}") == f"exec:{location}{sentence} (pysk-exec)"


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("/no/such", "cannot be opened (No such file or directory); check the path"),
        ("/", "cannot be opened (Is a directory); check the path"),
        ("/dev/null", "is no serial line; correct it"),
    ],
)
def test_what_is_no_line_is_told(guest: Person, location: str, sentence: str) -> None:
    assert refusal(guest, f"serial:{location}") == f"serial:{location} {sentence} (pysk-serial)"


def test_a_line_on_which_nobody_answers_is_told(guest: Person) -> None:
    ours, theirs = pty.openpty()
    try:
        told = refusal(guest, f"serial:{os.ttyname(theirs)}")
        assert told == "the authenticator does not answer; check what is there (pysk-serial)"
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_command_that_says_nothing_is_told_and_ended(guest: Person, installed: Tree) -> None:
    module = installed.folder / "pysk_exec.py"
    source = module.read_text()
    assert "_START_PATIENCE, _END_PATIENCE = 20.0," in source
    module.write_text(source.replace("= 20.0,", "= 0.2,"))
    try:
        told = refusal(guest, f"exec:sh -c 'trap : TERM; sleep 60; sleep 60; : {guest.store}'")
        assert told == "the authenticator does not answer; try the command by itself (pysk-exec)"
    finally:
        module.write_text(source)
    assert_nothing_is_left(guest)
