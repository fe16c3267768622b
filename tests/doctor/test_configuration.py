"""pysk_config as it is read, what it names, and what is plugged in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support.doctor import Account
from support.provider_tree import Tree

from sk_provider import config
from sk_provider.asking import pins, session_bus
from sk_provider.doctor import account as examined_account
from sk_provider.doctor import configuration, key_files, person, programs, provider, settings
from sk_provider.doctor.finding import Account as Examined

PCSC_SOCKET = Path("/run/pcscd/pcscd.comm")


def test_the_file_and_its_settings_are_told(account: Account) -> None:
    account.configure("Timeout 30", "Match application ssh:work", 'Device usb:1050:0407 "unix:/a b"')
    seen = [each.seen for each in account.findings() if each.subject == "pysk_config"]
    assert seen[:5] == [
        f"PYSK_CONFIG names {account.config}, which is read instead of ~/.ssh/pysk_config",
        f"read: {account.config}" + (f", {config.SYSTEM_FILE}" if Path(config.SYSTEM_FILE).exists() else ""),
        f"Device soft:{account.store}",
        'Device usb:1050:0407 "unix:/a b" (Match application ssh:work)',
        "Presence ask, Timeout 30, LogLevel error",
    ]


def test_how_a_person_is_asked_and_told_is_told(account: Account) -> None:
    account.configure(
        "Notify desktop", "PinPrompt terminal askpass", "RememberPin 10m", "AuditLog syslog", "AuditLogRequired yes",
        "Match namespace git user alice", "Notify no", "RememberPin no", "Presence auto", "PinPrompt host",
        "Match application ssh:work", "Deny yes",
    )  # fmt: skip
    seen = [each.seen for each in account.findings() if each.subject == "pysk_config"]
    assert seen[4:10] == [
        "Notify desktop, PinPrompt terminal askpass, RememberPin 600",
        "Deny yes (Match application ssh:work)",
        "Notify no (Match namespace git user alice)",
        "PinPrompt host (Match namespace git user alice)",
        "Presence auto (Match namespace git user alice)",
        "RememberPin no (Match namespace git user alice)",
    ]
    assert "AuditLog syslog, AuditLogRequired" in seen
    account.configure()
    seen = [each.seen for each in account.findings() if each.subject == "pysk_config"]
    assert seen[3] == "Presence ask, Timeout 60, LogLevel error"
    assert seen[4] == "Notify terminal desktop, PinPrompt host, RememberPin no"
    assert "AuditLog none" in seen


def test_what_a_person_is_asked_with_and_is_not_there_is_told(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pinentry"
    monkeypatch.setattr(pins, "PINENTRY", str(program))
    monkeypatch.setattr(session_bus, "address", lambda: None)
    account.configure("Notify no", "Match namespace git", "Notify desktop", "PinPrompt pinentry")
    monkeypatch.setenv("PYSK_CONFIG", str(account.config))
    examined = Examined(os.environ, str(account.folder), None)

    def found() -> list[tuple[str, str | None]]:
        return [(each.seen, each.remedy) for each in configuration.check(examined)]

    missing = (
        f"PinPrompt names pinentry, and there is no {program}",
        "install one (Debian: sudo apt-get install pinentry-gnome3)",
    )
    no_bus = ("Notify desktop shows nothing here: there is no session bus", None)
    assert {missing, no_bus} <= set(found())
    program.touch(mode=0o700)
    monkeypatch.setattr(session_bus, "address", lambda: "unix:path=/somewhere")
    assert not {missing, no_bus} & set(found())


def test_an_audit_log_that_is_not_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, system = tmp_path / "log", tmp_path / "system"
    log.mkdir()
    monkeypatch.setattr(config, "SYSTEM_FILE", str(system))
    monkeypatch.delenv("PYSK_CONFIG", raising=False)
    monkeypatch.setattr(config, "home_directory", lambda: str(tmp_path))
    for required, effect in (("no", "nothing is recorded"), ("yes", "nothing is done with authenticators")):
        system.write_text(f"AuditLog {log}\nAuditLogRequired {required}\n")
        system.chmod(0o600)
        told = [each.seen for each in configuration.check(Examined({}, str(tmp_path), None)) if each.remedy is not None]
        assert told == [f"AuditLog {log} cannot be used, because it is not a regular file: {effect}"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("Pressence auto", "unknown keyword Pressence; see pysk_config(5) for those that exist"),
        ("Timeout soon", "Timeout cannot be soon; write whole seconds from 1 to 600"),
        ("Device", "Device names no authenticator; write an address after it, such as usb:"),
        ("KnownKeys here", "KnownKeys is not an absolute path; begin it with / or ~/"),
    ],
)
def test_a_line_that_is_wrong_is_told(account: Account, line: str, sentence: str) -> None:
    account.configure(line)
    seen, _, remedy = sentence.partition("; ")
    assert account.to_do() == [("pysk_config", f"{account.config} line 2: {seen}", remedy)]


def test_a_file_that_others_can_write_or_that_is_not_there_is_told(account: Account) -> None:
    account.config.chmod(0o666)
    assert account.to_do() == [
        ("pysk_config", f"{account.config} can be written by others", f"run: chmod go-w {account.config}")
    ]
    account.config.unlink()
    assert account.to_do() == [("pysk_config", f"{account.config} does not exist", "correct or unset PYSK_CONFIG")]


def test_the_systems_file_is_told_beside_the_users_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, system = tmp_path / "own", tmp_path / "system"
    for path, line in ((own, "Wrong own"), (system, "Wrong system")):
        path.write_text(line)
        path.chmod(0o600)
    monkeypatch.setenv("PYSK_CONFIG", str(own))
    monkeypatch.setattr(config, "SYSTEM_FILE", str(system))
    examined = Examined(os.environ, str(tmp_path), None)
    refused = [each.seen for each in configuration.check(examined) if each.remedy is not None]
    assert refused == [f"{own} line 1: unknown keyword Wrong", f"{system} line 1: unknown keyword Wrong"]
    system.write_text("Timeout 3")
    assert [each.seen for each in configuration.check(examined)][-1] == f"{system} can be used"


def test_an_account_without_a_home_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSK_CONFIG", raising=False)
    monkeypatch.setattr("posix.geteuid", lambda: 54321)
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    examined = examined_account(None)
    assert examined.home is None
    (finding,) = person.check(examined)
    assert finding.seen == "user 54321 is not in the password database: ssh refuses to run, and there is no ~/.ssh"
    assert finding.remedy == "add it to /etc/passwd, or be a user who is there (docker run --user NAME)"
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho No user exists for uid 54321 >&2\nexit 255\n")
    ssh.chmod(0o755)
    for name in ("ssh-keygen", "ssh-add", "ssh-agent"):
        (tmp_path / name).symlink_to(ssh)
    examined.environment = {**examined.environment, "PATH": str(tmp_path)}
    for check in (configuration.check, key_files.check, settings.check, programs.check):
        assert [each for each in check(examined) if each.remedy is not None] == []
    assert [each for each in provider.check(examined) if "ssh-keygen" in each.seen] == []


def test_an_address_that_no_transport_has_is_told(account: Account) -> None:
    account.configure(device="bluetooth:here usb:zz")
    to_do = account.to_do()
    assert [seen for _, seen, _ in to_do] == ["Device: there is no transport bluetooth:"]


def test_files_that_are_named_and_cannot_be_used_are_told(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = account.folder / "known keys"
    known.touch(mode=0o600)
    known.chmod(0o666)
    account.configure(f"KnownKeys {account.folder}/known_keys")
    known.rename(account.folder / "known_keys")
    assert account.to_do() == [
        (
            "pysk_config",
            f"KnownKeys {account.folder}/known_keys is ignored, because others can write to it",
            f"run: rm {account.folder}/known_keys",
        )
    ]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "it is not a regular file"),
        (lambda path: path.touch() or path.chmod(0o666), "others can write to it"),
        (lambda path: path.symlink_to("/dev/null"), "it is not a regular file"),
    ],
)
def test_a_log_file_that_is_not_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, reason: str
) -> None:
    # A file that the environment names may name none, so this is the system's.
    log, system = tmp_path / "log", tmp_path / "system"
    assert callable(make)
    make(log)
    system.write_text(f"LogFile {log}\n")
    system.chmod(0o600)
    monkeypatch.setenv("PYSK_CONFIG", str(system))
    monkeypatch.setattr(config, "SYSTEM_FILE", str(system))
    monkeypatch.delenv("PYSK_CONFIG")
    monkeypatch.setattr(config, "home_directory", lambda: str(tmp_path))
    told = [each for each in configuration.check(Examined({}, str(tmp_path), None)) if each.remedy is not None]
    assert [each.seen for each in told] == [
        f"LogFile {log} cannot be used, because {reason}: failures go to the system's log instead"
    ]


def test_ldap_without_its_package_is_told(account: Account, tree: Tree) -> None:
    account.configure("KeyDirectory ldaps://ldap.example.org", "KeyDirectoryLdapBind cn=admin,dc=example,dc=org")
    assert account.to_do() == []
    tree.remove("ldap", "python_ldap-*")
    ((subject, seen, remedy),) = account.to_do()
    assert (subject, seen) == (
        "pysk_config",
        "KeyDirectory names an LDAP server, which needs the Python package python-ldap",
    )
    assert remedy.endswith("pip install python-ldap")


def test_what_cards_want_is_told_where_they_are_used(account: Account, tree: Tree) -> None:
    tree.remove("smartcard", "pyscard-*")
    account.configure(device="nfc:")
    told = [seen for subject, seen, _ in account.to_do() if subject == "devices"]
    assert told == [
        "cards need the Python package pyscard, which is not installed",
        *([] if PCSC_SOCKET.exists() else ["cards need the PC/SC service, pcscd, which does not run"]),
    ]
    account.configure()
    assert account.to_do() == []


# key files


def test_key_files_of_security_keys_are_told(account: Account) -> None:
    home = account.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    done, key = account.enroll("home/.ssh/id_sk", "ed25519-sk", "application=ssh:work")
    assert done.status == 0, done
    _, other = account.enroll("home/.ssh/id_it's", "ecdsa-sk")
    account.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / ".ssh/id_ed25519"))
    os.mkfifo(home / ".ssh/pipe")
    (home / ".ssh/agent").mkdir()
    examined = Examined({}, str(home), None)
    assert [(each.seen, each.remedy) for each in key_files.check(examined)] == [
        ("""~'/.ssh/id_it'"'"'s' is sk-ecdsa-sha2-nistp256@openssh.com for ssh:""", None),
        ("~/.ssh/id_sk is sk-ssh-ed25519@openssh.com for ssh:work", None),
    ]
    key.chmod(0o640)
    (finding,) = (each for each in key_files.check(examined) if each.remedy is not None)
    assert finding.remedy == "run: chmod 600 ~/.ssh/id_sk"
    assert finding.seen.endswith(", and ssh ignores it because others may read it")
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
