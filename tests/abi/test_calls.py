"""Calls as real hosts make them: often, at once, after fork(), and by hosts that unload the library in between."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import syslog
from pathlib import Path

import pytest
from support import sk_host
from support.openssh import Person
from support.provider_tree import Tree
from support.sk_host import PIN, Build
from support.system_log import SystemLog

SUPPRESSIONS = Path(__file__).with_name("valgrind.supp")

# The interpreter's own growth between a quarter of the calls and the last; what a lost response per call would exceed.
GROWTH_KIB = 1024


def test_nothing_starts_before_the_first_call(host: Path, library: Path, person: Person) -> None:
    env = {**person.environment, "PYSK_CONFIG": "/nonexistent"}
    played = sk_host.play(host, "version", library, env=env)
    sk_host.assert_untouched(played)
    assert played.call("version")["version"] == 0x000A0000
    assert played.stderr == ""


def test_thousands_of_calls_in_one_process_all_succeed_and_lose_no_memory(
    host: Path, library: Path, person_with_pin: Person
) -> None:
    played = sk_host.play(host, "sequence", library, "400", PIN, env=person_with_pin.environment)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    assert sk_host.verify_every_signature(played) == 1600
    resident = played.call("resident")
    loads = played.calls("load")
    assert len(loads) == 50
    for load in loads:
        (key,) = load["keys"]
        assert key["key_handle"] == resident["key_handle"]
        assert key["public_key"] == resident["public_key"]
        assert bytes.fromhex(key["application"]) == sk_host.APPLICATION
    grown = played.calls("end")[0]["kib"] - played.call("warm")["kib"]
    assert grown < GROWTH_KIB


def test_every_function_works_under_sanitizers(build: Build, person_with_pin: Person) -> None:
    played = sk_host.play(build.host, "sequence", build.library, "8", PIN, env=person_with_pin.environment)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    assert sk_host.verify_every_signature(played) == 32


def test_eight_threads_may_race_on_the_first_call(build: Build, person: Person) -> None:
    played = sk_host.play(build.host, "threads", build.library, env=person.environment)
    sk_host.assert_untouched(played)
    assert sk_host.verify_every_signature(played) == 80
    # There may be no store yet, and there is no PIN.
    assert {event["rc"] for event in played.calls("race-load")} <= {-4, -1}


def test_a_process_may_fork_before_and_after_the_first_call(build: Build, person: Person) -> None:
    played = sk_host.play(build.host, "fork", build.library, env=person.environment)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    assert [event["status"] for event in played.calls("exit")] == [0, 0, 0]
    assert len(played.calls("child")) == 15
    assert len(played.calls("grandchild")) == 1
    sk_host.verify_every_signature(played)


def test_a_child_of_a_process_in_the_middle_of_a_call_is_refused(build: Build, person: Person) -> None:
    played = sk_host.play(build.host, "busy", build.library, env=person.environment)
    sk_host.assert_untouched(played)
    children = [event for event in played.events if event["call"] == "wait"]
    assert all(event["ended"] for event in children)
    busy = [event["refused"] for event in children if event["label"] == "busy"]
    # At some moments no thread is in a call.
    assert set(busy) <= {3, 1}
    assert busy.count(3) > len(busy) // 2
    (idle,) = played.calls("idle")
    # There is no PIN, so that nothing can be listed.
    assert idle["refused"] == 1
    refusals = [line for line in played.stderr.splitlines(keepends=True) if "fork" in line]
    assert len(refusals) >= 6 * busy.count(3)
    assert all(sk_host.SENTENCE.fullmatch(line) for line in refusals)


def test_a_host_may_close_the_library_and_open_it_again(build: Build, person: Person) -> None:
    played = sk_host.play(build.host, "reopen", build.library, env=person.environment)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    assert sk_host.verify_every_signature(played) == 6


def test_two_builds_work_side_by_side(host: Path, library: Path, tree: Tree, person: Person) -> None:
    tree.rebuild()
    played = sk_host.play(host, "pair", library, tree.library, env=person.environment)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    assert played.calls("second")[0]["rc"] == 0
    assert sk_host.verify_every_signature(played) == 4


def test_the_same_build_from_a_second_path_refuses_with_a_sentence_and_the_first_goes_on(
    host: Path, library: Path, tree: Tree, person: Person
) -> None:
    played = sk_host.play(host, "pair", library, tree.library, env=person.environment)
    sk_host.assert_untouched(played)
    enrolled, *signed = played.calls("first")
    for refused in played.calls("second"):
        assert refused["rc"] == -1
        assert refused["cleared"]
    assert len(signed) == 2
    for signature in signed:
        sk_host.verify_signature(enrolled, signature)
    sentences = played.noise.splitlines(keepends=True)
    assert len(sentences) == 3
    for sentence in sentences:
        assert sk_host.SENTENCE.fullmatch(sentence)
        assert "path" in sentence


def test_a_second_path_that_is_a_symlink_is_the_same_library(
    host: Path, library: Path, tmp_path: Path, person: Person
) -> None:
    link = tmp_path / "libpysk.so"
    link.symlink_to(library)
    played = sk_host.play(host, "pair", library, link, env=person.environment)
    sk_host.assert_untouched(played)
    assert sk_host.verify_every_signature(played) == 4


def test_a_library_that_is_reached_by_a_symlink_finds_its_packages(
    host: Path, library: Path, tmp_path: Path, person: Person
) -> None:
    link = tmp_path / "elsewhere.so"
    link.symlink_to(library)
    played = sk_host.play(host, "keys", link, env=person.environment)
    sk_host.assert_untouched(played)
    assert sk_host.verify_every_signature(played) == 2


@pytest.mark.parametrize("closed", ["", "0", "1", "2", "01", "02", "12", "012"])
def test_a_closed_standard_stream_is_taken_by_nothing_but_the_null_device(
    closed: str, host: Path, library: Path, person: Person, tmp_path: Path
) -> None:
    log = SystemLog(tmp_path)
    sk_host.play(host, "keys", library, env=person.environment)
    played = sk_host.play(host, "streams", library, closed, env=person.environment | log.variables)
    sk_host.assert_untouched(played)
    assert sk_host.verify_every_signature(played) == 40
    streams = [event for event in played.events if event["call"] == "stream"]
    assert len(streams) == len(closed)
    assert all(event["null"] and event["inherited"] for event in streams)
    assert {event["rc"] for event in played.calls("from-python")} == {-2}
    assert {event["rc"] for event in played.calls("from-c")} == {-1}
    # Stderr is what was there as such, and nothing that has its number.
    told, elsewhere = played.stderr.splitlines(), log.lines()
    if "2" in closed:
        told, elsewhere = elsewhere, told
    assert len(told) == 80
    assert elsewhere == []
    again = sk_host.play(host, "keys", library, env=person.environment)
    assert sk_host.verify_every_signature(again) == 2


@pytest.mark.parametrize("opened_in", ["a folder", "a folder that is gone"])
def test_a_library_that_was_opened_by_a_relative_path_finds_its_packages_from_everywhere(
    opened_in: str, host: Path, library: Path, tmp_path: Path, person: Person
) -> None:
    folder, elsewhere = tmp_path / "one" / "two", tmp_path / "there" / "two"
    folder.mkdir(parents=True)
    elsewhere.mkdir(parents=True)
    relative = Path("..", "sk_provider", library.name)
    (folder.parent / "sk_provider").symlink_to(library.parent)
    if opened_in == "a folder":
        (folder / "file").touch()
    # What is found in the place that the path leads to by now.
    (elsewhere.parent / "sk_provider").mkdir()
    shutil.copy(library, elsewhere.parent / "sk_provider")
    (elsewhere.parent / "sk_provider" / "__init__.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    played = sk_host.play(host, "moved", relative, folder, elsewhere, env=person.environment)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    assert sk_host.verify_every_signature(played) == 2
    assert not (tmp_path / "sprung").exists()


def test_a_host_that_has_changed_its_root_is_refused(host: Path, library: Path, tmp_path: Path, person: Person) -> None:
    # Modules that the library has yet to import, in the same place below the new root.
    planted = tmp_path / "root" / library.parent.relative_to("/")
    planted.mkdir(parents=True)
    (planted / "resident.py").write_text("raise SystemExit\n")
    wrapper = () if os.geteuid() == 0 else ("unshare", "-Ur")
    played = sk_host.play(host, "chroot", library, tmp_path / "root", env=person.environment, wrapper=wrapper)
    sk_host.assert_untouched(played)
    for label in ("enroll", "sign", "load"):
        sk_host.assert_refused(played, label, -1, mentions="root directory")
    sk_host.verify_signature(played.call("before"), played.call("after"))


def test_a_host_without_standard_streams_is_served_under_sanitizers(build: Build, person: Person) -> None:
    played = sk_host.play(build.host, "streams", build.library, "012", env=person.environment)
    sk_host.assert_untouched(played)
    assert sk_host.verify_every_signature(played) == 40


def test_a_file_that_got_the_number_of_stderr_later_is_no_stderr(
    host: Path, library: Path, person: Person, tmp_path: Path
) -> None:
    log = SystemLog(tmp_path)
    played = sk_host.play(host, "replaced", library, env=person.environment | log.variables)
    sk_host.assert_untouched(played)
    from_python = "libpysk: security key algorithm 2 is not known"
    from_c = "libpysk: the host left no place for the response"
    assert [line.partition(";")[0] for line in played.stderr.splitlines()] == [from_python]
    assert [line.partition(";")[0] for line in log.lines()] == [from_python, from_c]
    assert {priority for priority, _ in log.entries()} == {syslog.LOG_AUTHPRIV | syslog.LOG_ERR}
    assert played.call("file") == {"label": "file", "call": "file", "size": 0, "null0": True, "null1": True}


def test_a_stream_that_cannot_be_kept_is_one_sentence_and_an_error(host: Path, library: Path, person: Person) -> None:
    namespace = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-Urm")
    script = 'mount -t tmpfs none /dev && exec "$@" <&-'
    wrapper = (*namespace, "sh", "-c", script, "sh")
    played = sk_host.play(host, "once", library, "sign", env=person.environment, wrapper=wrapper)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "once", -1, mentions="/dev/null")


def test_a_stderr_that_nobody_reads_does_not_end_the_host(
    host: Path, library: Path, person: Person, tmp_path: Path
) -> None:
    log = SystemLog(tmp_path)
    played = sk_host.play(host, "unread", library, env=person.environment | log.variables)
    sk_host.assert_untouched(played)
    assert [played.call(label)["rc"] for label in ("from-python", "from-c")] == [-2, -1]
    assert [line.partition(";")[0] for line in log.lines()] == [
        "libpysk: security key algorithm 2 is not known",
        "libpysk: the host left no place for the response",
    ]


def test_a_stderr_that_takes_no_more_does_not_stop_the_host(
    host: Path, library: Path, person: Person, tmp_path: Path
) -> None:
    log = SystemLog(tmp_path)
    played = sk_host.play(host, "full", library, env=person.environment | log.variables)
    sk_host.assert_untouched(played)
    assert [played.call(label)["rc"] for label in ("from-python", "from-c")] == [-2, -1]
    assert [line.partition(";")[0] for line in log.lines()] == [
        "libpysk: security key algorithm 2 is not known",
        "libpysk: the host left no place for the response",
    ]


def ask(person: Person, program: str, interpreter: str = "/bin/sh") -> dict[str, str]:
    """Let the person be asked by a script, and return the environment that names it."""
    person.configure("Presence ask")
    variables = person.askpass()
    (person.folder / "askpass").write_text(f"#!{interpreter}\n{program}\n")
    return person.environment | variables


def test_a_program_that_asks_leaves_the_hosts_signals_alone(host: Path, library: Path, person: Person) -> None:
    played = sk_host.play(host, "once", library, "enroll", env=ask(person, "exit 0"))
    sk_host.assert_untouched(played)
    assert played.call("once")["rc"] == 0


@pytest.mark.parametrize("stderr", ["pipe", "file"])
def test_a_limit_of_the_size_of_files_is_an_error_and_does_not_end_the_host(
    stderr: str, host: Path, library: Path, person: Person, tmp_path: Path
) -> None:
    wrapper = ("sh", "-c", f'exec "$@" 2>>{tmp_path}/stderr', "sh") if stderr == "file" else ()
    played = sk_host.play(host, "no-files", library, env=person.environment, wrapper=wrapper)
    sk_host.assert_untouched(played)
    assert [played.call(label)["rc"] for label in ("wrong", "enroll", "sign")] == [-2, -1, -1]
    sk_host.verify_signature(played.call("before"), played.call("after"))
    if stderr == "file":
        assert (tmp_path / "stderr").read_text() == ""
    else:
        assert "File too large" in played.stderr


def test_a_limit_of_memory_is_an_error_and_does_not_end_the_host(host: Path, library: Path, person: Person) -> None:
    played = sk_host.play(host, "little-memory", library, "52", env=person.environment)
    sk_host.assert_untouched(played)
    children = played.calls("child")
    assert all(event["ended"] for event in children)
    refused = [event for event in children if event["rc"] != 0]
    assert children == refused + [{**refused[0], "rc": 0}] * (len(children) - len(refused))
    assert 0 < len(refused) < len(children)
    assert [played.call(label)["rc"] for label in ("refused", "again")] == [-1, 0]
    sentences = played.stderr.splitlines(keepends=True)
    assert len(sentences) == len(refused) + 1
    assert all(sk_host.SENTENCE.fullmatch(sentence) and "memory" in sentence for sentence in sentences)


def test_a_limit_of_threads_is_an_error(host: Path, library: Path, person: Person, tmp_path: Path) -> None:
    stores = [f"soft:{tmp_path / name}" for name in ("one", "two")]
    person.configure("Presence auto", device=stores[1])
    sk_host.play(host, "keys", library, env=person.environment)
    person.configure("Presence auto", device=" ".join(stores))
    wrapper = ("prlimit", f"--stack={8 << 20}:")
    played = sk_host.play(host, "no-threads", library, stores[0], env=person.environment, wrapper=wrapper)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "limited", -1, mentions="thread")
    sk_host.verify_signature(played.call("before"), played.call("after"))


# A host may have more files than it may open, as it had them before.
@pytest.mark.parametrize("limit", ["used", "0"])
@pytest.mark.parametrize("without", [set(), {"PYSK_CONFIG"}], ids=["named config", "usual config"])
def test_a_limit_of_open_files_is_an_error_and_told_as_that(
    without: set[str], limit: str, host: Path, library: Path, person: Person
) -> None:
    environment = {name: value for name, value in person.environment.items() if name not in without}
    played = sk_host.play(host, "no-descriptors", library, limit, env=environment)
    sk_host.assert_untouched(played)
    for label in ("enroll", "sign"):
        sk_host.assert_refused(played, label, -1, mentions="open no more files")
    if not without:
        sk_host.verify_signature(played.call("before"), played.call("after"))


@pytest.mark.parametrize("limit", ["used", "0"])
def test_a_limit_of_open_files_at_the_first_call_is_told(limit: str, host: Path, library: Path, person: Person) -> None:
    played = sk_host.play(host, "no-descriptors-at-first", library, limit, env=person.environment)
    sk_host.assert_untouched(played)
    sk_host.assert_refused(played, "first", -1, mentions="open no more files")
    assert played.call("after")["rc"] == 0


def test_signals_that_are_held_from_the_host_are_not_held_from_the_program_that_asks(
    host: Path, library: Path, person: Person
) -> None:
    seen = person.folder / "seen"
    # Some shells begin by letting all signals through.
    program = f"import pathlib; pathlib.Path({str(seen)!r}).write_text(pathlib.Path('/proc/self/status').read_text())"
    played = sk_host.play(host, "once", library, "enroll", env=ask(person, program, sys.executable))
    sk_host.assert_untouched(played)
    assert played.call("once")["rc"] == 0
    assert "SigBlk:\t0000000000000000\n" in seen.read_text()


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGXFSZ])
def test_a_signal_that_somebody_sends_during_a_call_reaches_the_host(
    number: signal.Signals, host: Path, library: Path, person: Person
) -> None:
    played = sk_host.play(host, "once", library, "enroll", env=ask(person, f"kill -{int(number)} $PPID"))
    assert (played.status, played.events) == (-number, [])


def test_valgrind_finds_no_error_and_no_lost_memory(host: Path, library: Path, person_with_pin: Person) -> None:
    valgrind = shutil.which("valgrind")
    assert valgrind is not None
    leaks = ("--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite")
    checks = (*leaks, f"--suppressions={SUPPRESSIONS}", "--error-exitcode=99", "--quiet")
    wrapper = (valgrind, *checks)
    played = sk_host.play(host, "sequence", library, "1", PIN, env=person_with_pin.environment, wrapper=wrapper)
    sk_host.assert_untouched(played)
    assert played.noise == ""
    assert sk_host.verify_every_signature(played) == 4


def test_no_copy_of_the_pin_is_kept_beyond_those_that_python_has_freed(
    host: Path, library: Path, person_with_pin: Person
) -> None:
    played = sk_host.play(host, "residue", library, PIN, env=person_with_pin.environment)
    sk_host.assert_untouched(played)
    assert [event["rc"] for event in played.calls("wrong-pin") if "rc" in event] == [-3, -3]
    for event in (event for event in played.events if event["call"] == "residue"):
        # Python's bytes and text cannot be wiped: one of each is read from the host's.
        assert event["occurrences"] <= 2
    assert PIN[:-1] not in played.stderr
