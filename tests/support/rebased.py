"""A git rebase that has commits signed by a security key."""

from __future__ import annotations

import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.openssh import Person


def rebase(person: Person, public_key: Path, commits: int, environment: Mapping[str, str]) -> list[str]:
    """Rebase so many commits in a new repository, which an agent signs, and return how git judges each (%G?)."""
    (person.folder / "signers").write_text(f"me@example.org {public_key.read_text()}")

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], env={**person.environment, **environment}, cwd=person.folder,
            start_new_session=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=240,
        ).stdout  # fmt: skip

    for setting in (
        "user.name Me", "user.email me@example.org", "gpg.format ssh", f"user.signingkey {public_key}",
        f"gpg.ssh.allowedSignersFile {person.folder}/signers",
    ):  # fmt: skip
        git("config", "--global", *setting.split(" ", 1))
    git("init", "-q", "-b", "main", ".")
    for number in range(commits + 1):
        git("commit", "-q", "--allow-empty", "-m", f"commit {number}")
        if number == 0:
            git("checkout", "-q", "-b", "topic")
    git("-c", "commit.gpgsign=true", "rebase", "-q", "--force-rebase", "main")
    return git("log", "--format=%G?", "main..topic").split()
