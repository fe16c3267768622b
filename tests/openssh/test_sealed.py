"""Keys whose handles are sealed under a passphrase, with the programs of OpenSSH."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from support.login import authorize, log_in, log_in_by_agent, succeeded
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, Agent, KeyFile, Person, provider_lines

from sk_provider.credentials.sealing import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from support.relay import Connect
    from support.sshd import Sshd

PASSPHRASE = "correct horse"
TWICE = [("Passphrase for the new key: ", PASSPHRASE), ("Same passphrase again: ", PASSPHRASE)]
RIGHT = [("Passphrase: ", PASSPHRASE)]
WRONG = [("Passphrase: ", "correct horsf")]
LINES = ("Presence auto", "SealKeyHandle passphrase")
WRONG_OR_ELSEWHERE = "libpysk: the passphrase is wrong, or the authenticator does not hold this key; try again, or "


@pytest.fixture
def sealed(person: Person) -> Path:
    """Return a key of person's software authenticator that is sealed."""
    person.configure(*LINES)
    done, key = person.enroll("id", "ed25519-sk", answers=TWICE)
    assert done.status == 0, done
    assert PASSPHRASE not in done.screen + done.errors
    return key


def pysk(person: Person, *arguments: str, answers: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [person.pysk, *arguments],
        input=answers, env=person.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def pin_status(person: Person) -> str:
    return pysk(person, "pin", "status").stdout


def test_a_sealed_key_logs_in_by_its_passphrase(person: Person, server: Sshd, sealed: Path) -> None:
    assert KeyFile(sealed).key_handle.startswith(MARK)
    authorize(server, sealed)
    done = log_in(person, server, sealed, RIGHT)
    assert done.status == 0, done
    assert provider_lines(done.errors) == []
    assert "libpysk: login as" in done.screen
    assert PASSPHRASE not in done.screen + done.errors


def test_a_signature_by_a_sealed_key_verifies(person: Person) -> None:
    person.configure(*LINES)
    done, key = person.enroll("id", "ecdsa-sk", answers=TWICE)
    assert done.status == 0, done
    done, signature = person.sign(key, answers=RIGHT)
    assert done.status == 0, done
    assert person.verify(key, signature).returncode == 0


def test_a_wrong_passphrase_and_a_wrong_token_are_told_as_either(person: Person, sealed: Path) -> None:
    done, _ = person.sign(sealed, answers=WRONG)
    assert done.status != 0
    (line,) = provider_lines(done.errors)
    assert line.startswith(WRONG_OR_ELSEWHERE)
    # The right one, where another authenticator is in the place of that which made the key.
    pysk(person, "reset", f"soft:{person.store}", "--yes")
    done, _ = person.sign(sealed, answers=RIGHT)
    assert done.status != 0
    assert provider_lines(done.errors) == [line]


def test_no_passphrase_leaves_no_key(person: Person) -> None:
    person.configure(*LINES)
    for answers, said in (
        ([(TWICE[0][0], "")], "no passphrase was entered; try again"),
        ([TWICE[0], (TWICE[1][0], "another")] * 3, "the two passphrases differ; enroll the key again"),
    ):
        done, key = person.enroll("id", "ed25519-sk", answers=answers)
        assert done.status != 0
        assert provider_lines(done.errors) == [f"libpysk: {said}"]
        assert not key.exists()


def test_a_mistyped_passphrase_is_asked_for_once_more(person: Person) -> None:
    person.configure(*LINES)
    done, key = person.enroll("id", "ed25519-sk", answers=[TWICE[0], (TWICE[1][0], "another"), *TWICE])
    assert done.status == 0, done
    assert "libpysk: the two passphrases differ" in done.screen
    done, _ = person.sign(key, answers=RIGHT)
    assert done.status == 0, done


def test_a_resident_key_is_not_sealed(person: Person) -> None:
    person.set_pin(PIN)
    person.configure(*LINES)
    done, key = person.enroll("id", "ed25519-sk", "resident", answers=[])
    assert done.status != 0
    (line,) = provider_lines(done.errors)
    assert line.startswith("libpysk: a resident key cannot be sealed under a passphrase")
    assert not key.exists()


def test_only_keys_of_the_named_applications_are_sealed(person: Person) -> None:
    person.configure("Presence auto", "Match application ssh:work", "SealKeyHandle passphrase")
    done, key = person.enroll("id", "ed25519-sk")
    assert done.status == 0, done
    assert not KeyFile(key).key_handle.startswith(MARK)
    done, key = person.enroll("work", "ed25519-sk", "application=ssh:work", answers=TWICE)
    assert done.status == 0, done
    assert KeyFile(key).key_handle.startswith(MARK)


def test_a_key_that_wants_a_pin_is_asked_for_both_once(person: Person, server: Sshd, kind: str) -> None:
    person.set_pin(PIN)
    person.configure(*LINES)
    done, key = person.enroll("id", kind, "verify-required", answers=TWICE)
    assert done.status == 0, done
    authorize(server, key, "verify-required")
    done = log_in(person, server, key, [(PIN_PROMPT, PIN), *RIGHT])
    assert done.status == 0, done
    assert done.screen.count("Passphrase: ") == 1
    person.configure(*LINES, "PinPrompt terminal")
    done = log_in(person, server, key, [*RIGHT, ("PIN: ", PIN)])
    assert done.status == 0, done
    assert done.screen.count("Passphrase: ") == 1


def test_a_wrong_passphrase_spends_no_try_of_the_pin(person: Person) -> None:
    person.set_pin(PIN)
    person.configure(*LINES, "PinPrompt terminal")
    done, key = person.enroll("id", "ed25519-sk", "verify-required", answers=TWICE)
    assert done.status == 0, done
    before = pin_status(person)
    for _ in range(3):
        done, _ = person.sign(key, answers=[(PIN_PROMPT, PIN), *WRONG])
        assert done.status != 0
        assert "the passphrase is wrong, or" in done.errors
    assert pin_status(person) == before
    done, _ = person.sign(key, answers=[(PIN_PROMPT, WRONG_PIN), *RIGHT, ("PIN: ", PIN)])
    assert done.status == 0, done


@pytest.mark.parametrize("profile", ["u2f", "fido2.0", "fido2.1-pre", "always-uv"])
def test_a_served_token_of_any_kind_signs(person: Person, connect: Connect, profile: str) -> None:
    with connect(None, "--profile", profile) as relay:
        person.configure(*LINES, "PinPrompt terminal", device=relay.address)
        pin = []
        if profile == "always-uv":
            person.set_pin(PIN, relay.address)
            pin = [("PIN: ", PIN)]
        done, key = person.enroll("id", "ecdsa-sk", answers=[*pin, *TWICE])
        assert done.status == 0, done
        if profile == "always-uv":
            # ssh-keygen asks for no PIN that the key does not want: we do, and only after the passphrase.
            done, signature = person.sign(key, answers=[*RIGHT, *pin])
        else:
            done, signature = person.sign(key, answers=RIGHT)
        assert done.status == 0, done
        assert person.verify(key, signature).returncode == 0
        done, _ = person.sign(key, answers=[*WRONG, *pin] if profile == "always-uv" else WRONG)
        assert done.status != 0
        assert "the passphrase is wrong, or" in done.errors


def test_an_agent_asks_by_ssh_askpass(person: Person, server: Sshd, sealed: Path) -> None:
    authorize(server, sealed)
    with Agent(person, person.askpass(PASSPHRASE, "wrong")) as agent:
        assert agent.add(str(sealed)).status == 0
        assert succeeded(log_in_by_agent(person, server, agent))
        assert log_in_by_agent(person, server, agent).status == 255
    asked = (person.folder / "questions").read_text().splitlines()
    assert asked.count("Passphrase: ") == 2
    assert any(line.startswith("login as ") for line in asked)


def test_where_nobody_can_be_asked_that_is_said(person: Person, sealed: Path) -> None:
    document = person.folder / "document"
    document.write_text("a message")
    done = subprocess.run(
        ["setsid", "--wait", "ssh-keygen", "-Y", "sign", "-n", "file", "-f", sealed, document],
        env={name: value for name, value in person.environment.items() if "DISPLAY" not in name},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    (line,) = provider_lines(done.stderr)
    assert line.startswith("libpysk: this key wants a passphrase, and nobody can be asked for it (terminal: there ")


def test_ctrl_c_at_the_question_ends_it(person: Person, sealed: Path) -> None:
    done, signature = person.sign(sealed, answers=[("Passphrase: ", "\x03")])
    assert done.status != 0
    assert not signature.exists()
    done, _ = person.sign(sealed, answers=RIGHT)
    assert done.status == 0, done


def test_what_is_written_down_of_a_key_names_it_by_its_sealed_handle(person: Person) -> None:
    """Whatever was made of the handle that is opened would tell a thief which of their guesses is right."""
    person.configure(*LINES, f"KnownKeys {person.folder}/known_keys")
    done, key = person.enroll("other", "ecdsa-sk", answers=TWICE)
    assert done.status == 0, done
    (_, line) = (person.folder / "known_keys").read_text().splitlines()
    name = hashlib.sha256(hashlib.sha256(b"ssh:").digest() + KeyFile(key).key_handle).hexdigest()
    assert line.split()[0] == name
