"""A machine with fresh accounts: this one's programs, where /home, /root, /etc/ssh and /usr/local are its own.

They are in namespaces, which only root can make that is not confined to a container. All that runs there ends with it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from support import debian, terminal
from support.provider_tree import REPOSITORY
from support.sshd import PASSWD_LINE, free_port, keygen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import IO

# Who lives there. Both `host` and `server` are the machine itself; who logs in to `server` is me, whoever it is here.
ACCOUNTS = {"alice": 47110, "me": 47111}
START_S = 30
PATIENCE_S = 120

_MOUNT = """
set -e
folder=$0 repository=$1 resolv=$(realpath /etc/resolv.conf)
cp "$resolv" "$folder/resolv.conf"
mkdir "$folder/repository"
mount --bind "$repository" "$folder/repository"
mount -t tmpfs -o mode=755 tmpfs /run
[ -e "$resolv" ] || { mkdir -p "$(dirname "$resolv")"; cp "$folder/resolv.conf" "$resolv"; }
mkdir -m 755 /run/sshd
for home in /home /root; do
  mount -t tmpfs -o mode=755 tmpfs $home
  case $repository in $home/*) mkdir -p "$repository"; mount --bind "$folder/repository" "$repository" ;; esac
done
mount -t tmpfs -o mode=755 tmpfs "$folder/programs"
cp /usr/bin/setpriv "$folder/programs/as-root"
chmod 4755 "$folder/programs/as-root"
cp "$folder/sudo" "$folder/apt-get" "$folder/programs/"
for each in passwd group ssh; do mount --bind "$folder/$each" /etc/$each; done
mount --bind "$folder/local" /usr/local
cd /
read -r pid rest </proc/self/stat
mount -t proc proc /proc
echo "$pid" >"$folder/pid.new"
mv "$folder/pid.new" "$folder/pid"
exec sleep infinity
"""

# What sudo is to these accounts, which are asked for no password.
_SUDO = """#!/bin/sh
exec {programs}/as-root --reuid=0 --regid=0 --clear-groups env -i HOME=/root USER=root LOGNAME=root {variables} \
PATH={programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""

# Whether there are such packages, and they can be installed, is all that is to be seen of it.
_APT_GET = """#!/bin/sh
exec /usr/bin/apt-get --simulate "$@"
"""

_SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
StreamLocalBindUnlink yes
"""

_SSH_CONFIG = """\
Host host server
    HostName 127.0.0.1
    Port {port}
Host server
    User me
"""


class Account:
    """Somebody who types commands on a fresh machine; what they set in their shell stays set."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name
        self.home = Path("/home", name)
        self._state = machine.folder / "shells" / name
        machine.run(f"cp -r /etc/skel {self.home} && chmod 755 {self.home} && chown -R {name}:{name} {self.home}")

    def types(
        self, command: str, answers: Sequence[tuple[str, str]] = (), *, patience_s: float = PATIENCE_S
    ) -> terminal.Done:
        """Return how a command ends that they type, whatever its status; answers: see ``terminal.run``."""
        # The state is written by bash itself, as they left it.
        script = f"""
[ ! -e {self._state} ] || . {self._state}
trap 'status=$?; export PWD_NOW=$PWD; declare -px >{self._state}; exit $status' EXIT
cd "${{PWD_NOW:-$HOME}}"
{command}
"""
        return terminal.run(
            self.machine.enter("bash", "-c", script, user=self.name),
            answers, environment=self.machine.environment(self.name), folder=Path("/"), patience_s=patience_s,
        )  # fmt: skip

    def runs(self, command: str, ready: Callable[[], bool]) -> AbstractContextManager[None]:
        """Keep a command running that they typed elsewhere, from when ready() is true to the end of the context."""
        return self.machine.runs(command, ready, user=self.name)

    def write(self, path: str, text: str, mode: int = 0o600) -> None:
        """Give them a file, at a path below their home, whose folders are theirs."""
        self.machine.write(self.home / path, text, mode)
        self.machine.run(f"chown {self.name}:{self.name} {self.home / path} {(self.home / path).parent}")

    def append(self, path: str, text: str) -> None:
        """Add text to a file of theirs, or make it."""
        self.write(path, (self.read(path) if self.has(path) else "") + text)

    def prepend(self, path: str, text: str) -> None:
        """Put text before what a file of theirs has, or make it."""
        self.write(path, text + (self.read(path) if self.has(path) else ""))

    def read(self, path: str) -> str:
        """Return what a file of theirs holds."""
        return self.machine.run(f"cat {shlex.quote(str(self.home / path))}")

    def has(self, path: str) -> bool:
        """Return whether there is such a file, socket or folder of theirs."""
        return self.machine.inside(self.home / path).exists()


class Machine:
    """The namespaces, their sshd, and whoever has an account there."""

    def __init__(self, folder: Path, local: Path, *, has_net: bool) -> None:
        self.folder = folder
        self._namespaces = ["--mount", "--pid", *([] if has_net else ["--net"])]
        self.port = free_port()
        self._pid = 0
        self._sshd: subprocess.Popen[bytes] | None = None
        folder.chmod(0o755)
        (folder / "programs").mkdir()
        (folder / "shells").mkdir()
        (folder / "shells").chmod(0o777)
        (folder / "local").symlink_to(local)
        variables = " ".join(shlex.quote(f"{key}={value}") for key, value in _outside().items())
        sudo = _SUDO.format(programs=folder / "programs", variables=variables)
        for name, text in (("sudo", sudo), ("apt-get", _APT_GET)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        shutil.copytree("/etc/ssh", folder / "ssh")
        (folder / "ssh").chmod(0o755)
        keygen("-t", "ed25519", "-f", str(folder / "ssh/ssh_host_ed25519_key"))
        self.config = folder / "ssh/sshd_config"
        self.config.write_text(_SSHD_CONFIG.format(port=self.port))
        (folder / "ssh/ssh_config").write_text(_SSH_CONFIG.format(port=self.port))
        self.trust(folder / "ssh/ssh_host_ed25519_key.pub")
        for name, own in (("passwd", "{0}:x:{1}:{1}::/home/{0}:/bin/bash\n"), ("group", "{0}:x:{1}:\n")):
            lines = Path("/etc", name).read_text().splitlines(keepends=True)
            lines = [line for line in lines if name != "passwd" or not line.startswith("sshd:")]
            accounts = [own.format(*each) for each in ACCOUNTS.items()]
            (folder / name).write_text("".join([*lines, *accounts, f"{PASSWD_LINE}\n" * (name == "passwd")]))

    def trust(self, public_key: Path) -> None:
        """Let everybody's ssh know one more host key of the machine's sshd."""
        kind, blob = public_key.read_text().split()[:2]
        with (self.folder / "ssh/ssh_known_hosts").open("a") as known:
            known.write(f"[127.0.0.1]:{self.port} {kind} {blob}\n")

    def start(self) -> None:
        """Make the namespaces."""
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *self._namespaces, "--fork", "--kill-child"]
        self._holder = subprocess.Popen(
            [*command, "sh", "-c", _MOUNT, str(self.folder), str(REPOSITORY)], stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while not (self.folder / "pid").exists():
            assert self._holder.poll() is None, "the namespaces could not be made"
            assert time.monotonic() < deadline, "the namespaces were not made in time"
            time.sleep(0.01)
        self._pid = int((self.folder / "pid").read_text())

    def stop(self) -> None:
        """End all that runs there."""
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait(START_S)
        self._holder.kill()
        self._holder.wait(START_S)

    def serve(self) -> None:
        """Start its sshd, or start it anew with what its sshd_config says by now."""
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait(START_S)
        root = debian.unpacked()
        parts = {"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"}
        paths = {keyword: root / "usr/lib/openssh" / name for keyword, name in parts.items()}
        options = [word for keyword, path in paths.items() if path.exists() for word in ("-o", f"{keyword}={path}")]
        log = self.folder / "sshd.log"
        log.write_text("")
        self._sshd = subprocess.Popen(
            self.enter(str(root / "usr/sbin/sshd"), "-D", "-E", str(log), "-o", "LogLevel=DEBUG", *options),
            env=debian.libraries() | self.environment("root"), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while f"Server listening on 127.0.0.1 port {self.port}." not in log.read_text():
            assert self._sshd.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def enter(self, *command: str, user: str = "root") -> list[str]:
        """Return the words of a command that runs there, as that user."""
        entered = ["nsenter", "--target", str(self._pid), *self._namespaces]
        if user != "root":
            entered += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        # What is entered is a child of nsenter's, and would outlive it.
        return [*entered, "setpriv", "--pdeathsig", "TERM", *command]

    @contextmanager
    def runs(self, command: str, ready: Callable[[], bool], user: str = "root") -> Iterator[None]:
        """Keep a command running there, in the user's home, from when ready() is true to the end of the context."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self.enter("sh", "-c", f"cd; exec {command}", user=user),
                env=self.environment(user), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
            try:
                deadline = time.monotonic() + START_S
                while not ready():
                    assert process.poll() is None, f"{command} ended: {_all_of(output)}"
                    assert time.monotonic() < deadline, f"{command} did not begin: {_all_of(output)}"
                    time.sleep(0.05)
                yield
            finally:
                process.kill()
                process.wait(START_S)

    def environment(self, user: str) -> dict[str, str]:
        """Return the variables that a login there gives to a user."""
        home = "/root" if user == "root" else f"/home/{user}"
        path = f"{self.folder}/programs:/usr/local/bin:/usr/bin:/bin" + ":/usr/sbin:/sbin" * (user == "root")
        return {
            **debian.programs(path), "HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash",
            "LANG": "C.UTF-8", "TERM": "linux",
        }  # fmt: skip

    def run(self, script: str) -> str:
        """Return what a script of sh prints that root runs there. Raises CalledProcessError if it fails."""
        done = subprocess.run(
            self.enter("sh", "-e", "-c", script), env=self.environment("root"), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        return done.stdout

    def inside(self, path: Path) -> Path:
        """Return the path by which this process reaches a path of the machine."""
        return Path(f"/proc/{self._pid}/root{path}")

    def write(self, path: Path, text: str, mode: int = 0o644) -> None:
        """Make a file of root's, with the folders that it is in."""
        inside = self.inside(path)
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(text)
        inside.chmod(mode)


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _outside() -> dict[str, str]:
    """Return the variables by which this machine reaches the net."""
    return {
        key: value
        for key, value in os.environ.items()
        if key.lower().endswith("_proxy") or key.startswith(("PIP_", "SSL_CERT_"))
    }


@contextmanager
def machine(local: Path, *, has_net: bool = True) -> Iterator[Machine]:
    """Yield a fresh machine whose /usr/local is that folder, while the context lasts.

    has_net: it has the networks of this machine, instead of a loopback of its own.
    """
    with tempfile.TemporaryDirectory(prefix="pysk-fresh-") as folder:
        made = Machine(Path(folder), local, has_net=has_net)
        made.start()
        try:
            yield made
        finally:
            made.stop()
