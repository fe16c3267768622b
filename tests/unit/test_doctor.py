"""Parts of the doctor, in the test's own process: how paths are shown, what programs say, and whose account it is."""

from __future__ import annotations

import os
import platform
import pwd
import re
import socket
from pathlib import Path

import pytest
from support.records import record

from sk_provider import doctor
from sk_provider.credentials import key_file
from sk_provider.doctor import finding, key_files, person, report, running
from sk_provider.doctor.finding import Account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def account(home: str | None = "/home/alice", **environment: str) -> Account:
    return Account(environment, home, None)


@pytest.mark.parametrize(
    ("home", "path", "shown"),
    [
        ("/home/alice", "/home/alice/.ssh/id", "~/.ssh/id"),
        ("/home/alice", "/home/alice", "/home/alice"),
        ("/home/alice", "/home/alice2/.ssh/id", "/home/alice2/.ssh/id"),
        ("/home/alice", "/etc/ssh/ssh_config", "/etc/ssh/ssh_config"),
        ("/", "/etc/ssh/ssh_config", "/etc/ssh/ssh_config"),
        ("/", "//etc", "//etc"),
        ("", "/etc", "/etc"),
        (None, "/etc", "/etc"),
    ],
)
def test_a_path_is_shown_as_a_person_writes_it(home: str | None, path: str, shown: str) -> None:
    assert account(home).shown(path) == shown


def test_an_empty_variable_is_none() -> None:
    examined = account(EMPTY="", SET="x")
    assert [examined.variable(name) for name in ("EMPTY", "SET", "MISSING")] == [None, "x", None]


def test_the_system_is_told_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> dict[str, str]:
        raise OSError

    releases: list[Callable[[], dict[str, str]]] = [lambda: {"PRETTY_NAME": "Owl 1"}, lambda: {"ID": "owl"}, missing]
    told = []
    for release in releases:
        monkeypatch.setattr(platform, "freedesktop_os_release", release)
        told.append(report._system())
    assert told == ["Owl 1", "an unknown system", "Linux"]


def test_of_names_the_longest_is_replaced_first(monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.struct_passwd(("al", "x", os.geteuid(), 1, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(socket, "gethostname", lambda: "desk.al-jones.example")
    examined = account("/srv/al", USER="al-jones", LOGNAME="root", SUDO_USER="x-al", HOME="/srv/al/home")
    assert report._users(examined) == ["al-jones", "x-al", "al"]
    assert report._hosts() == ["desk.al-jones.example", "desk"]
    assert report.redacted("al-jones and x-al and al; root; /srv/al/home/x, /srv/al/x", (), examined) == (
        "USER and USER and USER; root; ~/x, ~/x"
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert report._hosts() == []


def test_what_a_program_failed_at_is_its_last_line() -> None:
    assert running.Answer(1, "", "first\nlast \n \n").reason() == "last"
    assert running.Answer(3, "output", "\n").reason() == "status 3"
    assert running.Answer(1, "", "x" * 1000).reason() == "x" * 300


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Account]:
    """Return what makes an account on whose PATH a program `told` is, of a script's lines."""

    def make(lines: str) -> Account:
        path = tmp_path / "told"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o700)
        return account(PATH=f"{tmp_path}:/usr/bin:/bin", NAME="value")

    return make


def test_a_program_is_asked_where_it_can_ask_nobody(program: Callable[[str], Account]) -> None:
    examined = program('echo "$NAME $LC_ALL $SSH_ASKPASS_REQUIRE $GIT_TERMINAL_PROMPT $1"; cat; echo bad >&2; exit 3')
    answer = running.ask(examined, "told", "an argument")
    assert (answer.status, answer.output, answer.errors) == (3, "value C never 0 an argument\n", "bad\n")


def test_a_program_that_does_not_answer_is_given_up(
    program: Callable[[str], Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_PATIENCE", 1)
    monkeypatch.setattr(running, "_MOST", 1000)
    for lines, said in {
        "sleep 600": "did not end within 1 s",
        "exec >&- 2>&-; sleep 600": "did not end within 1 s",
        "head -c 1001 /dev/zero": "printed more than 1000 bytes",
        "head -c 501 /dev/zero; head -c 500 /dev/zero >&2": "printed more than 1000 bytes",
    }.items():
        with pytest.raises(running.NoAnswer, match=said):
            running.ask(program(lines), "told")
    examined = program("head -c 1000 /dev/zero")
    assert len(running.ask(examined, "told").output) == 1000
    with pytest.raises(running.NoAnswer, match="is not on PATH"):
        running.ask(examined, "untold")
    Path(str(running.which("told", examined))).write_text("#!/nowhere\n")
    with pytest.raises(running.NoAnswer, match=r"cannot be run \(No such file or directory\)"):
        running.ask(examined, "told")


def seen(findings: list[finding.Finding]) -> list[str]:
    return [each.seen for each in findings]


def test_whose_account_it_is_is_told_with_what_may_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    first = f"user 1000 is examined, with the home directory {home}"
    assert seen(list(person.check(account(home)))) == [first]
    assert seen(list(person.check(account(home, HOME=f"{home}/link", SUDO_USER="alice")))) == [first]
    (_, other) = person.check(account(home, HOME="/srv"))
    assert (other.seen, other.remedy) == (f"HOME is /srv, but ssh and libpysk read ~/.ssh in {home}", None)
    assert other.private == ("/srv",)
    (nobody,) = person.check(account(None, HOME="/srv"))
    assert nobody.seen == "user 1000 is not in the password database: ssh refuses to run, and there is no ~/.ssh"
    assert nobody.remedy is not None

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (_, invoker) = person.check(account(home, SUDO_USER="alice"))
    assert (invoker.seen, invoker.private) == (
        "to examine the account of alice, run pysk doctor without sudo",
        ("alice",),
    )
    assert seen(list(person.check(account(home, SUDO_USER="root")))) == [
        f"root is examined, with the home directory {home}"
    ]


def test_a_home_without_keys_is_told(tmp_path: Path) -> None:
    assert list(key_files.check(account(None))) == []
    examined = account(str(tmp_path))
    assert seen(list(key_files.check(examined))) == ["~/.ssh does not exist"]
    (tmp_path / ".ssh").write_text("")
    (unreadable,) = key_files.check(examined)
    assert unreadable.seen == "~/.ssh cannot be read (Not a directory)"
    assert unreadable.remedy == "run: sudo chown $USER ~/.ssh; chmod 700 ~/.ssh"
    (tmp_path / ".ssh").unlink()
    (tmp_path / ".ssh").mkdir()
    os.mkfifo(tmp_path / ".ssh" / "id_fifo")
    (tmp_path / ".ssh" / "id_link").symlink_to("gone")
    (tmp_path / ".ssh" / "id_link.pub").symlink_to("gone")
    (tmp_path / ".ssh" / "other").symlink_to("gone")
    (tmp_path / ".ssh" / "other.pub").symlink_to("gone")
    (link,) = key_files.check(examined)
    assert link.seen == "~/.ssh/id_link cannot be read (No such file or directory)"
    assert (link.remedy, link.private) == ("run: sudo chown $USER ~/.ssh/id_link", ("id_link",))
    (tmp_path / ".ssh" / "id_link").unlink()
    assert seen(list(key_files.check(examined))) == ["~/.ssh holds no key of a security key"]


def test_a_key_is_told_with_whether_ssh_takes_it(tmp_path: Path) -> None:
    examined = account(str(tmp_path))
    path = tmp_path / ".ssh" / "my key"
    path.parent.mkdir()
    path.write_bytes(key_file.serialize(record()))
    for mode in (0o600, 0o400, 0o700):
        path.chmod(mode)
        (taken,) = key_files.check(examined)
        assert (taken.seen, taken.remedy) == ("~'/.ssh/my key' is sk-ssh-ed25519@openssh.com for ssh:", None)
        assert taken.private == ("my key", "ssh:")
    for mode in (0o601, 0o602, 0o604, 0o610, 0o620, 0o640):
        path.chmod(mode)
        (ignored,) = key_files.check(examined)
        assert ignored.seen == f"{taken.seen}, and ssh ignores it because others may read it"
        assert (ignored.remedy, ignored.private) == ("run: chmod 600 ~'/.ssh/my key'", taken.private)


def test_what_a_check_failed_with_is_told_and_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_account: Account) -> Iterator[finding.Finding]:
        yield finding.Finding("agent", "begun")
        raise ValueError("x" * 201)

    monkeypatch.setattr(doctor, "_CHECKS", {"agent": fail, "account": person.check})
    begun, failed, *others = doctor.examine(account())
    assert begun.seen == "begun"
    assert others
    assert re.fullmatch(rf"this check failed \(ValueError at test_doctor.py:\d+: {'x' * 200}\)", failed.seen)
    assert failed.private == ("x" * 200,)
