"""The agent behind SSH_AUTH_SOCK, of OpenSSH's, GnuPG's and GNOME's making."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from support import debian
from support.doctor import Account
from support.openssh import Agent, enrolled
from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.doctor import Finding

DEFAULT = "/usr/lib*/*,/usr/local/lib*/*"


def of_agent(findings: Sequence[Finding]) -> list[str]:
    return [each.seen for each in findings if each.subject == "agent"]


@pytest.fixture
def folder() -> Iterator[Path]:
    # A socket's path must be short, which a test's folder is not.
    with tempfile.TemporaryDirectory(prefix="pysk-agent-") as folder:
        yield Path(folder)


def is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


@contextlib.contextmanager
def running(path: Path, *command: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent in the foreground, which listens at the path, as long as the context lasts."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: is_listening(path), "the agent")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def start(account: Account) -> str:
    return f'eval "$(ssh-agent -s -P {account.provider.resolve()})"'


def test_no_agent_is_nothing_to_mend(account: Account) -> None:
    assert of_agent(account.findings()) == ["SSH_AUTH_SOCK is not set, so no agent is used"]


def test_a_socket_without_an_agent_is_told(account: Account, folder: Path) -> None:
    path = folder / "socket"
    for reason in ("No such file or directory", "Connection refused"):
        assert account.to_do(variables={"SSH_AUTH_SOCK": str(path)}) == [
            (
                "agent",
                f"SSH_AUTH_SOCK is {path}, and no agent answers there ({reason})",
                f"run: {start(account)}",
            )
        ]
        if not path.exists():
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))


def test_an_agent_that_takes_the_library_and_its_keys_are_told(account: Account) -> None:
    key = enrolled(account)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", account.folder / "other"], check=True, timeout=60
    )
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()[1]
    with Agent(account) as agent:
        assert "it holds no keys, and none of a security key" in of_agent(account.findings(variables=agent.environment))
        assert agent.add(str(key)).status == 0
        assert agent.add(str(account.folder / "other")).status == 0
        found = account.findings(variables=agent.environment)
    assert [each for each in found if each.remedy is not None] == []
    seen = of_agent(found)
    assert f"SSH_AUTH_SOCK is {agent.environment['SSH_AUTH_SOCK']}, an ssh-agent of OpenSSH" in seen
    assert f"it accepts the library (-P {account.provider.resolve()})" in seen
    assert any(each.startswith("it holds 2 keys; no agent tells which library") for each in seen)
    assert f"it holds sk-ssh-ed25519@openssh.com {fingerprint} for ssh:" in seen


@pytest.mark.parametrize("patterns", [(), ("-P", "/opt/*,/srv/*"), ("-P/opt/*",)])
@pytest.mark.parametrize("is_daemon", [True, False])
def test_an_agent_that_refuses_the_library_is_told(
    account: Account, folder: Path, patterns: tuple[str, ...], is_daemon: bool
) -> None:
    path = folder / "socket"
    environment = {**account.environment, "SSH_AUTH_SOCK": str(path)}
    key = enrolled(account)
    with contextlib.ExitStack() as stack:
        if is_daemon:
            # Another beside it, so that it is not the only one.
            stack.enter_context(Agent(account))
            done = subprocess.run(
                ["ssh-agent", "-s", "-a", path, *patterns], env=account.environment,
                capture_output=True, text=True, check=True, timeout=60,
            )  # fmt: skip
            pid = int(done.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0])
            stack.callback(os.kill, pid, signal.SIGTERM)
        else:
            stack.enter_context(running(path, "ssh-agent", "-D", "-a", str(path), *patterns, environment=environment))
        refused = subprocess.run(
            ["ssh-add", key], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        assert "agent refused operation" in refused.stderr
        to_do = account.to_do(variables=environment)
    taken = patterns[-1].removeprefix("-P") if patterns else DEFAULT
    seen = (
        f"it accepts only libraries that match {taken}, and not {account.provider.resolve()}: "
        "ssh-add fails with 'agent refused operation'"
    )
    assert to_do == [("agent", seen, f"start an agent that accepts it: {start(account)}")]


def can_be_read(pid: int) -> bool:
    try:
        Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return False
    return True


def test_an_agent_that_cannot_ask_is_told_where_there_is_a_screen(account: Account) -> None:
    with Agent(account) as agent:
        here = {**agent.environment, **account.askpass(), "SSH_ASKPASS_REQUIRE": None}
        to_do = account.to_do(variables=here)
        seen = of_agent(account.findings(variables=agent.environment))
        hidden = [each for each in seen if "its environment cannot be read" in each]
        if can_be_read(agent.pid):
            (finding,) = to_do
            assert finding[1].startswith("it can neither ask for a PIN nor announce a touch: ")
            assert finding[2] == (
                f"start it again from here: {start(account)}, or write `PinPrompt pinentry` in pysk_config"
            )
            # Without a screen there is nothing to be done about it.
            assert [each for each in seen if each.endswith(" (keys that need neither work)")] != []
            assert hidden == []
            account.configure("PinPrompt terminal pinentry")
            asks = "; libpysk asks for PINs by pinentry instead (PinPrompt)"
            seen = of_agent(account.findings(variables=here))
            assert [each for each in seen if each.endswith(asks)] != []
            assert [each for each in account.to_do(variables=here) if each[0] == "agent"] == []
        else:
            assert to_do == []
            assert len(hidden) == 1


def test_an_agent_that_can_ask_is_told_with_what(account: Account) -> None:
    askpass = account.askpass()
    with Agent(account, askpass) as agent:
        found = of_agent(account.findings(variables={**agent.environment, "DISPLAY": ":nowhere"}))
        if can_be_read(agent.pid):
            assert f"it asks for PINs and announces touches with {askpass['SSH_ASKPASS']}" in found


def test_an_askpass_that_cannot_be_run_is_told(account: Account) -> None:
    askpass = account.askpass()
    with Agent(account, askpass) as agent:
        Path(askpass["SSH_ASKPASS"]).chmod(0)
        to_do = account.to_do(variables={**agent.environment, **askpass})
        # What root cannot run, no user can; and what nobody may run is told where its name can be known.
        if can_be_read(agent.pid):
            assert to_do[0][1].endswith(f"SSH_ASKPASS is {askpass['SSH_ASKPASS']}, which cannot be executed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_agent_of_another_user_is_told_as_that(account: Account, folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, -1)
    path = folder / "socket"
    command = ("setpriv", f"--reuid={nobody.pw_uid}", "--clear-groups", "ssh-agent", "-D", "-a", str(path))
    account.configure("PinPrompt pinentry")
    with running(path, *command, environment=account.environment):
        seen = of_agent(account.findings(variables={"SSH_AUTH_SOCK": str(path), **account.askpass()}))
    assert "it runs as nobody: libpysk reads the pysk_config of nobody there, not yours" in seen
    # What yours says of pinentry is nothing that is done there.
    assert not any("PIN" in each for each in seen)


def unpacked(package: str, *more: str) -> tuple[Path, dict[str, str]]:
    """Return the folder that a package of Debian's is unpacked in, and by which variables it finds its libraries."""
    wanted = {each for name in (package, *more) for each in debian.depends(name) if each.startswith("lib")}
    packages = debian.unpack(package, *more, *sorted(wanted - {"libc6", *more}))
    folders = [*(packages / "usr/lib").glob("*-linux-gnu*"), *(packages / "lib").glob("*-linux-gnu*")]
    return packages, {"LD_LIBRARY_PATH": ":".join(map(str, folders))}


def end_gpg_agent(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"KILLAGENT\n")
        while connection.recv(1000):
            pass


def test_gpg_agent_is_told_for_it_does_not_take_the_keys_of_security_keys(account: Account, folder: Path) -> None:
    (folder / "gnupg").mkdir(mode=0o700)
    (folder / "gnupg/gpg-agent.conf").touch(mode=0o600)
    path = folder / "gnupg/S.gpg-agent.ssh"
    environment = {**account.environment, "GNUPGHOME": str(folder / "gnupg"), "SSH_AUTH_SOCK": str(path)}
    key = enrolled(account)
    packages, variables = unpacked("gpg-agent")
    program = packages / "usr/bin/gpg-agent"
    with contextlib.ExitStack() as stack:
        subprocess.run(
            [program, "--enable-ssh-support", "--daemon"], env=environment | variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60,
        )  # fmt: skip
        stack.callback(end_gpg_agent, folder / "gnupg/S.gpg-agent")
        refused = subprocess.run(
            ["ssh-add", key], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
        )
        assert refused.returncode != 0
        to_do = account.to_do(variables=environment)
    seen = (
        f"SSH_AUTH_SOCK is {path}, GnuPG's gpg-agent, which does not use libpysk: "
        "it refuses the keys of security keys, or cannot sign with them"
    )
    assert to_do == [("agent", seen, f"use OpenSSH's ssh-agent: {start(account)}")]


def test_gnome_keyring_is_told_with_the_ssh_agent_that_it_has(account: Account, folder: Path) -> None:
    packages, variables = unpacked("gnome-keyring", "libgck-1-0", "libcap-ng0")
    (folder / "run").mkdir(mode=0o700)
    (folder / "home").mkdir(mode=0o700)
    path = folder / "run/keyring/ssh"
    environment = {
        **account.environment,
        "SSH_AUTH_SOCK": str(path),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "HOME": str(folder / "home"),
        **variables,
    }
    command = [str(packages / "usr/bin/gnome-keyring-daemon"), "--foreground", "--components=ssh"]
    with running(path, *command, environment=environment):
        found = account.findings(variables={"SSH_AUTH_SOCK": str(path)})
    assert f"SSH_AUTH_SOCK is {path}, GNOME Keyring, which runs an ssh-agent of OpenSSH" in of_agent(found)
    # Its ssh-agent is started with no option of this kind.
    assert [each.remedy for each in found if each.remedy is not None] == [
        f"start an agent that accepts it: {start(account)}"
    ]


@contextlib.contextmanager
def played_agent(path: Path, answer: bytes) -> Iterator[None]:
    """Listen at a path as another program does, and answer whatever is asked so."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    held.append(connection)
                    connection.recv(100)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in held:
                each.close()


def test_any_other_program_behind_the_socket_is_told_by_its_name_and_may_be_used(
    account: Account, folder: Path
) -> None:
    with played_agent(folder / "socket", b"\0\0\0\5\x0c\0\0\0\0"):
        findings = account.findings(variables={"SSH_AUTH_SOCK": str(folder / "socket")})
    name = Path("/proc/self/comm").read_text().strip()
    assert of_agent(findings)[0] == (
        f"SSH_AUTH_SOCK is {folder}/socket, an unknown agent ({name}); only OpenSSH's ssh-agent uses libpysk"
    )
    assert [each for each in findings if each.remedy is not None] == []


def test_an_agent_that_waits_is_not_waited_for(account: Account, folder: Path) -> None:
    with played_agent(folder / "socket", b""):
        to_do = account.to_do(variables={"SSH_AUTH_SOCK": str(folder / "socket")})
    assert to_do[0] == (
        "agent",
        "the agent did not answer within 3 s, as when it waits for a touch or a PIN",
        "finish or cancel what it waits for, and try again",
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\xff\xff\xff" + bytes(100),
        b"\0\0\0\1\5",
        b"\0\0\0\6\x0c\0\0\0\1\xff",
        b"\0\0\0\x0d\x0c\0\0\0\1\0\0\0\x09abcd",
    ],
)
def test_an_answer_that_is_nonsense_is_told(account: Account, folder: Path, answer: bytes) -> None:
    with played_agent(folder / "socket", answer):
        to_do = account.to_do(variables={"SSH_AUTH_SOCK": str(folder / "socket")})
    assert to_do == [
        (
            "agent",
            f"SSH_AUTH_SOCK is {folder}/socket, and no agent answers there (ValueError)",
            f"run: {start(account)}",
        )
    ]
