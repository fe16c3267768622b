"""How a throw-away sshd runs on 127.0.0.1, from the unpacked package, as root or as anybody."""

from __future__ import annotations

import functools
import os
import pwd
import socket
import subprocess
import time
from pathlib import Path

from support import debian

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

START_S = 20
STOP_S = 10
# Somebody else may take the free port between our looking and sshd's binding.
ATTEMPTS = 5

PASSWD_LINE = "sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin"
PRIVSEP_FOLDER = Path("/run/sshd")

_IN_NAMESPACE = f"""
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 {PRIVSEP_FOLDER} &&
{{ grep -v ^sshd: /etc/passwd; echo {PASSWD_LINE}; }} >/run/passwd &&
mount --bind /run/passwd /etc/passwd && exec "$@"
"""


class SshdError(Exception):
    """The throw-away sshd did not start; the message holds its log."""


@functools.cache
def surroundings() -> tuple[str, ...]:
    """Return the words to put before a command that is or starts an sshd; it is executed in the same process.

    An sshd that is started by root wants a user "sshd" and /run/sshd, which only an installed one has. Where root may,
    it gets them in a mount namespace of its own. In a container, where root may not, a preloaded library shows it the
    user, and an empty /run/sshd is made. An ordinary user's sshd wants neither.

    :raises SshdError: if root can do neither here.
    """
    if os.geteuid() != 0:
        return ()
    namespace = ("unshare", "--mount", "sh", "-c", _IN_NAMESPACE, "sh")
    if _runs(*namespace, "true"):
        return namespace
    debian.CACHE.mkdir(parents=True, exist_ok=True)
    passwd = debian.CACHE / "passwd"
    scratch = debian.CACHE / f"passwd.{os.getpid()}"
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("sshd:")]
    # Renamed into place, since another run may be using it.
    scratch.write_text("\n".join([*others, PASSWD_LINE, ""]))
    scratch.rename(passwd)
    preloading = (
        "env", "LD_PRELOAD=libnss_wrapper.so", f"NSS_WRAPPER_PASSWD={passwd}", "NSS_WRAPPER_GROUP=/etc/group"
    )  # fmt: skip
    if not _runs(*preloading, "getent", "passwd", "sshd"):
        raise SshdError("root cannot make a mount namespace here; install libnss-wrapper, or be an ordinary user")
    PRIVSEP_FOLDER.mkdir(mode=0o755, exist_ok=True)
    return preloading


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=START_S).returncode == 0


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Sshd:
    """An sshd that serves the user who runs it, while the context lasts.

    ``folder`` takes its files; ``host_keys`` are private key files, also sk ones if ``options``, lines for sshd_config,
    name a SecurityKeyProvider. Keys in ``folder``/authorized_keys may log in. ``environment`` is added to an empty one.
    """

    def __init__(
        self,
        folder: Path,
        host_keys: Sequence[Path],
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.port = 0
        self.authorized_keys = folder / "authorized_keys"
        self._host_keys = host_keys
        self._options = options
        self._environment = {**debian.programs(), "LANG": "C.UTF-8", **(environment or {})}
        self._log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for _ in range(ATTEMPTS):
            self.port = free_port()
            self._start()
            if self._is_listening():
                return self
            self._stop()
            if "Address already in use" not in self.log():
                break
        raise SshdError(f"sshd did not start:\n{self.log()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if error is not None and hasattr(error, "add_note"):
            error.add_note(f"sshd's log:\n{self.log()}")

    def log(self) -> str:
        """Return all that this sshd has logged so far, at LogLevel DEBUG."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def known_hosts(self) -> Path:
        """Return a known_hosts file that names each host key, so that a client may insist on them."""
        keys = [path.with_name(path.name + ".pub").read_text().split()[:2] for path in self._host_keys]
        path = self.folder / "known_hosts"
        path.write_text("".join(f"[127.0.0.1]:{self.port} {kind} {blob}\n" for kind, blob in keys))
        return path

    def client(self, *options: str) -> list[str]:
        """Return the command line of an ssh that logs in here and takes no settings from the person's own files.

        A remote command may be appended to it.
        """
        return [
            "ssh", "-F", "none", "-T", "-p", str(self.port), "-l", self.user,
            "-o", f"UserKnownHostsFile={self.known_hosts()}", "-o", "GlobalKnownHostsFile=none",
            "-o", "StrictHostKeyChecking=yes", "-o", "PreferredAuthentications=publickey", "-o", "ConnectTimeout=20",
            *options, "127.0.0.1",
        ]  # fmt: skip

    def _start(self) -> None:
        root = debian.unpacked()
        # What later releases start for each connection, from where it would be installed unless told.
        parts = {
            "SshdSessionPath": root / "usr/lib/openssh/sshd-session",
            "SshdAuthPath": root / "usr/lib/openssh/sshd-auth",
        }
        lines = [
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            *(f"HostKey {path}" for path in self._host_keys),
            f"AuthorizedKeysFile {self.authorized_keys}",
            "PidFile none",
            # The folder lies in /tmp, which anybody may write.
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "LogLevel DEBUG",
            *self._options,
            *(f"{keyword} {path}" for keyword, path in parts.items() if path.exists()),
        ]
        self._log.unlink(missing_ok=True)
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        # A test that is killed takes its server with it.
        command = ["setpriv", "--pdeathsig", "TERM", *surroundings(), str(root / "usr/sbin/sshd")]
        self._process = subprocess.Popen(
            [*command, "-D", "-f", str(config), "-E", str(self._log)], env=debian.libraries() | self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def _is_listening(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if f"Server listening on 127.0.0.1 port {self.port}." in self.log():
                return True
            time.sleep(0.01)
        return False

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            _, errors = self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, errors = self._process.communicate()
        if errors:
            with self._log.open("ab") as log:
                log.write(errors)


def keygen(*arguments: str) -> None:
    """Make a plain key with ssh-keygen, for hosts and for users who need no security key."""
    command = ["ssh-keygen", "-q", "-N", "", *arguments]
    subprocess.run(command, env=debian.programs(), check=True, timeout=60, stdin=subprocess.DEVNULL)
