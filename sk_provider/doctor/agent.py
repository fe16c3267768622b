"""The agent behind SSH_AUTH_SOCK: whose program it is, what it holds, and whether it takes our library and can ask."""

from __future__ import annotations

import getopt
import os
import shlex
import socket
import struct
import sys
import time

from sk_provider import library
from sk_provider.credentials import openssh_key

from . import configuration, programs, provider
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .finding import Account

SUBJECT = "agent"

_PATIENCE = 3.0
"""Seconds in which an agent answers that waits for nobody."""
_MOST = 1 << 18
"""Bytes of the longest answer, which ssh allows as well."""

# draft-ietf-sshm-ssh-agent §6
_REQUEST_IDENTITIES = 11
_IDENTITIES_ANSWER = 12

_OPENSSH = "ssh-agent"
_OTHERS = {
    "gpg-agent": "GnuPG's gpg-agent",
    "1password": "1Password",
    "bitwarden": "Bitwarden",
    "keepassxc": "KeePassXC",
    "ssh-tpm-agent": "ssh-tpm-agent",
    "yubikey-agent": "yubikey-agent",
    "pageant": "Pageant",
}
"""Agents that load no library, by the names that the kernel has for their programs."""
_BEFORE_OPENSSH = {"gnome-keyring-d": "GNOME Keyring", "gcr-ssh-agent": "GNOME's gcr-ssh-agent"}
"""Those that start an ssh-agent, as its parent, and leave security keys to it."""
_FORWARDING = ("sshd", "sshd-session", "sshd-auth")
_PLACES = {
    "/S.gpg-agent.ssh": "gpg-agent",
    "/keyring/ssh": "gnome-keyring-d",
    "/gcr/ssh": "gcr-ssh-agent",
    "/.1password/agent.sock": "1password",
    "/.bitwarden-ssh-agent.sock": "bitwarden",
}
"""How the usual paths of their sockets end, for where the process cannot be seen."""

_OPTIONS = "cDdksE:a:O:P:t:TuUv"
"""ssh-agent's, all releases together."""
_ASKPASS = ("/usr/bin/ssh-askpass", "/usr/libexec/openssh/ssh-askpass", "/usr/libexec/ssh-askpass")
"""What is run where SSH_ASKPASS names none, by Debian, Fedora and OpenSSH itself."""
_CLOCK_SLACK = 2.0
"""Seconds, since the kernel tells the start of a process and of itself in whole ones."""


class _Process:
    """A process that listens at a socket, as far as the kernel shows it."""

    def __init__(self, pid: int) -> None:
        """Look at a process. Raises OSError if it is gone or hidden."""
        self.pid = pid
        self.name = _read(f"/proc/{pid}/comm").decode(errors="replace").strip()
        self.arguments = [each.decode(errors="replace") for each in _read(f"/proc/{pid}/cmdline").split(b"\0")[:-1]]
        status = _read(f"/proc/{pid}/status")
        self.user = int(next(line for line in status.splitlines() if line.startswith(b"Uid:")).split()[2])
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        self.parent = int(fields[1])
        boot = next(line for line in _read("/proc/stat").splitlines() if line.startswith(b"btime "))
        self.started = int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")

    def option(self, letter: str) -> str | None:
        """Return the value of an option of ssh-agent's, None where it was not given."""
        try:
            options, _ = getopt.getopt(self.arguments[1:], _OPTIONS)
        except getopt.GetoptError:
            return None
        return dict(options).get(f"-{letter}")

    def environment(self) -> dict[str, str] | None:
        """Return its variables, None if the kernel does not show them."""
        try:
            content = _read(f"/proc/{self.pid}/environ")
        except OSError:
            return None
        pairs = (each.partition(b"=") for each in content.split(b"\0"))
        return {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs if name}


def check(account: Account) -> Iterator[Finding]:
    """Look at the agent, and ask it for nothing but the list of its keys."""
    path = account.variable("SSH_AUTH_SOCK")
    if path is None:
        yield Finding(SUBJECT, "SSH_AUTH_SOCK is not set, so no agent is used")
        return
    start = f'eval "$(ssh-agent -s{_allowing(account)})"'
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(path)
            process = _listener(path, connection, account)
            try:
                keys = _keys(connection)
            except TimeoutError:
                keys = None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or (isinstance(error, OSError) and str(error)) or type(error).__name__
        yield Finding(SUBJECT, f"SSH_AUTH_SOCK is {path}, and no agent answers there ({reason})", f"run: {start}")
        return
    name = process.name if process else next((each for end, each in _PLACES.items() if path.endswith(end)), None)
    yield from _check_kind(name, path, start)
    if keys is None:
        yield Finding(
            SUBJECT,
            f"the agent did not answer within {_PATIENCE:.0f} s, as when it waits for a touch or a PIN",
            "finish or cancel what it waits for, and try again",
        )
    else:
        yield from _tell_keys(keys)
    if name in _BEFORE_OPENSSH:
        # By now it has started the other, if it does so on demand.
        within = [each for each in _agents() if process and each.parent == process.pid]
        process, name = (within[0] if within else None), _OPENSSH
    if name == _OPENSSH:
        yield from _check_allowed(process, account, start)
        if process is not None and process.user != os.geteuid():
            name = provider.user_name(process.user)
            yield Finding(
                SUBJECT, f"it runs as {name}: libpysk reads the pysk_config of {name} there, not yours", private=(name,)
            )
            return
        yield from _check_asking(process, account, start)


def held_keys(account: Account) -> list[bytes]:
    """Return the public keys that the agent holds, none where it cannot be asked."""
    path = account.variable("SSH_AUTH_SOCK")
    if path is None:
        return []
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(path)
            return _keys(connection)
    except (OSError, ValueError):
        return []


def _allowing(account: Account) -> str:
    """Return the option that lets an agent take our library, if it wants one."""
    path = library.path_of(programs.wanted_api(account))
    return "" if provider.allowed(path, provider.AGENT_DEFAULT) else f" -P {shlex.quote(os.path.realpath(path))}"


def _listener(path: str, connection: socket.socket, account: Account) -> _Process | None:
    """Return the process behind a socket, None if it cannot be told.

    The kernel tells whose it was when it was made. Agents make it and then fork, or systemd makes it for them.
    """
    if sys.platform != "linux":
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", credentials)
    made = os.stat(path).st_mtime
    try:
        maker = _Process(pid)
    except (OSError, ValueError, StopIteration, IndexError):
        pass
    else:
        if maker.started <= made + _CLOCK_SLACK and maker.name != "systemd":
            return maker
    candidates = [each for each in _agents() if each.user == user and each.option("a") in (None, path)]
    named = [each for each in candidates if each.option("a") == path]
    known = [each for each in candidates if str(each.pid) == account.variable("SSH_AGENT_PID")]
    if named or known or len(candidates) == 1:
        return (named or known or candidates)[0]
    near = [each for each in candidates if abs(each.started - made) <= _CLOCK_SLACK]
    return near[0] if len(near) == 1 else None


def _agents() -> Iterator[_Process]:
    try:
        entries = os.listdir("/proc")
    except OSError:
        return
    for entry in entries:
        if entry.isdecimal():
            try:
                process = _Process(int(entry))
            except (OSError, ValueError, StopIteration, IndexError):
                continue
            if process.name == _OPENSSH or process.name in _OTHERS or process.name in _BEFORE_OPENSSH:
                yield process


def _keys(connection: socket.socket) -> list[bytes]:
    """Return the public keys that an agent holds. Raises OSError, or ValueError if what it says is nonsense."""
    deadline = time.monotonic() + _PATIENCE
    connection.sendall(openssh_key.string(bytes((_REQUEST_IDENTITIES,))))
    answer = b""
    while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big") <= _MOST:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(1 << 16)
        if not piece:
            raise ConnectionResetError
        answer += piece
    untrusted_message, _ = openssh_key.take_string(answer)
    if untrusted_message[:1] != bytes((_IDENTITIES_ANSWER,)):
        raise ValueError
    keys = []
    rest = untrusted_message[5:]
    while rest:
        blob, rest = openssh_key.take_string(rest)
        _, rest = openssh_key.take_string(rest)  # the comment
        keys.append(blob)
    return keys


def _check_kind(name: str | None, path: str, start: str) -> Iterator[Finding]:
    if name == _OPENSSH:
        yield Finding(SUBJECT, f"SSH_AUTH_SOCK is {path}, an ssh-agent of OpenSSH")
    elif name in _BEFORE_OPENSSH:
        yield Finding(SUBJECT, f"SSH_AUTH_SOCK is {path}, {_BEFORE_OPENSSH[name]}, which runs an ssh-agent of OpenSSH")
    elif name in _FORWARDING:
        yield Finding(SUBJECT, f"SSH_AUTH_SOCK is {path}, the forwarded agent of another machine")
    elif name not in _OTHERS:
        # It may pass on what it is asked to an ssh-agent.
        shown = f" ({name})" if name else ""
        yield Finding(
            SUBJECT,
            f"SSH_AUTH_SOCK is {path}, an unknown agent{shown}; only OpenSSH's ssh-agent uses libpysk",
        )
    else:
        yield Finding(
            SUBJECT,
            f"SSH_AUTH_SOCK is {path}, {_OTHERS[name]}, which does not use libpysk: "
            "it refuses the keys of security keys, or cannot sign with them",
            f"use OpenSSH's ssh-agent: {start}",
        )


def _tell_keys(keys: list[bytes]) -> Iterator[Finding]:
    ours = []
    for blob in keys:
        try:
            algorithm, _, application = openssh_key.parse_public_blob(blob)
        except ValueError:
            continue
        ours.append((openssh_key.TYPES[algorithm], openssh_key.fingerprint(blob), application))
    if not ours:
        yield Finding(SUBJECT, f"it holds {_count(len(keys))}, and none of a security key")
        return
    yield Finding(
        SUBJECT,
        f"it holds {_count(len(keys))}; no agent tells which library it uses for a key of a security key: "
        "to be sure, remove it (ssh-add -d FILE) and add it again (ssh-add -S LIBRARY FILE)",
    )
    for kind, fingerprint, application in ours:
        yield Finding(SUBJECT, f"it holds {kind} {fingerprint} for {application}", private=(fingerprint, application))


def _count(number: int) -> str:
    return "1 key" if number == 1 else f"{number or 'no'} keys"


def _check_allowed(process: _Process | None, account: Account, start: str) -> Iterator[Finding]:
    path = library.path_of(programs.wanted_api(account))
    if process is None:
        yield Finding(
            SUBJECT, f"it is unknown which libraries it accepts; by default those that match {provider.AGENT_DEFAULT}"
        )
        return
    patterns = process.option("P")
    if provider.allowed(path, patterns or provider.AGENT_DEFAULT):
        yield Finding(SUBJECT, f"it accepts the library (-P {patterns or provider.AGENT_DEFAULT})")
    else:
        yield Finding(
            SUBJECT,
            f"it accepts only libraries that match {patterns or provider.AGENT_DEFAULT}, and not "
            f"{os.path.realpath(path)}: ssh-add fails with 'agent refused operation'",
            f"start an agent that accepts it: {start}",
        )


def _check_asking(process: _Process | None, account: Account, start: str) -> Iterator[Finding]:
    """Look whether it can ask for a PIN, and show that a touch is waited for."""
    environment = process.environment() if process else None
    if environment is None:
        yield Finding(
            SUBJECT,
            "its environment cannot be read, so it is unknown whether it can ask for a PIN and announce a touch: "
            "it can if SSH_ASKPASS and DISPLAY (or WAYLAND_DISPLAY) were set when it was started",
        )
        return
    lacking = _lacking(environment)
    private = (environment.get("SSH_ASKPASS", ""),)
    if lacking is None:
        yield Finding(SUBJECT, f"it asks for PINs and announces touches with {_askpass(environment)}", private=private)
        return
    sentence = f"it can neither ask for a PIN nor announce a touch: {lacking}"
    if any("pinentry" in ways for _, ways in configuration.loaded().lines_of("pin_prompts")):
        yield Finding(SUBJECT, f"{sentence}; libpysk asks for PINs by pinentry instead (PinPrompt)", private=private)
        return
    otherwise = "or write `PinPrompt pinentry` in pysk_config"
    if account.variable("DISPLAY") or account.variable("WAYLAND_DISPLAY") or account.variable("SSH_ASKPASS"):
        if _lacking(account.environment) is None:
            yield Finding(SUBJECT, sentence, f"start it again from here: {start}, {otherwise}", private)
        else:
            yield Finding(
                SUBJECT,
                sentence,
                "install one (Debian: sudo apt-get install ssh-askpass-gnome), "
                f"then start it again: {start}, {otherwise}",
                private,
            )
    else:
        yield Finding(SUBJECT, f"{sentence} (keys that need neither work)", private=private)


def _lacking(environment: Mapping[str, str]) -> str | None:
    """Return what keeps an agent with these variables from asking, None if nothing does."""
    program = _askpass(environment)
    if program is None:
        return "SSH_ASKPASS is not set, and no ssh-askpass is installed"
    if not os.access(program, os.X_OK):
        return f"SSH_ASKPASS is {program}, which cannot be executed"
    if environment.get("SSH_ASKPASS_REQUIRE") == "force":
        return None
    if not environment.get("DISPLAY") and not environment.get("WAYLAND_DISPLAY"):
        return "neither DISPLAY nor WAYLAND_DISPLAY was set when it was started"
    return None


def _askpass(environment: Mapping[str, str]) -> str | None:
    return environment.get("SSH_ASKPASS") or next((path for path in _ASKPASS if os.path.exists(path)), None)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1 << 20)
