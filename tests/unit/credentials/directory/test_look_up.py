"""Looking up in several directories, and what a kind may do in the process of its own that asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import HOSTILE_TEXTS, record

import sk_provider
from sk_provider.config import Configuration
from sk_provider.credentials import directory
from sk_provider.credentials.directory import exchange, file, look_up, pam_u2f, settings
from sk_provider.credentials.directory.record import checked
from sk_provider.credentials.directory.settings import Settings
from sk_provider.errors import ConfigurationError, DirectoryError, Interrupted
from sk_provider.operation import Operation

pytestmark = pytest.mark.slow

ALICE = record(comment="the blue token")
OTHER = record(key_handle=b"another")
BOB = record("bob")

# A package that brings kinds of directories, each of which does one thing.
PIGEON = """
import os
import signal
import time
from sk_provider.credentials.directory.record import checked
from sk_provider.errors import DirectoryError

def alice(user="alice", handle=b"by pigeon"):
    return checked(user, "ssh:", 1, bytes(32), handle)

class Slow:
    def look_up(url, user, settings, tell):
        with open(url[len("slow:"):], "x"):
            pass
        # As a library in C would that lets no other code of Python run.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        time.sleep(3600)

class Loud:
    def look_up(url, user, settings, tell):
        print("as a library prints")
        os.write(1, b"whatever")
        os.write(2, b"whatever")
        return [alice()]

class Dying:
    def look_up(url, user, settings, tell):
        os.kill(os.getpid(), signal.SIGSEGV)

class Failing:
    def look_up(url, user, settings, tell):
        raise KeyError("secret")

class Refusing:
    def look_up(url, user, settings, tell):
        raise DirectoryError(f"{url} refuses", "ask it again")

class Big:
    def look_up(url, user, settings, tell):
        return [alice(handle=number.to_bytes(1000, "big")) for number in range(10_000)]

class Confused:
    def look_up(url, user, settings, tell):
        tell("one record is broken; mend it")
        return [alice("bob"), alice(), "no record"][:2]

class Curious:
    def look_up(url, user, settings, tell):
        found = sorted(os.readlink(f"/proc/self/fd/{number}") for number in range(256) if exists(number))
        raise DirectoryError(" ".join([*found, *os.environ, os.getcwd(), str(os.getsid(0) == os.getpid())]), "")

def exists(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

class Hungry:
    def look_up(url, user, settings, tell):
        return [alice(handle=bytes(1 << 30)[:9])]

class Half:
    def add(url, record, settings):
        pass

class Written:
    def look_up(url, user, settings, tell):
        return []
    def add(url, record, settings):
        if record.key_handle != b"key handle" or settings.deadline != 20:
            raise DirectoryError("not as it was", "")
    def remove(url, user, handle_digest, settings):
        return (user, handle_digest) == ("alice", "digest")

class Changed(Written):
    def replace(url, handle_digest, record, settings):
        return (record.user, record.key_handle, handle_digest) == ("alice", b"key handle", "digest")
"""
KINDS = (
    "slow", "loud", "dying", "failing", "refusing", "big", "hungry", "confused", "curious", "half", "written",
    "changed",
)  # fmt: skip


# A program that looks alice up and tells by its status how many records, and how many failures, there were.
HOST = """
import os, signal, sys
import sk_provider
sk_provider.__path__ = {path!r}
from sk_provider.config import Configuration
from sk_provider.credentials.directory.look_up import look_up
{before}
sys.executable = "/nonexistent"
configuration = Configuration()
configuration.key_directories = {urls!r}
configuration.directory_timeout = {timeout}
found = look_up("alice", configuration, print)
os._exit(len(found.records) * 10 + len(found.failures))
"""


@pytest.fixture
def pigeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of packages like that in which ours is, where another package has kinds of directories."""
    folder = tmp_path / "site-packages"
    (folder / "pigeon-1.dist-info").mkdir(parents=True)
    (folder / "pigeon-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1\n")
    entry_points = "".join(f"{kind} = pigeon:{kind.title()}\n" for kind in KINDS)
    (folder / "pigeon-1.dist-info" / "entry_points.txt").write_text(f"[sk_provider.directories]\n{entry_points}")
    (folder / "pigeon.py").write_text(PIGEON)
    (folder / "sk_provider").symlink_to(sk_provider.__path__[0])
    monkeypatch.setattr(sk_provider, "__path__", [str(folder / "sk_provider")])


def configured(*urls: str, timeout: int = 20) -> Configuration:
    configuration = Configuration()
    configuration.key_directories = list(urls)
    configuration.directory_timeout = timeout
    return configuration


def ask(kind: str) -> tuple[look_up.Found, list[str]]:
    """Return what is found by a kind of the other package, and what is told."""
    told: list[str] = []
    return look_up.look_up("alice", configured(f"{kind}:x"), told.append), told


def failure(kind: str) -> str:
    """Return why a kind of the other package could not be asked."""
    found, told = ask(kind)
    assert (found.records, told) == ([], [])
    (error,) = found.failures.values()
    return str(error)


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o644)
    return f"file:{path}"


def test_each_key_is_found_once_and_a_directory_that_fails_costs_only_its_own(tmp_path: Path) -> None:
    first = write(tmp_path / "first", file.line_of(ALICE), file.line_of(BOB))
    second = write(tmp_path / "second", file.line_of(record(comment="another")), file.line_of(OTHER))
    missing = f"file:{tmp_path}/missing"
    found = look_up.look_up("alice", configured(first, missing, "carrier-pigeon:x", second), print)
    assert [file.line_of(each) for each in found.records] == [file.line_of(ALICE), file.line_of(OTHER)]
    assert [*found.failures] == [missing, "carrier-pigeon:x"]
    assert "there is no kind of key directory carrier-pigeon:" in str(found.failures["carrier-pigeon:x"])


def test_however_many_records_are_left_out_one_sentence_tells(tmp_path: Path) -> None:
    told: list[str] = []
    url = write(tmp_path / "keys", "alice", "alice x", "alice y", file.line_of(ALICE))
    assert len(look_up.look_up("alice", configured(url), told.append).records) == 1
    (sentence,) = told
    assert sentence.startswith(f"{tmp_path}/keys line 1: ")
    assert sentence.endswith(" (2 more like that)")


@pytest.mark.usefixtures("pigeon")
def test_another_package_can_bring_a_kind_which_may_print_what_it_likes() -> None:
    found, told = ask("loud")
    assert [each.key_handle for each in found.records] == [b"by pigeon"]
    assert (told, found.failures) == ([], {})


@pytest.mark.usefixtures("pigeon")
def test_whoever_sets_the_environment_cannot_choose_another_packages_kind() -> None:
    configuration = configured("loud:x")
    configuration.limit(["loud:x"])
    (error,) = look_up.look_up("alice", configuration, print).failures.values()
    assert "loud: is another package's kind of key directory" in str(error)


@pytest.mark.usefixtures("pigeon")
def test_one_that_never_answers_is_ended_at_the_deadline(tmp_path: Path) -> None:
    begun = time.monotonic()
    url = f"slow:{tmp_path}/asked"
    (error,) = look_up.look_up("alice", configured(url, timeout=1), print).failures.values()
    assert f"{url} has not answered within 1 second; " in str(error)
    assert time.monotonic() - begun < 30
    assert not children()


@pytest.mark.usefixtures("pigeon")
def test_an_interrupted_wait_ends(tmp_path: Path) -> None:
    operation = Operation(60)
    operation.call_off()
    with pytest.raises(Interrupted):
        look_up.look_up("alice", configured(f"slow:{tmp_path}/asked", timeout=600), print, operation)
    assert not children()


@pytest.mark.usefixtures("pigeon")
def test_the_process_outlives_by_little_whoever_started_it(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    before = "signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))"
    script = HOST.format(path=list(sk_provider.__path__), before=before, urls=[f"slow:{asked}"], timeout=3)
    host = subprocess.Popen([sys.executable, "-c", script])
    try:
        until = time.monotonic() + 60
        while not asked.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        (started,) = children(host.pid)
    finally:
        host.kill()
        host.wait()
    until = time.monotonic() + 60
    while Path(f"/proc/{started}").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.usefixtures("pigeon")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "dying",
            (
                "dying:x cannot be asked, because the process that asks it ended; report this as a bug of "
                "libpysk, with the URL"
            ),
        ),
        ("failing", "failing:x cannot be asked (KeyError); report this as a bug of libpysk, with the URL"),
        ("refusing", "refusing:x refuses; ask it again"),
        ("big", "big:x has too many keys for one user; ask its administrator"),
        ("hungry", "hungry:x cannot be asked (MemoryError); report this as a bug of libpysk, with the URL"),
    ],
)
def test_whatever_a_kind_does_it_costs_only_its_own_keys(kind: str, said: str) -> None:
    assert failure(kind) == said


@pytest.mark.usefixtures("pigeon")
def test_another_users_key_is_left_out_and_told() -> None:
    found, told = ask("confused")
    assert [each.user for each in found.records] == ["alice"]
    assert told == ["one record is broken; mend it (1 more like that)"]


@pytest.mark.usefixtures("pigeon")
def test_the_process_has_nothing_of_the_hosts(tmp_path: Path) -> None:
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        named = failure("curious").partition(";")[0].split()
    finally:
        os.close(inherited)
    assert str(tmp_path) not in named
    assert [name for name in named if name.startswith("/dev/")] == ["/dev/null"] * 3
    assert named[-2:] == ["/", "True"]
    assert "HOME" not in named
    assert "PATH" not in named


@pytest.mark.usefixtures("pigeon")
@pytest.mark.parametrize("trusts_environment", [True, False])
def test_where_tickets_are_is_told_only_by_an_environment_that_is_trusted(
    monkeypatch: pytest.MonkeyPatch, trusts_environment: bool
) -> None:
    monkeypatch.setenv("KRB5CCNAME", "/nowhere")
    configuration = configured("curious:x")
    configuration.trusts_environment = trusts_environment
    (error,) = look_up.look_up("alice", configuration, print).failures.values()
    assert ("KRB5CCNAME" in str(error).split()) is trusts_environment


@pytest.mark.usefixtures("pigeon")
@pytest.mark.parametrize(("more", "is_taken"), [(0, True), (-1, False)])
def test_an_answer_may_be_so_long(monkeypatch: pytest.MonkeyPatch, more: int, is_taken: bool) -> None:
    answer = exchange.Answer()
    answer.records = [checked("alice", "ssh:", 1, bytes(32), b"by pigeon")]
    monkeypatch.setattr(exchange, "MAX_ANSWER", len(exchange.answer_to_bytes(answer)) + more)
    found, _ = ask("loud")
    assert bool(found.records) is is_taken
    assert bool(found.failures) is not is_taken


def test_what_is_a_file_is_read_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sk_provider.isolated.python", lambda _code: ["/nonexistent"])
    url = write(tmp_path / "keys", file.line_of(ALICE))
    assert len(look_up.look_up("alice", configured(url), print).records) == 1


def test_a_kind_is_loaded_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "pam_u2f", pam_u2f)
    monkeypatch.delitem(sys.modules, pam_u2f.__name__)
    assert vars(directory.load("pam-u2f", own_only=True))["__name__"] == pam_u2f.__name__


def test_a_kind_is_told_what_is_configured() -> None:
    configuration = configured(timeout=7)
    configuration.directory_max_age = 3
    assert vars_of(settings.of(configuration)) == {
        "deadline": 7, "max_age": 3, "ca": None, "cache": configuration.directory_cache, "ldap": {},
    }  # fmt: skip
    configuration.directory_ca, configuration.directory_cache = "/ca", "/cache"
    configuration.ldap = {"base": "dc=x"}
    assert vars_of(settings.of(configuration)) == {
        "deadline": 7, "max_age": 3, "ca": "/ca", "cache": "/cache", "ldap": {"base": "dc=x"},
    }  # fmt: skip
    assert settings.Settings(7, 3).ldap == {}


def vars_of(made: Settings) -> dict[str, object]:
    return {name: getattr(made, name) for name in Settings.__slots__}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b'{"told": ""}', b'{"told": "", "left_out": 0, "removed": false, "failure": null}',
        b'{"told": "", "left_out": 0, "removed": false, "failure": 5, "records": []}',
        b'{"told": "", "left_out": 0, "removed": false, "failure": null, "records": [5]}',
        b'{"told": "", "left_out": 1e999, "removed": false, "failure": null, "records": []}',
    ],
)  # fmt: skip
def test_what_is_no_whole_answer_is_none(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        exchange.parse_answer(content)


@pytest.mark.usefixtures("pigeon")
@pytest.mark.parametrize(
    "before",
    [
        "for number in range(3): os.close(number)",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))",
        "os.environ.update(PATH='/nonexistent', PYTHONHOME='/nonexistent', PYTHONPATH='/nonexistent')",
    ],
    ids=["closed", "reaped", "fatal pipes", "blocked", "environment"],
)
def test_whatever_the_host_has_done_to_its_process_directories_are_asked(before: str) -> None:
    script = HOST.format(path=list(sk_provider.__path__), before=before, urls=["loud:x", "dying:x"], timeout=60)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 11, done


@pytest.mark.usefixtures("pigeon")
def test_what_is_added_and_removed_reaches_the_kind() -> None:
    configuration = configured()
    look_up.add("written:x", ALICE, configuration)
    assert look_up.remove("written:x", "alice", "digest", configuration)
    assert not look_up.remove("written:x", "bob", "digest", configuration)
    with pytest.raises(DirectoryError, match="not as it was"):
        look_up.add("written:x", OTHER, configuration)
    for kind in ("loud", "half"):
        with pytest.raises(DirectoryError, match=f"{kind}:x cannot be written by this program"):
            look_up.add(f"{kind}:x", ALICE, configuration)


def test_a_process_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_exec_prefix", "/nonexistent")
    assert "because /nonexistent/bin/python" in failure("https")


SETTINGS = Settings(1.0, 1)


@given(st.binary(max_size=300))
def test_an_answer_of_whatever_bytes_is_one_or_is_refused(untrusted: bytes) -> None:
    with_prefix = exchange.answer_to_bytes(exchange.Answer())[:-1] + untrusted
    for content in (untrusted, with_prefix):
        try:
            exchange.parse_answer(content)
        except ValueError:
            continue


ANYTHING = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), HOSTILE_TEXTS, st.floats()), st.lists)


@given(ANYTHING, ANYTHING)
def test_records_of_whatever_content_are_checked_again(one: object, several: object) -> None:
    answer = {"told": "", "left_out": 0, "removed": False, "failure": None, "records": [one, several]}
    try:
        parsed = exchange.parse_answer(json.dumps(answer).encode())
    except ValueError:
        return
    assert all(each.authorized_keys_line().isprintable() for each in parsed.records)


def test_a_request_is_parsed_as_it_was_made() -> None:
    made = exchange.Request(
        exchange.ADD, "file:/x", SETTINGS, own_only=True, user="alice", record=ALICE, handle_digest="00"
    )
    parsed = exchange.parse_request(exchange.request_to_bytes(made))
    assert exchange.request_to_bytes(parsed) == exchange.request_to_bytes(made)
    assert (parsed.url, parsed.own_only, parsed.settings.deadline) == ("file:/x", True, 1.0)


@pytest.mark.parametrize("url", ["", "file", "file:", ":/x", "/etc/keys", "1:x", "a_b:x", "ü:x"])
def test_what_has_no_scheme_is_no_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not a key directory's URL"):
        directory.split(url)


def test_a_url_is_a_scheme_in_any_case_and_a_rest() -> None:
    assert directory.split("LDAPS://host/dc=x") == ("ldaps", "//host/dc=x")
    assert directory.split("pam-u2f:~/keys") == ("pam-u2f", "~/keys")


OTHERS: set[int] = set()


def children(parent: int | None = None) -> list[int]:
    """Return the processes that this one, or another, has started and that have not ended."""
    parent = parent or os.getpid()
    return [
        pid
        for task in Path(f"/proc/{parent}/task").iterdir()
        for pid in map(int, (task / "children").read_text().split())
        if pid not in OTHERS and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    ]


@pytest.fixture(autouse=True)
def others() -> None:
    """Leave out what other tests have started that runs until all are done."""
    OTHERS.clear()
    OTHERS.update(children())


@pytest.mark.usefixtures("pigeon")
def test_what_is_replaced_reaches_the_kind_that_can_do_it_in_one_change() -> None:
    configuration = configured()
    look_up.replace("changed:x", "digest", ALICE, configuration)
    with pytest.raises(DirectoryError, match="changed:x does not have the key other of alice as a record that can be"):
        look_up.replace("changed:x", "other", ALICE, configuration)
    with pytest.raises(DirectoryError, match="written:x cannot have a record replaced by this program; remove it, and"):
        look_up.replace("written:x", "digest", ALICE, configuration)
