"""What a sentence tells a person to type is typed as it stands, into a shell, and does what the sentence says."""

from __future__ import annotations

import subprocess

import pytest
from support import sk_host
from support.openssh import ASKS_ON_DEMAND, PIN, PIN_PROMPT, Person, assert_signs, enrolled, provider_lines, version

from sk_provider.authenticator.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NEW_PIN = "another horse"


class Typist:
    """A person whose authenticator's address must be quoted, and who does what the sentences say."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.store = person.folder / "my store's"
        self.address = f"soft:{self.store}"
        # A line of pysk_config holds no address with a space in it: what is typed has to name it.
        person.config.write_text("Presence auto\n")

    def pysk(self, *arguments: str, lines: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        return self._run([str(self.person.pysk), *arguments], lines)

    def do(self, sentence: str, *lines: str) -> subprocess.CompletedProcess[str]:
        """Type the command that ends a sentence, and these lines when it asks."""
        _, colon, command = sentence.rpartition(": pysk ")
        assert colon, sentence
        done = self._run(["sh", "-c", f"{self.person.pysk} {command}"], lines)
        assert done.returncode == 0, done
        return done

    def refused(self, *arguments: str, lines: Sequence[str] = ()) -> str:
        """Return the sentence with which pysk refuses something."""
        done = self.pysk(*arguments, lines=lines)
        assert done.returncode == 1, done
        return done.stderr.splitlines()[-1]

    def refused_enrollment(self, *options: str, answers: Sequence[tuple[str, str]] = ()) -> str:
        done, key = self.person.enroll("refused", "ed25519-sk", f"device={self.address}", *options, answers=answers)
        assert done.status != 0
        assert not key.exists()
        (line,) = provider_lines(done.errors)
        return line

    def set(self, **members: object) -> None:
        with Store.open(str(self.store)).transaction() as state:
            for name, value in members.items():
                setattr(state, name, value)

    def status(self) -> str:
        return self.pysk("pin", "status", self.address).stdout

    def _run(self, command: list[str], lines: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, input="".join(f"{line}\n" for line in lines), text=True, env=self.person.environment,
            cwd=self.person.folder, check=False, capture_output=True, timeout=60,
        )  # fmt: skip


@pytest.fixture
def typist(person: Person) -> Typist:
    return Typist(person)


def test_a_pin_that_is_wanted_for_a_new_key_is_set(typist: Typist) -> None:
    typist.do(typist.refused_enrollment("verify-required"), PIN)
    assert typist.status() == "a PIN is set, 8 tries left\n"


def test_a_pin_that_is_missing_when_keys_are_listed_is_set(typist: Typist) -> None:
    enrolled(typist.person, "ed25519-sk", f"device={typist.address}")
    done = typist.person.run("ssh-keygen", "-K", "-O", f"device={typist.address}", answers=[(PIN_PROMPT, PIN)])
    (line,) = provider_lines(done.errors)
    typist.do(line, PIN)
    assert "a PIN is set" in typist.status()


def test_a_pin_is_set_where_there_is_none_to_change(typist: Typist) -> None:
    enrolled(typist.person, "ed25519-sk", f"device={typist.address}")
    typist.do(typist.refused("pin", "change", typist.address), PIN)
    assert "a PIN is set" in typist.status()


def test_a_pin_is_changed_where_there_is_one(typist: Typist) -> None:
    typist.person.set_pin(PIN, typist.address)
    typist.do(typist.refused("pin", "set", typist.address, lines=(NEW_PIN,)), PIN, NEW_PIN)
    assert typist.pysk("keys", "list", typist.address, lines=(NEW_PIN,)).returncode == 0


def test_a_pin_that_must_be_changed_is_changed(typist: Typist) -> None:
    typist.person.set_pin(PIN, typist.address)
    typist.set(force_pin_change=True)
    line = typist.refused_enrollment("resident", answers=[(PIN_PROMPT, PIN)] if version() < ASKS_ON_DEMAND else [])
    typist.do(line, PIN, NEW_PIN)
    assert typist.pysk("keys", "list", typist.address, lines=(NEW_PIN,)).returncode == 0


def test_a_pin_that_is_blocked_for_good_is_reset(typist: Typist) -> None:
    typist.person.set_pin(PIN, typist.address)
    typist.set(pin_retries=0)
    typist.do(typist.refused("keys", "list", typist.address), "y")
    assert typist.status() == "no PIN is set\n"


def test_a_key_that_is_not_there_is_looked_for_in_the_list(typist: Typist) -> None:
    typist.person.set_pin(PIN, typist.address)
    typist.person.enroll(
        "id", "ed25519-sk", f"device={typist.address}", "resident", "application=ssh:x", answers=[(PIN_PROMPT, PIN)]
    )
    line = typist.refused("keys", "delete", "--yes", typist.address, "0123456789abcdef", lines=(PIN,))
    assert "ssh:x" in typist.do(line, PIN).stdout


@pytest.mark.parametrize("major", [4, 5, 7, 9])
def test_a_resident_key_that_an_older_host_cannot_overwrite_is_deleted(
    person: Person, tmp_path: Path, provider: Path, major: int
) -> None:
    person.set_pin(PIN)
    host = sk_host.compile_host(tmp_path, major=major)
    older = provider.with_name(f"libpysk-skapi{major}.so")
    assert sk_host.play(host, "members", older, PIN, "me", env=person.environment).status == 0
    played = sk_host.play(host, "members", older, PIN, "me", env=person.environment)
    assert played.call("enroll")["rc"] == -5
    typist = Typist(person)
    typist.do(played.said("enroll").strip(), PIN, "y")
    person.configure("Presence auto")
    assert sk_host.play(host, "members", older, PIN, "me", env=person.environment).status == 0


def test_a_configuration_that_others_can_write_is_repaired(person: Person) -> None:
    key = enrolled(person)
    moved = person.folder / "my config"
    person.config.rename(moved)
    moved.chmod(0o666)
    person.environment["PYSK_CONFIG"] = str(moved)
    done, _ = person.sign(key)
    (line,) = provider_lines(done.errors)
    subprocess.run(["sh", "-c", line.rpartition("run: ")[2]], check=True, timeout=60)
    assert_signs(person, key)
