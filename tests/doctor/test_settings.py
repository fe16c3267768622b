"""What ssh, ssh-keygen and git are told to load."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support.doctor import Account
from support.openssh import Agent, enrolled
from support.provider_tree import Tree
from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SOMEWHERE = "/usr/local/lib/pysk/lib/python3.9/site-packages/sk_provider/libpysk.so"


GIVEN_UP = "it to see what it waits for: ssh -G pysk-doctor.invalid"


def correct(account: Account) -> str:
    return f"correct it in ~/.ssh/config or /etc/ssh/ssh_config: SecurityKeyProvider {account.provider}"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("libpysk.so", "libpysk.so, which is not an absolute path: each program resolves it against another folder"),
        (
            "~/libpysk.so",
            "~/libpysk.so, which is not an absolute path: each program resolves it against another folder",
        ),
        (SOMEWHERE, f"{SOMEWHERE}, which does not exist (nor does the folder of that Python)"),
        ("/nowhere/libpysk.so", "/nowhere/libpysk.so, which does not exist"),
        ("/usr/bin/ssh", "/usr/bin/ssh, which is not libpysk"),
        ("/usr/bin", "/usr/bin, which cannot be read"),
        ("none", "none, so that ssh uses no security keys"),
    ],
)
def test_a_provider_that_ssh_cannot_use_is_told(account: Account, value: str, seen: str) -> None:
    account.configure_ssh(f"SecurityKeyProvider {value}")
    to_do = account.to_do()
    assert to_do == [("ssh", f"SecurityKeyProvider is {seen}", correct(account))]


def test_a_provider_is_told_as_ssh_resolves_it_for_a_host(account: Account) -> None:
    account.configure_ssh(
        "Host special", "  SecurityKeyProvider relative.so", "Host *", f"  SecurityKeyProvider {account.provider}"
    )
    assert account.to_do() == []
    assert account.to_do("--host", "other") == []
    ((_, seen, _),) = account.to_do("--host", "special")
    assert seen.startswith("SecurityKeyProvider for special is relative.so, which is not an absolute path: ")


def test_a_host_is_not_taken_for_an_option(account: Account) -> None:
    touched = account.folder / "touched"
    assert account.doctor("--host", f"-oProxyCommand=touch {touched}").returncode == 1
    assert not touched.exists()


def test_a_variable_that_ssh_config_names_is_told_where_it_is_not_set(account: Account) -> None:
    account.configure_ssh("SecurityKeyProvider $SSH_SK_PROVIDER")
    assert account.to_do() == []
    assert account.to_do(variables={"SSH_SK_PROVIDER": None}) == [
        (
            "ssh",
            "SecurityKeyProvider is $SSH_SK_PROVIDER, and that variable is not set",
            f"run: export SSH_SK_PROVIDER={account.provider}",
        )
    ]


def test_two_libraries_of_ours_are_told_where_one_would_do(account: Account, tmp_path: Path) -> None:
    other = Tree(tmp_path / "other")
    assert account.to_do(variables={"SSH_SK_PROVIDER": str(other.library)}) == [
        (
            "ssh",
            f"SecurityKeyProvider is {account.provider}, but SSH_SK_PROVIDER is {other.library}",
            f"run: export SSH_SK_PROVIDER={account.provider}",
        )
    ]
    assert f"SSH_SK_PROVIDER is {other.library}, of another installation than this pysk" in [
        each.seen for each in account.findings(variables={"SSH_SK_PROVIDER": str(other.library)})
    ]


def test_a_settings_file_that_ssh_cannot_read_is_told(account: Account) -> None:
    account.configure_ssh("SecurityKeyProviders /nowhere")
    ((subject, seen, remedy),) = account.to_do()
    assert (subject, remedy) == ("ssh", "correct the file that it names")
    assert seen.startswith("ssh cannot read its settings (")


@pytest.mark.parametrize(
    ("lines", "seen", "remedy"),
    [
        (
            ("Include {}",),
            "ssh cannot read its settings (Too many recursive configuration includes)",
            "remove the Include from ~/.ssh/config, or from a file named there, that leads in a circle",
        ),
        (
            ('Match exec "kill -9 $PPID"',),
            "ssh cannot read its settings (status -9)",
            "run it to see what fails: ssh -G pysk-doctor.invalid",
        ),
    ],
)
def test_settings_that_end_ssh_without_naming_a_file_are_told(
    account: Account, lines: tuple[str, ...], seen: str, remedy: str
) -> None:
    account.configure_ssh(*(line.format(account.settings) for line in lines))
    assert account.to_do() == [("ssh", seen, remedy)]


def test_a_library_below_the_folder_of_an_installation_that_is_gone_is_told(account: Account) -> None:
    left = account.folder / "gone/lib/python3.11/site-packages/sk_provider/libpysk.so"
    left.parent.mkdir(parents=True)
    shutil.copy(account.provider, left)
    account.configure_ssh(f"SecurityKeyProvider {left}")
    found = account.to_do(variables={"SSH_SK_PROVIDER": str(left)})
    export = f"run: export SSH_SK_PROVIDER={account.provider}"
    assert [(subject, remedy) for subject, _, remedy in found] == [("ssh", correct(account)), ("ssh", export)]
    names = [seen.partition("'s library: ")[0] for _, seen, _ in found]
    assert names == ["ssh-keygen cannot use SecurityKeyProvider", "ssh-keygen cannot use SSH_SK_PROVIDER"]


def test_a_library_of_another_installation_that_others_can_change_is_told(account: Account, tmp_path: Path) -> None:
    other = Tree(tmp_path / "other")
    other.package.chmod(0o777)
    account.configure_ssh(f"SecurityKeyProvider {other.library}")
    seen = f"everybody on this machine can write to the folder {other.package}, and thus run any program as you"
    remedy = f"run: chmod go-w {other.package}"
    assert account.to_do(variables={"SSH_SK_PROVIDER": None}) == [("ssh", seen, remedy)]
    assert subprocess.run(["sh", "-c", remedy.removeprefix("run: ")], check=False, timeout=60).returncode == 0
    assert account.to_do(variables={"SSH_SK_PROVIDER": None}) == []


def test_a_settings_file_that_runs_what_does_not_end_is_given_up(account: Account, tree: Tree) -> None:
    tree.append("doctor/running.py", "_PATIENCE = 1")
    pid = account.folder / "pid"
    account.configure_ssh(f'Match exec "echo $$ >{pid}; sleep 1000"')
    assert account.to_do() == [("ssh", "ssh -G pysk-doctor.invalid did not end within 1 s", f"run {GIVEN_UP}")]
    wait_until(lambda: not Path("/proc", pid.read_text().strip()).exists(), "the end of what it has started")


def test_a_program_that_says_too_much_is_given_up(account: Account) -> None:
    ssh = shutil.which("ssh")
    account.program("ssh", f"[ $1 != -V ] || exec {ssh} -V; exec yes")
    assert account.to_do() == [("ssh", "ssh -G pysk-doctor.invalid printed more than 262144 bytes", f"run {GIVEN_UP}")]


# git


def git(account: Account, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments],
        env=account.environment | variables, cwd=account.folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture
def repository(account: Account) -> Path:
    """Return the path of a key that git signs by, in a folder that is a repository, with no other settings."""
    key = enrolled(account)
    account.environment["GIT_CONFIG_NOSYSTEM"] = "1"
    for name, value in {
        "user.name": "Person",
        "user.email": "person@example.org",
        "gpg.format": "ssh",
        "user.signingkey": f"{key}.pub",
        "commit.gpgsign": "true",
    }.items():
        assert git(account, "config", "--global", name, value).returncode == 0
    assert git(account, "init", "--quiet").returncode == 0
    return key


def test_git_without_the_variable_that_alone_names_the_library_is_told(account: Account, repository: Path) -> None:
    commit = ("commit", "--quiet", "--allow-empty", "--message", "one")
    assert git(account, *commit, SSH_SK_PROVIDER="").returncode != 0
    seen = (
        "git's ssh-keygen finds the library only by SSH_SK_PROVIDER, which is not set: "
        "signing fails with 'device not found'"
    )
    assert account.to_do(variables={"SSH_SK_PROVIDER": None}) == [
        ("git", seen, f"run this, and add it to ~/.profile: export SSH_SK_PROVIDER={account.provider}")
    ]
    assert account.to_do() == []
    assert git(account, *commit).returncode == 0
    told = [each.seen for each in account.findings() if each.subject == "git"]
    assert told[0] == "it signs with ssh keys (gpg.format): every commit"
    assert "git's ssh-keygen uses the library that SSH_SK_PROVIDER names" in told


def test_git_does_without_it_where_the_agent_holds_the_key(account: Account, repository: Path) -> None:
    with Agent(account) as agent:
        variables = {**agent.environment, "SSH_SK_PROVIDER": None}
        assert len(account.to_do(variables=variables)) == 1
        assert agent.add(str(repository)).status == 0
        assert account.to_do(variables=variables) == []
        commit = git(
            account, "commit", "--allow-empty", "--message", "one", **agent.environment, SSH_SK_PROVIDER="/nowhere"
        )
        assert commit.returncode == 0, commit


@pytest.mark.parametrize("form", ["{}", "key::{}"])
def test_a_key_that_git_has_no_file_of_must_be_in_the_agent(account: Account, repository: Path, form: str) -> None:
    public = repository.with_name("id.pub").read_text().strip()
    git(account, "config", "--global", "user.signingkey", form.format(public))
    assert account.to_do() == [
        (
            "git",
            "user.signingkey is a public key, and the agent does not hold its private key",
            f"run: ssh-add -S {account.provider} FILE",
        )
    ]


def unset(account: Account) -> None:
    git(account, "config", "--global", "--unset", "user.signingkey")


def remove(account: Account) -> None:
    for path in ("id", "id.pub"):
        (account.folder / path).unlink()


def spoil(account: Account) -> None:
    (account.folder / "id.pub").write_text("nonsense\n")
    (account.folder / "id").unlink()


def put_a_fifo_there(account: Account) -> None:
    remove(account)
    os.mkfifo(account.folder / "id.pub")


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (unset, "user.signingkey is not set"),
        (remove, "user.signingkey is {}.pub, which cannot be read as a key"),
        (spoil, "user.signingkey is {}.pub, which cannot be read as a key"),
        (put_a_fifo_there, "user.signingkey is {}.pub, which cannot be read as a key"),
    ],
)
def test_a_signing_key_that_is_none_is_told(
    account: Account, repository: Path, damage: Callable[[Account], None], seen: str
) -> None:
    damage(account)
    assert account.to_do() == [
        ("git", seen.format(repository), "run: git config --global user.signingkey ~/.ssh/id_ed25519_sk.pub")
    ]


def test_a_private_key_file_serves_as_well(account: Account, repository: Path) -> None:
    git(account, "config", "--global", "user.signingkey", str(repository))
    repository.with_name("id.pub").unlink()
    found = account.findings()
    assert f"user.signingkey is {repository}, sk-ssh-ed25519@openssh.com" in [each.seen for each in found]
    assert [each for each in found if each.remedy is not None] == []


def test_allowed_signers_that_are_not_there_are_told(account: Account, repository: Path) -> None:
    git(account, "config", "--global", "gpg.ssh.allowedSignersFile", "~/signers")
    ((_, seen, _),) = account.to_do()
    assert seen == f"gpg.ssh.allowedSignersFile is {account.folder}/signers, which cannot be read"
    (account.folder / "signers").write_text("")
    assert account.to_do() == []


def test_a_program_for_signatures_that_is_not_there_is_told(account: Account, repository: Path) -> None:
    git(account, "config", "--global", "gpg.ssh.program", "op-ssh-sign")
    assert account.to_do() == [
        (
            "git",
            "gpg.ssh.program is op-ssh-sign, which cannot be executed",
            "run: git config --global --unset gpg.ssh.program",
        )
    ]
    program = account.program("op-ssh-sign", "")
    assert account.to_do() == []
    assert program.exists()


@pytest.mark.parametrize("included", ["included", ".git/config"])
def test_a_setting_is_to_be_changed_in_the_file_that_has_it(account: Account, repository: Path, included: str) -> None:
    git(account, "config", "--global", "includeIf.gitdir:**.path", str(account.folder / "included"))
    git(account, "config", "--file", included, "gpg.ssh.program", "op-ssh-sign")
    git(account, "config", "--file", included, "user.signingkey", "nowhere.pub")
    for name in ("gpg.ssh.program", "user.signingkey"):
        ((_, seen, remedy),) = account.to_do()
        assert seen.startswith(f"{name} is ")
        command = remedy.removeprefix("run: ").replace("~/.ssh/id_ed25519_sk.pub", f"{repository}.pub")
        assert git(account, *shlex.split(command)[1:]).returncode == 0
    assert account.to_do() == []


@pytest.mark.parametrize("lines", ["[gpg\n", "[include]\npath = ~/.gitconfig\n"])
def test_settings_that_git_cannot_read_are_told(account: Account, repository: Path, lines: str) -> None:
    (account.folder / ".gitconfig").write_text(lines)
    ((subject, seen, remedy),) = account.to_do()
    assert (subject, remedy) == ("git", "correct the file that it names")
    assert seen.startswith("git cannot read its settings (fatal: ")
    assert f"{account.folder}/.gitconfig" in seen


def test_git_that_signs_otherwise_is_not_looked_at(account: Account, repository: Path) -> None:
    git(account, "config", "--global", "gpg.format", "openpgp")
    assert [each for each in account.findings(variables={"SSH_SK_PROVIDER": None}) if each.subject == "git"] == []
