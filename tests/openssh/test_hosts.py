"""What each program of OpenSSH tells of a touch and asks for a PIN itself, by release, as asking/hosts.py has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import debian, openssh
from support.login import authorize, log_in, succeeded
from support.openssh import PIN, PIN_PROMPT, USER_PRESENT, Agent, KeyFile, Person
from support.serve import serve
from support.sshd import Sshd, keygen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.terminal import Done

pytestmark = pytest.mark.long

TERMINAL, ERRORS, ASKPASS, NOBODY = "terminal", "errors", "askpass", "nobody"

# What it is called by a shell whose standard error is the terminal, which is elsewhere else.
ON_TERMINAL = ("sh", "-c", 'exec "$0" "$@" 2>/dev/tty')

# What is done, whether standard error is a terminal, whether there is an askpass: where the program tells of a touch,
# and whether we do, as it does not, or not where a person sees it, or we cannot know.
TOLD = {
    "ssh": ("ssh", True, False, TERMINAL, False),
    "ssh, unseen": ("ssh", False, False, NOBODY, True),
    "ssh, by askpass": ("ssh", False, True, ASKPASS, False),
    "sign": ("sign", True, False, TERMINAL, False),
    "sign, unseen": ("sign", False, False, ERRORS, True),
    "sign, no askpass": ("sign", False, True, ERRORS, True),
    "enroll": ("enroll", True, False, TERMINAL, False),
    "enroll, unseen": ("enroll", False, False, TERMINAL, True),
    "certify": ("certify", True, False, TERMINAL, False),
    "certify, unseen": ("certify", False, False, NOBODY, True),
    "certify, by askpass": ("certify", False, True, ASKPASS, True),
    "list": ("list", True, False, TERMINAL, False),
    "list, unseen": ("list", False, False, TERMINAL, True),
    "agent": ("agent", True, False, NOBODY, False),
    "agent, by askpass": ("agent", True, True, ASKPASS, False),
}


@pytest.fixture(params=[None, "bullseye", "trixie"], ids=["this machine's", "bullseye", "trixie"])
def person(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Return somebody who has the OpenSSH of a release."""
    if request.param is not None:
        monkeypatch.setattr(debian, "RELEASE", request.param)
    openssh.version.cache_clear()
    pysk = Path(sys.executable).with_name("pysk")
    path = subprocess.run([pysk, "path"], env=debian.programs(), capture_output=True, text=True, check=True, timeout=60)
    yield Person(tmp_path, Path(path.stdout.strip()))
    openssh.version.cache_clear()


class Doing:
    """A person who has a key, and does what wants a signature by it, or another key."""

    def __init__(self, person: Person, server: Sshd, key: Path, askpass: Mapping[str, str] | None) -> None:
        self._person = person
        self._server = server
        self._key = key
        self._variables = {} if askpass is None else askpass

    def do(self, what: str, *, on_terminal: bool) -> Done:
        """Do it, with standard error on the terminal or not, and return what came of it."""
        shell = ON_TERMINAL if on_terminal else ()
        if what == "agent":
            with Agent(self._person, self._variables) as agent:
                done = agent.add(str(self._key))
                # An ssh-add whose agent cannot ask for a PIN adds no key that wants one.
                if done.status != 0:
                    return done
                return self._person.run(*shell, *self._server.client(), "true", environment=agent.environment)
        # Who enters no PIN before the keys are listed has the authenticator verify them.
        answers = [(PIN_PROMPT, "")] if what == "list" else []
        return self._person.run(*shell, *self.command(what), answers=answers, environment=self._variables)

    def command(self, what: str) -> list[str]:
        """Return what does it, but for an agent."""
        folder = self._person.folder
        if what == "ssh":
            options = ("-o", f"SecurityKeyProvider={self._person.provider}", "-o", "IdentitiesOnly=yes")
            return [*self._server.client(*options, "-i", str(self._key)), "true"]
        if what == "enroll":
            return ["ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", str(folder / "new")]
        if what == "list":
            return ["ssh-keygen", "-K", "-N", ""]
        if what == "certify":
            keygen("-t", "ed25519", "-f", str(folder / "user"))
            return ["ssh-keygen", "-s", str(self._key), "-I", "me", "-n", "me", str(folder / "user.pub")]
        (folder / "document").write_text("a message")
        return ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(self._key), str(folder / "document")]


def questions(person: Person) -> str:
    path = person.folder / "questions"
    return path.read_text() if path.exists() else ""


def askpass_of(person: Person, *answers: str) -> dict[str, str]:
    """Return the environment of one that is asked where there is no terminal, not before it."""
    return {name: value for name, value in person.askpass(*answers).items() if name != "SSH_ASKPASS_REQUIRE"}


@pytest.mark.parametrize(("what", "on_terminal", "has_askpass", "where", "is_ours"), TOLD.values(), ids=TOLD)
def test_who_tells_of_a_touch(
    person: Person, server: Sshd, sockets: Path, what: str, on_terminal: bool, has_askpass: bool, where: str,
    is_ours: bool,
) -> None:  # fmt: skip
    address = f"unix:{sockets}/token"
    # Only an authenticator that verifies its person by itself has them touch it before it lists its keys.
    profile = ("--profile", "uv") if what == "list" else ()
    with serve(address, "--store", str(person.store), *profile, presence="auto"):
        person.configure("Notify terminal", device=address)
        done, key = person.enroll("id", "ed25519-sk", *(["resident"] if what == "list" else []))
        assert done.status == 0, done
    authorize(server, key)
    askpass = askpass_of(person) if has_askpass else None
    with serve(address, "--store", str(person.store), *profile, presence="after:1500"):
        done = Doing(person, server, key, askpass).do(what, on_terminal=on_terminal)
    assert done.status == 0, done
    theirs = [line for line in done.screen.splitlines() if not line.startswith("libpysk: ")]
    places = {TERMINAL: "\n".join(theirs), ERRORS: done.errors, ASKPASS: questions(person)}
    said = [place for place, text in places.items() if "Confirm user presence" in text or "need to touch" in text]
    assert said == ([] if where == NOBODY else [where])
    assert ("libpysk: touch " in done.screen) is is_ours


def test_sshd_asks_for_no_touch_whatever_its_host_key_wants(person: Person, sockets: Path, tmp_path: Path) -> None:
    address = f"unix:{sockets}/token"
    with serve(address, "--store", str(person.store), presence="auto"):
        person.configure("Notify terminal", device=address)
        done, host_key = person.enroll("host_key", "ed25519-sk")
        assert done.status == 0, done
        assert KeyFile(host_key).flags & USER_PRESENT
    with (
        serve(address, "--store", str(person.store), presence="deny"),
        sshd_of(person, host_key, tmp_path) as server,
    ):
        done = log_in(person, server, person.folder / "plain")
        assert succeeded(done), done


def test_sshd_asks_nobody_for_a_pin(person: Person, tmp_path: Path) -> None:
    person.set_pin(PIN)
    done, host_key = person.enroll("host_key", "ed25519-sk", "verify-required")
    assert done.status == 0, done
    with sshd_of(person, host_key, tmp_path, **askpass_of(person, PIN)) as server:
        assert log_in(person, server, person.folder / "plain").status == 255
    assert questions(person) == ""
    assert "; sshd cannot ask for a PIN: use a HostKey that needs none" in server.log()


def sshd_of(person: Person, host_key: Path, tmp_path: Path, **variables: str) -> Sshd:
    """Return a server that has an sk key for its host key alone, where the key in the file plain may log in."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    variables |= {"PYSK_CONFIG": str(person.config), "HOME": os.devnull}
    server = Sshd(folder, [host_key], [f"SecurityKeyProvider {person.provider}"], variables)
    keygen("-t", "ed25519", "-f", str(person.folder / "plain"))
    authorize(server, person.folder / "plain")
    return server


@pytest.mark.parametrize("what", ["ssh", "sign", "list", "agent"])
def test_who_asks_for_a_pin(person: Person, server: Sshd, what: str) -> None:
    person.set_pin(PIN)
    if what == "list":
        done, key = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
    else:
        done, key = person.enroll("id", "ed25519-sk", "verify-required")
    assert done.status == 0, done
    authorize(server, key)
    agent_asks = openssh.version() >= (8, 9)
    doing = Doing(person, server, key, askpass_of(person, PIN))
    if what == "agent":
        done = doing.do(what, on_terminal=False)
        assert ("Enter PIN" in questions(person), done.status == 0) == (agent_asks, agent_asks)
        (person.folder / "questions").unlink(missing_ok=True)
        assert Doing(person, server, key, None).do(what, on_terminal=False).status != 0
        assert questions(person) == ""
    else:
        done = person.run(*doing.command(what), answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
