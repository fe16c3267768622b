"""Which program asks for an operation, and which ones ask nobody for a PIN, however a provider puts the question."""

from __future__ import annotations

import posix

from sk_provider.api import MAJOR_AGENT_ASKS, MAJOR_SIGNING_ASKS

from . import DEFAULT_ASKPASS

_HELPER = "ssh-sk-helper"
_AGENT = "ssh-agent"
_SERVERS = ("sshd", "sshd-session", "sshd-auth")


AGENT = "agent"


def program() -> str | None:
    """Return the name of the program that asks: AGENT for an ssh-agent, sshd for any process of its, None if it is not
    known.

    It is a process's own word, which any program can give itself.
    """
    name = name_of("self")
    if name == _HELPER:
        name = name_of(str(posix.getppid()))
    if name == _AGENT:
        return AGENT
    return "sshd" if name in _SERVERS else name or None


def remedy_for_a_pin(api_major: int) -> str | None:
    """Return what a person does where a signature wants a PIN that this host asks nobody for; None if it asks.

    api_major: of the host's API.
    """
    if api_major < MAJOR_SIGNING_ASKS:
        return "this OpenSSH cannot ask for a PIN when it signs: use OpenSSH 8.4 or newer, or a key that needs none"
    if name_of("self") != _HELPER:
        return None
    parent = name_of(str(posix.getppid()))
    if parent in _SERVERS:
        return "sshd cannot ask for a PIN: use a HostKey that needs none"
    if parent == _AGENT and api_major < MAJOR_AGENT_ASKS:
        return "this ssh-agent cannot ask for a PIN: sign without the agent, or use OpenSSH 8.9 or newer"
    if parent == _AGENT and not _has_askpass():
        return "ssh-agent has nothing to ask with: start it with SSH_ASKPASS and DISPLAY, or use PinPrompt pinentry"
    return None


def tells_of_touches(api_major: int) -> bool:
    """Return whether the host itself tells a person, where they can see it, that a touch is waited for.

    On standard error, if that is a terminal, or else by SSH_ASKPASS, if they have that (notify_start() in readpass.c):
    ssh since 8.4, ssh-keygen when it certifies, and ssh-agent, whose standard error is none, as a rule. ssh-keygen, on
    standard error when it signs (-Y), and on standard output when it enrolls or lists (-K), whatever these are. Nobody
    else: ssh-add; sshd has no touch to tell of, for it asks for none, whatever its host key wants. A provider cannot
    see what was told, nor what ssh-keygen is about: where it has no terminal and certifies, a person who has
    SSH_ASKPASS is told twice.
    """
    name = program()
    if name == AGENT:
        return _has_askpass()
    if name == "ssh":
        return api_major >= MAJOR_SIGNING_ASKS and (posix.isatty(2) or _has_askpass())
    # Standard error that is no terminal is read by another program, such as git, which shows it late or never.
    return name == "ssh-keygen" and posix.isatty(2)


def _has_askpass() -> bool:
    """Return whether an agent, whose environment is ours, can ask by a program (readpass.c)."""
    variable = posix.environ.get
    requirement = variable(b"SSH_ASKPASS_REQUIRE", b"").lower()
    has_display = bool(variable(b"DISPLAY") or variable(b"WAYLAND_DISPLAY"))
    program = variable(b"SSH_ASKPASS") or DEFAULT_ASKPASS.encode()
    return requirement != b"never" and (has_display or requirement == b"force") and posix.access(program, posix.X_OK)


def name_of(process: str) -> str:
    """Return what a process calls itself, "" if that is not told. process: its number, or self. Raises nothing."""
    try:
        descriptor = posix.open(f"/proc/{process}/comm", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return posix.read(descriptor, 64).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        posix.close(descriptor)
