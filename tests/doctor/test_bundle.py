"""The file that pysk doctor writes for a bug report: what is in it, and above all what is not."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import subprocess

import pytest
from support.doctor import Account
from support.openssh import Agent, KeyFile

from sk_provider.doctor import report
from sk_provider.doctor.finding import Account as Examined

SECRETS = {
    "pin": "PIN-31415926",
    "password": "LDAP-password-271828",
    "proxy": "proxy-password-161803",
    "bind": "cn=hidden-admin,dc=example,dc=org",
    "base": "ou=hidden-people,dc=example,dc=org",
    "server": "ldap.hidden.example.org",
    "user": "hidden-colleague",
    "host": "hidden-host.example.org",
    "application": "ssh:hidden-application",
    "project": "hidden-project",
    "customer": "hidden-customer",
    "comment": "hidden-comment@example.org",
    "quoted": "hidden-word-of-a-wrong-line",
    "askpass": "hidden-askpass",
    "signers": "hidden-signers",
}


def plant(account: Account) -> dict[str, str]:
    """Put secrets wherever the doctor may look, and return the environment that has some of them."""
    password = account.folder / "password"
    password.write_text(SECRETS["password"])
    password.chmod(0o600)
    account.configure(
        "Presence auto",
        f"# the PIN is {SECRETS['pin']}",
        f"KeyDirectory ldaps://{SECRETS['server']} https://{SECRETS['server']}/keys/%u?token={SECRETS['password']}",
        f"KeyDirectoryUser {SECRETS['user']}",
        f"KeyDirectoryLdapBind {SECRETS['bind']}",
        f"KeyDirectoryLdapBase {SECRETS['base']}",
        f"Match application {SECRETS['application']}",
        f"Device unix:/run/{SECRETS['user']}/socket usb:1050:0407",
        f'Match namespace "the {SECRETS["project"]} of {SECRETS["customer"]}" user {SECRETS["user"]}',
        "Deny yes",
        "Device nfc:",
    )
    askpass = account.program(SECRETS["askpass"], "")
    account.configure_ssh(
        f"Host {SECRETS['host']}",
        f"  ProxyCommand connect --password {SECRETS['proxy']}",
        "  SecurityKeyProvider relative",
        f"  User {SECRETS['user']}",
    )
    proxy = f"http://someone:{SECRETS['proxy']}@proxy.example.org:3128"
    return {
        "SSH_ASKPASS": str(askpass), "DISPLAY": ":0", "http_proxy": proxy, "HTTPS_PROXY": proxy, "PIN": SECRETS["pin"],
    }  # fmt: skip


def test_no_secret_is_in_the_file(account: Account) -> None:
    _, key = account.enroll("id", "ed25519-sk", f"application={SECRETS['application']}")
    handle = KeyFile(key)
    environment = plant(account)
    for name, value in {"gpg.format": "ssh", "user.signingkey": f"{key}.pub", "user.email": SECRETS["comment"],
                        "gpg.ssh.allowedSignersFile": f"~/{SECRETS['signers']}"}.items():  # fmt: skip
        subprocess.run(["git", "config", "--global", name, value], env=account.environment, check=True, timeout=60)
    bundle = account.folder / "bundle"
    with Agent(account, environment) as agent:
        assert agent.add(str(key)).status == 0
        done = account.doctor(
            "--bundle", str(bundle), "--host", SECRETS["host"], variables={**environment, **agent.environment}
        )
    assert done.returncode == 1
    assert f"pysk: {bundle} is written; read it before you send it to anybody" in done.stderr
    text = bundle.read_text()
    for secret in SECRETS.values():
        assert secret not in text
    for hidden in (handle.key_handle, handle.public.key, handle.public.blob):
        assert hidden.hex() not in text.lower()
    public = key.with_name("id.pub").read_text().split()[1]
    private = key.read_text().splitlines()
    assert public not in text
    assert not any(line in text for line in private[1:-1])
    assert str(account.folder) not in text
    assert "SHA256:" not in text
    for needed in (
        "OpenSSH",
        "it accepts the library",
        "Presence auto",
        "sk-ssh-ed25519@openssh.com",
        "usb:1050:0407",
        "cryptography",
    ):
        assert needed in text
    # What the person sees is whole.
    assert SECRETS["bind"] in done.stdout


@pytest.mark.parametrize("line", ["{} 1", "Presence {}", "Timeout {}", "Match {}", "Device usb: # {}\nLogFile {}"])
def test_what_a_wrong_line_says_is_not_in_the_file(account: Account, line: str) -> None:
    account.configure(line.format(*[SECRETS["quoted"]] * 2))
    bundle = account.folder / "bundle"
    done = account.doctor("--bundle", str(bundle))
    assert done.returncode == 1
    text = bundle.read_text()
    assert SECRETS["quoted"] not in text
    assert " line 2: ..." in text or " line 3: ..." in text


def test_the_file_is_its_owners_alone_and_says_what_it_is(account: Account) -> None:
    bundle = account.folder / "bundle"
    umask = os.umask(0)
    try:
        assert account.doctor("--bundle", "bundle").returncode == 0
    finally:
        os.umask(umask)
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    lines = bundle.read_text().splitlines()
    assert lines[0].startswith("What pysk doctor saw, for a bug report. ")
    assert lines[-1] == "nothing to do"


def test_no_file_is_overwritten_or_followed(account: Account) -> None:
    there, link = account.folder / "there", account.folder / "link"
    there.write_text("mine")
    link.symlink_to(account.folder / "elsewhere")
    for path in (there, link):
        done = account.doctor("--bundle", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"pysk: {path} exists; name a file that does not\n"
    assert there.read_text() == "mine"
    assert not (account.folder / "elsewhere").exists()


def test_a_file_that_cannot_be_written_is_told(account: Account) -> None:
    done = account.doctor("--bundle", "/nowhere/bundle")
    assert done.returncode == 1
    assert done.stderr == "pysk: /nowhere/bundle cannot be written (No such file or directory); name another file\n"


def test_names_of_the_account_and_the_machine_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "lab7.example.org")
    user = pwd.struct_passwd(("alice", "x", os.geteuid(), 1, "", "/home/alice", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    account = Examined({"HOME": "/srv/alice", "USER": "alice"}, "/home/alice", None)
    for text, expected in {
        "/home/alice/.ssh/id": "~/.ssh/id",
        "/home/alice2/.ssh": "/home/USER/.ssh",
        "/srv/alice": "~",
        "/run/user/alice/agent, of ALICE": "/run/user/USER/agent, of USER",
        "malice": "malice",
        "lab7.example.org lab7": "HOST HOST",
        "id_" + "A" * 60: "...",
        "0123456789abcdef" * 2: "...",
        "/usr/local/lib/pysk/lib/python3.11/site-packages/sk_provider/libpysk.so":
            "/usr/local/lib/pysk/lib/python3.11/site-packages/sk_provider/libpysk.so",
    }.items():  # fmt: skip
        assert report.redacted(text, (), account) == expected
    assert report.redacted("ldap://server/dc=x and dc=x", ("dc=x", "", "server/dc=x"), account) == "ldap://... and ..."
