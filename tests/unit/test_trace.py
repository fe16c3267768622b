"""The lines of a trace: where they go, what each bears, and what happens where they cannot be written."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from click.testing import CliRunner
from support.traced import sentence_of, trace_into

from sk_provider.cli import main
from sk_provider.config import Configuration
from sk_provider.operation import Operation
from sk_provider.trace import log_trace, stderr_trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest


def configured(path: Path) -> Configuration:
    configuration = Configuration()
    configuration.log_file = str(path)
    return configuration


def test_a_line_bears_the_time_since_the_start_and_the_authenticator_it_is_about() -> None:
    lines: list[str] = []
    trace = trace_into(lines)
    trace("begins")
    with trace.about("unix:/a"):
        trace("is opened")
        with trace.about("unix:/b"):
            trace("too")
        trace("is closed")
    trace("ends")
    times, sentences = zip(*(line.split(" ms: ", 1) for line in lines), strict=True)
    assert list(sentences) == ["begins", "unix:/a is opened", "unix:/b too", "unix:/a is closed", "ends"]
    assert [float(time) for time in times] == sorted(float(time) for time in times)


def test_each_thread_has_an_authenticator_of_its_own() -> None:
    lines: list[str] = []
    trace = trace_into(lines)
    with trace.about("unix:/a"):
        thread = threading.Thread(target=trace, args=("of nobody",))
        thread.start()
        thread.join()
        trace("of a")
    assert [sentence_of(line) for line in lines] == ["of nobody", "unix:/a of a"]


def test_a_line_has_an_end() -> None:
    lines: list[str] = []
    trace_into(lines)("x" * 1_000_000)
    assert len(lines[0]) == 4003
    assert lines[0].endswith("x...")


def test_what_could_steer_a_terminal_or_end_a_line_is_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log_trace(configured(tmp_path / "log"), print)("a\nb\x1b[2J\u202e")
    stderr_trace("pysk")("a\nb\x1b[2J\u202e")
    for text in ((tmp_path / "log").read_text(), capfd.readouterr().err):
        assert len(text.splitlines()) == 2
        assert text.endswith(" ms: a?b?[2J?\n")


def test_the_log_file_says_when_and_which_process(tmp_path: Path) -> None:
    log_trace(configured(tmp_path / "log"), print)("one")
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 2
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} libpysk\[\d+\]: [\d.]+ ms: ", line) for line in lines)


def test_a_log_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "no such folder" / "log"
    trace = log_trace(configured(path), told.append)
    trace("one")
    trace("two")
    remedy = "correct LogFile in pysk_config, or remove LogLevel"
    assert told == [f"the log file {path} cannot be written, so that there is no trace; {remedy}"]


def test_a_command_that_is_traced_leaves_no_trace_to_the_next() -> None:
    traced = CliRunner().invoke(main, ["--trace", "pin", "status", "soft:/no/such/store"])
    assert (traced.exit_code, Operation.trace) == (1, None)


def test_a_program_with_more_rights_does_not_tell_where_its_log_file_is(tmp_path: Path) -> None:
    told: list[str] = []
    configuration = configured(tmp_path / "no such folder" / "log")
    configuration.trusts_environment = False
    log_trace(configuration, told.append)
    (sentence,) = told
    assert str(tmp_path) not in sentence
