from __future__ import annotations

from pathlib import Path

import pytest
from support.openssh import Person, provider_lines

QUESTION = "Sign for ssh: with the software authenticator?"


@pytest.fixture
def asked(person: Person, key: Path) -> Person:
    """Somebody whose software authenticator asks before it signs."""
    person.configure("Presence ask")
    return person


@pytest.mark.parametrize("answer", ["", "y", "yes"])
def test_who_confirms_on_the_terminal_signs(asked: Person, key: Path, answer: str) -> None:
    done, signature = asked.sign(key, answers=[(QUESTION, f"{answer}\n")])
    assert done.status == 0, done
    assert asked.verify(key, signature).returncode == 0


def test_who_refuses_on_the_terminal_does_not_sign(asked: Person, key: Path) -> None:
    done, signature = asked.sign(key, answers=[(QUESTION, "no\n")])
    assert done.status == 255
    assert not signature.exists()


def test_who_confirms_through_askpass_signs(asked: Person, key: Path) -> None:
    done, signature = asked.sign(key, environment=asked.askpass("confirmed"))
    assert (done.status, provider_lines(done.errors)) == (0, [])
    assert asked.verify(key, signature).returncode == 0
    assert (asked.folder / "questions").read_text().count(QUESTION) == 1


def test_who_refuses_through_askpass_does_not_sign(asked: Person, key: Path) -> None:
    done, signature = asked.sign(key, environment=asked.askpass())
    assert done.status == 255
    (line,) = provider_lines(done.errors)
    assert "refused" in line
    assert not signature.exists()
    assert QUESTION in (asked.folder / "questions").read_text()


def test_an_askpass_that_nobody_answers_is_ended_with_the_persons_time(asked: Person, key: Path) -> None:
    asked.configure("Presence ask", "Timeout 1")
    variables = asked.askpass()
    running = asked.folder / "running"
    (asked.folder / "askpass").write_text(f"#!/bin/sh\necho $$ >'{running}'\nexec sleep 60\n")
    done, signature = asked.sign(key, environment=variables)
    assert done.status == 255
    assert provider_lines(done.errors) == [
        "libpysk: nobody answered within 1 second; try again and touch the authenticator"
    ]
    assert not signature.exists()
    assert not Path("/proc", running.read_text().strip()).exists()


def test_an_askpass_that_cannot_be_started_is_told(asked: Person, key: Path) -> None:
    missing = str(asked.folder / "missing")
    done, _ = asked.sign(key, environment={**asked.askpass(), "SSH_ASKPASS": missing})
    assert done.status == 255
    (line,) = provider_lines(done.errors)
    assert line.startswith(f"libpysk: {missing} cannot be started to ask for confirmation")
