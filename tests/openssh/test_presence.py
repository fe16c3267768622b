from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import pinentries
from support.openssh import Person, provider_lines
from support.watched_terminal import CTRL_C, WatchedTerminal

QUESTION = "Sign for ssh: with the software authenticator?"
# Answers as it is told to when it is asked to confirm.
PINENTRY = """#!/bin/sh
echo OK
while read -r line; do
  printf '%s\\n' "$line" >>'{told}'
  case $line in
    CONFIRM) [ "$ANSWER" = exit ] && exit; echo "$ANSWER" ;;
    *) echo OK ;;
  esac
done
"""


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
    assert "was not confirmed" in line
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


PURPOSE = "file signature, with a key for ssh:"


def test_the_question_says_what_for_and_no_notice_is_beside_it(asked: Person, key: Path) -> None:
    command = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(key)]
    with WatchedTerminal(command, asked.environment, asked.folder) as terminal:
        terminal.wait_for(f"libpysk: {PURPOSE}\r\nlibpysk: {QUESTION} Press Enter")
        # A touch that hardware waits for is told of by then.
        time.sleep(0.6)
        terminal.type("\r")
        assert terminal.end().startswith("0")
        assert "touch" not in terminal.screen


@pytest.mark.parametrize("end", [CTRL_C, signal.SIGTERM, signal.SIGHUP], ids=["ctrl-c", "sigterm", "sighup"])
@pytest.mark.parametrize("way", ["host", "askpass"])
def test_a_question_that_nobody_wants_any_more_is_withdrawn(
    asked: Person, key: Path, way: str, end: str | signal.Signals
) -> None:
    asked.configure("Presence ask", f"PinPrompt {way}")
    command = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(key)]
    variables = asked.askpass() if way == "askpass" else {}
    (asked.folder / "askpass").write_text("#!/bin/sh\necho asked >/dev/tty\nexec sleep 60\n")
    with WatchedTerminal(command, {**asked.environment, **variables}, asked.folder) as terminal:
        terminal.wait_for("asked" if way == "askpass" else "type no: ")
        if isinstance(end, str):
            terminal.type(end)
        else:
            terminal.end_all(end)
        assert not terminal.end().startswith("0")


def test_a_pinentry_confirms_where_it_is_named_and_can(asked: Person, key: Path, tmp_path: Path) -> None:
    program, told = tmp_path / "pinentry", tmp_path / "told"
    program.write_text(PINENTRY.format(told=told))
    program.chmod(0o700)
    asked.environment["SSH_SK_PROVIDER"] = str(pinentries.provider(program, tmp_path))
    # There is no terminal for who has none.
    asked.configure("Presence ask", "PinPrompt terminal pinentry")
    for answer, status in (("OK", 0), ("ERR 83886194 Not confirmed <Pinentry>", 255), ("exit", 255)):
        done = subprocess.run(
            ["setsid", "--wait", "ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key)],
            env={**asked.environment, "ANSWER": answer},
            input="a message", text=True, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == status, done
        assert f"SETDESC {PURPOSE}%0A{QUESTION}" in told.read_text()
    assert "nobody can be asked to confirm (terminal: there is no terminal; pinentry: " in done.stderr


def test_it_is_not_asked_in_another_way_than_named(asked: Person, key: Path) -> None:
    asked.configure("Presence ask", "PinPrompt askpass")
    variables = {**asked.askpass("yes"), "SSH_ASKPASS_REQUIRE": "never"}
    done, signature = asked.sign(key, environment=variables)
    assert "nobody can be asked to confirm (askpass: SSH_ASKPASS_REQUIRE is never)" in done.errors
    assert QUESTION not in done.screen
    assert not signature.exists()
