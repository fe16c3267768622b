"""Where a person reads of a failure."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT = """
import sys
from sk_provider import errors
from sk_provider.reporting import Reporter, write_stderr
error = getattr(errors, sys.argv[1])("it \\x1b[31mbroke\\n\\udc80", "mend it")
reporter = Reporter(write_stderr, lambda line: print("syslog:", line.decode()))
reporter.log_file = sys.argv[2] or None
reporter.report(error)
"""


def report(name: str, log_file: str = "", stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REPORT, name, log_file],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=True,
        timeout=60,
    )


def test_a_failure_is_one_line_that_cannot_steer_a_terminal() -> None:
    assert report("PinNotSet").stderr == "libpysk: it ?[31mbroke??; mend it\n"


def test_a_question_of_the_host_is_not_talked_over() -> None:
    assert report("PinRequired").stderr == ""
    assert report("CredentialExists").stderr == ""
    assert report("PinInvalid").stderr != ""
    assert report("PinAlwaysRequired").stderr != ""


def test_the_line_goes_to_syslog_where_nobody_reads_stderr() -> None:
    assert report("PinRequired", stderr=subprocess.DEVNULL).stdout == "syslog: it ?[31mbroke??; mend it\n"


def test_the_line_goes_to_the_log_file_alone_if_there_is_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert report("PinRequired", str(log), stderr=subprocess.DEVNULL).stdout == ""
    report("PinNotSet", str(log))
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    assert all(line.endswith("it ?[31mbroke??; mend it") for line in lines)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_file_that_cannot_be_written_loses_nothing_else(tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / "link")
    writable, foreign = tmp_path / "writable", tmp_path / "foreign"
    for path in (writable, foreign):
        path.touch(mode=0o600)
    writable.chmod(0o620)
    os.chown(foreign, 65534, -1)
    os.mkfifo(tmp_path / "fifo", 0o600)
    others = (writable, foreign, tmp_path / "fifo", Path("/dev/null"))
    for log in (tmp_path / "no folder" / "log", tmp_path / "link", Path("/dev/full"), *others):
        done = report("PinNotSet", str(log))
        assert "broke" in done.stderr
        assert done.stdout == "syslog: it ?[31mbroke??; mend it\n"
    assert not (tmp_path / "elsewhere").exists()
    assert (writable.read_text(), foreign.read_text()) == ("", "")


APPEND_TO_FULL = """
import resource, signal, sys
from sk_provider.reporting import append_line
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
print(append_line(sys.argv[1], b"first line\\n"), append_line(sys.argv[1], b"second line\\n"))
"""


def test_a_line_that_there_is_room_for_in_part_is_taken_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", APPEND_TO_FULL, log], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, log.read_text()) == ("True False\n", "first line\n")


WRITE_LINES = """
import sys
from sk_provider.reporting import write_in_time
try:
    for _ in range(20):
        write_in_time(int(sys.argv[1]), 4000 * "m", float(sys.argv[2]))
except TimeoutError:
    print("late")
"""


@contextmanager
def writing(seconds: float) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Have another process write lines to a terminal, which has room for few; yield what reads them."""
    screen, terminal = os.openpty()
    command = [sys.executable, "-c", WRITE_LINES, str(terminal), str(seconds)]
    process = subprocess.Popen(command, pass_fds=[terminal], stdout=subprocess.PIPE, text=True)
    try:
        yield screen, process
    finally:
        process.kill()
        process.communicate()
        os.close(screen)
        os.close(terminal)


def test_a_terminal_that_has_room_for_a_part_of_a_line_keeps_nobody_waiting() -> None:
    with writing(0.1) as (_, process):
        assert process.communicate(timeout=60)[0] == "late\n"


def test_a_line_for_which_a_terminal_makes_room_in_time_is_written_whole() -> None:
    with writing(60) as (screen, process):
        shown = b""
        while shown.count(b"\n") < 20:
            assert select.select([screen], [], [], 60)[0]
            shown += os.read(screen, 1000)
        assert shown == 20 * (4000 * b"m" + b"\r\n")
        assert process.communicate(timeout=60)[0] == ""
