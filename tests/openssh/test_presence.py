from __future__ import annotations

import subprocess
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


@pytest.mark.parametrize("answer", ["", "yes", "Yes"])
def test_who_confirms_through_askpass_signs(asked: Person, key: Path, answer: str) -> None:
    done, signature = asked.sign(key, environment=asked.askpass(answer))
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


@pytest.mark.parametrize("answer", ["no", "confirmed", "yes and no", "x" * 1000])
def test_an_askpass_that_ends_well_but_says_something_else_has_not_agreed(
    asked: Person, key: Path, answer: str
) -> None:
    done, signature = asked.sign(key, environment=asked.askpass(answer))
    assert done.status == 255
    assert not signature.exists()


def test_an_askpass_that_closes_its_output_before_it_ends_is_waited_for(asked: Person, key: Path) -> None:
    variables = asked.askpass()
    (asked.folder / "askpass").write_text("#!/bin/sh\nexec >&-\nsleep 1\n")
    done, _ = asked.sign(key, environment=variables)
    assert done.status == 0, done


def test_an_askpass_that_prints_without_end_is_ended_with_the_persons_time(asked: Person, key: Path) -> None:
    asked.configure("Presence ask", "Timeout 1")
    variables = asked.askpass()
    (asked.folder / "askpass").write_text("#!/bin/sh\nexec yes\n")
    done, _ = asked.sign(key, environment=variables)
    assert "nobody answered within 1 second" in done.errors


def test_an_askpass_without_a_display_is_told(asked: Person, key: Path) -> None:
    variables = {**asked.environment, **asked.askpass("yes"), "SSH_ASKPASS_REQUIRE": ""}
    del variables["DISPLAY"]
    done = subprocess.run(
        ["setsid", "--wait", "ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key)],
        env=variables, input="a message", text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    (line,) = provider_lines(done.stderr)
    assert "for SSH_ASKPASS no DISPLAY" in line
    assert "with DISPLAY set" in line


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
