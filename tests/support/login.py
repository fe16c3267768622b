"""Logging in to an sshd of the tests with a security key."""

from __future__ import annotations

from support.openssh import provider_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.openssh import Agent, Person
    from support.sshd import Sshd
    from support.terminal import Done


def authorize(server: Sshd, key: Path, options: str = "") -> None:
    server.authorized_keys.write_text(f"{options} {key.with_name(key.name + '.pub').read_text()}")


def log_in(person: Person, server: Sshd, key: Path, answers: Sequence[tuple[str, str]] = ()) -> Done:
    options = ["-o", f"SecurityKeyProvider={person.provider}", "-o", "IdentitiesOnly=yes", "-i", str(key)]
    return person.run(*server.client(*options), "echo logged in", answers=answers)


def log_in_by_agent(person: Person, server: Sshd, agent: Agent) -> Done:
    return person.run(*server.client(), "echo logged in", environment=agent.environment)


def succeeded(done: Done) -> bool:
    return done.status == 0 and "logged in" in done.screen and not provider_lines(done.screen + done.errors)
