"""What another package's transport may do to ssh-keygen: twelve kinds of misbehaviour, in each place where it runs.

It costs itself alone, and is told by its name; nothing waits past its deadline, and nothing is left running. What a
host does not survive, see pysk_transport(7), ends as it is told there.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import debian, odd
from support.login import authorize, log_in, succeeded
from support.openssh import Agent, Person, enrolled, provider_lines
from support.processes import helper_of, interrupt
from support.provider_tree import Tree
from support.serve import serve, wait_until
from support.sshd import Sshd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE = 8
LOADING_S = 3.0
# Longer than any of them has to take, on the slowest machine
PATIENCE_S = 60
VARIANTS = [(kind, place) for kind in odd.KINDS for place in odd.PLACES if kind != "exits"]
# Nobody holds a key before there is one.
ENROLLING = [(kind, place) for kind, place in VARIANTS if place != "open_holder"]
# Of those, what is worth the time of a touch each time
SOME = [(kind, place) for kind, place in ENROLLING if kind in ("raises", "returns", "closes", "children", "hangs")]

# What is wrong with what is done, and who tells.
RAISED = {"raises": "KeyError", "signals": "ValueError"}
WRONG = {
    "import": "has no function discover()",
    "discover": "discover() did not return a list of locations",
    "open_holder": "open_holder() did not return a location and a channel",
    "open": "open() did not return a channel",
    "call": "call() did not return bytes",
}


class Sandbox:
    """Homes that have the odd package's provider, a store for it, and tokens that behave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tree = Tree(folder / "tree")
        odd.install(tree)
        # The user's home is the password database's, which the test leaves alone.
        tree.append("config.py", "def home_directory(): return posix.environ[b'HOME'].decode()")
        # The keys of another package's authenticators bear no mark of ours, as those of these stores would.
        tree.append("transports/__init__.py", "KEY_HANDLE_MARKS = {}")
        # What does not end is waited for in most of the tests.
        tree.append("third_party.py", f"PATIENCE = {LOADING_S}")
        tree.carry()
        self.library = tree.library
        self.mark = uuid.uuid4().hex
        self.store, self.other_store = folder / "store", folder / "other-store"
        (folder / "at-home").mkdir()
        self.key = enrolled(Person(folder / "at-home", tree.library))
        (folder / "at-home/store").rename(self.store)

    def home(self, *lines: str) -> Path:
        """Make a home with a pysk_config of its own."""
        home = self.folder / uuid.uuid4().hex
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        config = home / ".ssh/pysk_config"
        config.touch(mode=0o600)
        config.write_text("".join(f"{line}\n" for line in lines))
        return home

    def person(self) -> Person:
        """Return somebody who has a home of their own, and a pysk_config in it."""
        home = self.home()
        person = Person(home, self.library)
        del person.environment["PYSK_CONFIG"]
        person.environment["ODD"] = self.mark
        person.config = home / ".ssh/pysk_config"
        return person

    def start(self, home: Path, *command: str | Path) -> subprocess.Popen[str]:
        """Start a program in a session of its own."""
        environment = {
            **debian.programs(),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "SSH_SK_PROVIDER": str(self.library),
            "ODD": self.mark,
        }
        return subprocess.Popen(
            command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, home: Path, *command: str | Path) -> tuple[int, str]:
        """Run a program, and return its status and what it has said."""
        process = self.start(home, *command)
        try:
            # Whoever has its standard error open is waited for, too.
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        return process.returncode, said

    def sign(self, home: Path, key: Path) -> tuple[int, str]:
        """Sign with a key, and verify that."""
        document = home / "document"
        document.write_text("a message")
        status, said = self.run(home, "ssh-keygen", "-Y", "sign", "-n", "file", "-f", key, document)
        if status == 0:
            allowed = home / "allowed"
            allowed.write_text("me " + key.with_name(f"{key.name}.pub").read_text())
            with document.open() as message:
                subprocess.run(
                    ["ssh-keygen", "-Y", "verify", "-n", "file", "-I", "me", "-f", allowed, "-s", f"{document}.sig"],
                    stdin=message, check=True, capture_output=True, timeout=PATIENCE_S,
                )  # fmt: skip
        return status, said

    def enroll(self, home: Path) -> tuple[int, str]:
        """Enroll a key."""
        return self.run(home, "ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", home / "key")

    def left(self) -> list[str]:
        """Return what is still running of what was started here."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"ODD={self.mark}".encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text())
            except OSError:  # another user's, or gone
                continue
        return found


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("odd"))


class Good:
    """A token that behaves: its address, and a key of it."""

    def __init__(self, address: str, key: Path) -> None:
        self.address = address
        self.key = key


@pytest.fixture(scope="module")
def goods(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[queue.Queue[Good]]:
    """Tokens that are touched after a moment, one for each of those who want it at once."""
    goods: queue.Queue[Good] = queue.Queue()
    folder = tmp_path_factory.mktemp("good")
    with ExitStack() as stack:
        for number in range(AT_ONCE // 2):
            # The path of a socket must be short.
            address = f"unix:{Path('/tmp') / uuid.uuid4().hex}"
            stack.callback(Path(address.removeprefix("unix:")).unlink, missing_ok=True)
            stack.enter_context(serve(address, presence="after:300"))
            home = folder / str(number)
            home.mkdir()
            person = Person(home, sandbox.library)
            person.configure(device=address)
            goods.put(Good(address, enrolled(person)))
        yield goods


def outcomes(act: Callable[[str, str], tuple[int, str]], variants: list[tuple[str, str]]) -> dict[str, tuple[int, str]]:
    """Act for each variant, several at once, and return what came of it."""
    with ThreadPoolExecutor(AT_ONCE) as executor:
        # What waits longest begins first.
        ordered = sorted(variants, key=lambda variant: variant[0] != "hangs")
        running = {f"{kind} in {place}": executor.submit(act, kind, place) for kind, place in ordered}
        return {name: future.result() for name, future in running.items()}


def sentence(kind: str, place: str) -> str | None:
    """Return how the sentence begins that is to be told of what is done, None if nothing is wrong with it."""
    whose = f"the transport {odd.scheme(kind, place)}: of the package {odd.PACKAGE} "
    if kind in RAISED:
        how = "cannot be loaded" if place == "import" else "failed"
        return f"{whose}{how} ({RAISED[kind]} in deeds.py line "
    if kind == "hangs":
        return whose + ("cannot be loaded, which does not end" if place == "import" else f"does not answer ({place}()")
    if kind == "returns" and place != "close":
        return whose + (WRONG[place] if place == "import" else f"failed ({WRONG[place]}")
    if kind == "threads":
        return "what another package has begun failed (KeyError in odd_post/deeds.py line "
    return None


def spoils(kind: str, place: str) -> bool:
    """Return whether the authenticator cannot be used then."""
    return place != "close" and (kind in RAISED or kind in ("hangs", "returns"))


def faults(found: dict[str, tuple[int, str]], *, is_beside: bool) -> dict[str, tuple[int, str]]:
    """Return what came of a variant where that is not what should."""
    wrong = {}
    for name, (status, said) in found.items():
        kind, _, place = name.split()
        expected = sentence(kind, place)
        lines = [line for line in provider_lines(said) if "touch" not in line or "transport odd" in line]
        is_told = not lines if expected is None else bool(lines) and all(expected in line for line in lines)
        is_done = (status == 0) == (is_beside or not spoils(kind, place))
        if not is_told or not is_done or "secret" in said or "Traceback" in said:
            wrong[name] = status, said
    return wrong


def test_what_one_alone_does_is_told_when_it_signs_and_costs_no_more(sandbox: Sandbox) -> None:
    def sign(kind: str, place: str) -> tuple[int, str]:
        home = sandbox.home(f"Device {odd.address(kind, place, sandbox.store)}", "Presence auto", "Timeout 2")
        return sandbox.sign(home, sandbox.key)

    assert faults(outcomes(sign, VARIANTS), is_beside=False) == {}
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def test_what_one_alone_does_is_told_when_it_enrolls_and_costs_no_more(sandbox: Sandbox) -> None:
    def enroll(kind: str, place: str) -> tuple[int, str]:
        home = sandbox.home(f"Device {odd.address(kind, place, sandbox.store)}", "Presence auto", "Timeout 2")
        return sandbox.enroll(home)

    assert faults(outcomes(enroll, ENROLLING), is_beside=False) == {}
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def test_one_beside_it_signs_whatever_another_does(sandbox: Sandbox, goods: queue.Queue[Good]) -> None:
    def sign(kind: str, place: str) -> tuple[int, str]:
        good = goods.get()
        try:
            devices = f"Device {odd.address(kind, place, sandbox.store)} {good.address}"
            return sandbox.sign(sandbox.home(devices, "Presence auto", "Timeout 30"), good.key)
        finally:
            goods.put(good)

    assert faults(outcomes(sign, VARIANTS), is_beside=True) == {}
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


@pytest.mark.parametrize("variants", [SOME, pytest.param(ENROLLING, marks=pytest.mark.long)], ids=["some", "all"])
def test_one_beside_it_enrolls_whatever_another_does(
    sandbox: Sandbox, goods: queue.Queue[Good], variants: list[tuple[str, str]]
) -> None:
    def enroll(kind: str, place: str) -> tuple[int, str]:
        good = goods.get()
        try:
            devices = f"Device {odd.address(kind, place, sandbox.store)} {good.address}"
            return sandbox.enroll(sandbox.home(devices, "Presence auto", "Timeout 30"))
        finally:
            goods.put(good)

    assert faults(outcomes(enroll, variants), is_beside=True) == {}
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def test_what_one_changes_of_the_process_is_not_seen(sandbox: Sandbox) -> None:
    variants = [(kind, place) for kind in odd.UNSEEN_KINDS for place in ("import", "open", "call", "close")]

    def sign(kind: str, place: str) -> tuple[int, str]:
        home = sandbox.home(f"Device {odd.address(kind, place, sandbox.store)}", "Presence auto")
        return sandbox.sign(home, sandbox.key)

    assert faults(outcomes(sign, variants), is_beside=False) == {}
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def test_what_fails_again_and_again_beside_is_not_told_each_time(sandbox: Sandbox) -> None:
    home = sandbox.home(f"Device {odd.address('repeats', 'call', sandbox.store)}", "Presence auto")
    status, said = sandbox.sign(home, sandbox.key)
    assert status == 0
    assert 0 < len(provider_lines(said)) < 100
    assert "what another package has begun failed (KeyError in odd_post/deeds.py line " in said


@pytest.mark.parametrize("kind", ["exits", "escapes", "alarms", "stops"])
def test_what_ends_the_helper_is_an_error_of_the_program_that_asked(sandbox: Sandbox, kind: str) -> None:
    """These are not survived; ssh tells of its helper then, and nobody of the transport."""

    def sign(kind: str, place: str) -> tuple[int, str]:
        home = sandbox.home(f"Device {odd.address(kind, place, sandbox.store)}", "Presence auto")
        return sandbox.sign(home, sandbox.key)

    for status, said in outcomes(sign, [(kind, place) for place in odd.PLACES]).values():
        assert status != 0
        assert "reap_helper: helper exited" in said
        assert provider_lines(said) == []
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


@pytest.mark.parametrize(
    ("kind", "place", "told"),
    [
        ("leaves", "import", "cannot be loaded (SystemExit in deeds.py line "),
        ("leaves", "call", "failed (SystemExit in deeds.py line "),
        ("fails", "open", "failed (Hollow in deeds.py line "),
        ("steps", "call", "failed (KeyError in deeds.py line "),
        ("floods", "discover", "failed (discover() did not return a list of locations)"),
    ],
)
def test_what_else_is_raised_or_returned_is_told(sandbox: Sandbox, kind: str, place: str, told: str) -> None:
    home = sandbox.home(f"Device {odd.address(kind, place, sandbox.store)}", "Presence auto", "Timeout 2")
    status, said = sandbox.sign(home, sandbox.key)
    assert status != 0
    (line,) = provider_lines(said)
    assert f"of the package {odd.PACKAGE} {told}" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_one_that_does_not_end_and_what_it_has_begun(sandbox: Sandbox, number: signal.Signals) -> None:
    home = sandbox.home(f"Device {odd.address('clings', 'call', sandbox.store)}", "Presence auto")
    process = sandbox.start(home, "ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", home / "key")
    wait_until(lambda: any("sleep" in command for command in sandbox.left()), "the start of the children")
    interrupt(process, number)
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def locked(sandbox: Sandbox) -> tuple[subprocess.Popen[str], int]:
    """Return an ssh-keygen and its helper, once a transport holds Python's lock there."""
    home = sandbox.home(f"Device {odd.address('locks', 'call', sandbox.store)}", "Presence auto", "Timeout 1")
    process = sandbox.start(home, "ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", home / "key")
    helper = helper_of(process.pid)
    wait_until((home / "locked").exists, "the lock")
    return process, helper


def test_a_second_signal_ends_what_holds_pythons_lock(sandbox: Sandbox) -> None:
    process, helper = locked(sandbox)
    os.kill(helper, signal.SIGTERM)
    # What comes at the same time is no second one.
    os.kill(helper, signal.SIGHUP)
    time.sleep(3)
    assert process.poll() is None
    os.kill(helper, signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


@pytest.mark.long
def test_what_holds_pythons_lock_does_not_outlive_ctrl_c_for_long(sandbox: Sandbox) -> None:
    process, _ = locked(sandbox)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def test_an_agent_goes_on_whatever_one_does(sandbox: Sandbox) -> None:
    person = sandbox.person()
    log = person.folder / "log"
    key = sandbox.key
    public = str(key.with_name(f"{key.name}.pub"))
    with Agent(person) as agent:
        assert agent.add(str(key)).status == 0
        for kind, told in (
            ("pipes", "(BrokenPipeError in deeds.py line "),
            ("children", None),
            ("clings", "does not answer (call())"),
            ("prints", None),
        ):
            log.unlink(missing_ok=True)
            lines = ("Presence auto", "Timeout 2", f"LogFile {log}")
            person.configure(*lines, device=odd.address(kind, "call", sandbox.store))
            done = agent.add("-T", public)
            assert (done.status == 0) == (told is None), done
            assert told is None or told in log.read_text()
            wait_until(lambda: len(sandbox.left()) == 1, "the end of all but the agent")


def test_one_that_begins_what_it_does_not_end_logs_in(sandbox: Sandbox, server: Sshd) -> None:
    person = sandbox.person()
    authorize(server, sandbox.key)
    person.configure("Presence auto", device=odd.address("children", "open", sandbox.store))
    done = log_in(person, server, sandbox.key)
    assert succeeded(done), done
    person.configure("Presence auto", "Timeout 2", device=odd.address("pipes", "call", sandbox.store))
    done = log_in(person, server, sandbox.key)
    assert done.status == 255
    assert "(BrokenPipeError in deeds.py line " in done.errors
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def test_only_a_trace_tells_the_way_to_a_failure_and_no_value(sandbox: Sandbox) -> None:
    log = sandbox.folder / "trace"
    device = f"Device {odd.address('raises', 'call', sandbox.store)}"
    status, said = sandbox.enroll(sandbox.home(device, "Presence auto", f"LogFile {log}"))
    assert status != 0
    assert "odd_post" not in log.read_text()
    status, said_traced = sandbox.enroll(sandbox.home(device, "Presence auto", f"LogFile {log}", "LogLevel trace"))
    assert status != 0
    assert said_traced == said
    text = log.read_text()
    assert f"the transport odd: of the package {odd.PACKAGE} has raised KeyError, the last call last:" in text
    assert "/odd_post/transport.py line " in text
    assert "/odd_post/deeds.py line " in text
    assert "in raises" in text
    assert "secret" not in text


@pytest.fixture(scope="module")
def pysk(sandbox: Sandbox) -> Path:
    """The command, of the package beside the odd one."""
    command = sandbox.folder / "pysk"
    command.write_text(
        f"#!{sys.executable} -I\nimport sys\nsys.path.insert(0, {str(sandbox.folder / 'tree')!r})\n"
        "from sk_provider.cli import main\nmain()\n"
    )
    command.chmod(0o755)
    return command


@pytest.mark.parametrize("kind", ["raises", "threads", "pools", "children", "hangs", "prints"])
def test_pysk_ends_whatever_one_does_and_leaves_nothing(sandbox: Sandbox, pysk: Path, kind: str) -> None:
    address = odd.address(kind, "open", sandbox.store)
    home = sandbox.home("Presence auto", "Timeout 2")
    status, said = sandbox.run(home, pysk, "pin", "status", address)
    expected = sentence(kind, "open")
    assert (status == 0) != spoils(kind, "open")
    lines = [line for line in said.splitlines() if line.startswith(("pysk:", "libpysk:"))]
    assert not lines if expected is None else expected in lines[0]
    assert "secret" not in said
    assert "Traceback" not in said
    wait_until(lambda: not sandbox.left(), "the end of all that was started")


def test_only_pysks_trace_tells_the_way_to_a_failure_and_no_value(sandbox: Sandbox, pysk: Path) -> None:
    address = odd.address("raises", "call", sandbox.store)
    home = sandbox.home("Presence auto")
    _, said = sandbox.run(home, pysk, "pin", "status", address)
    assert len(said.splitlines()) == 1
    _, traced = sandbox.run(home, pysk, "--trace", "pin", "status", address)
    assert "/odd_post/deeds.py line " in traced
    assert "secret" not in traced


def test_the_doctor_tells_of_one_that_cannot_be_loaded(sandbox: Sandbox, pysk: Path) -> None:
    home = sandbox.home(f"Device {odd.address('raises', 'import', sandbox.store)}")
    done = subprocess.run(
        [pysk, "doctor"], env={**debian.programs(), "LANG": "C.UTF-8", "HOME": str(home)}, cwd=home,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S,
    )  # fmt: skip
    said = " ".join((done.stdout + done.stderr).split())
    assert f"Device: the transport odd_raises: of the package {odd.PACKAGE} cannot be loaded" in said, said
    assert "Traceback" not in said
