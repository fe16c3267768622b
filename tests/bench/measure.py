"""How a program is run once and measured, and how several are, so that their figures can be compared."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).resolve().parent
PATIENCE_S = 60


class BenchError(Exception):
    """Something cannot be measured; the message says what and why."""


def compile_tool(name: str, folder: Path, *flags: str) -> Path:
    """Compile one of this folder's C programs into a folder, unless it is there, and return its path."""
    program = folder / name
    if not program.exists():
        command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", *flags]
        subprocess.run([*command, "-o", str(program), str(HERE / f"{name}.c")], check=True, timeout=PATIENCE_S)
    return program


class Sample:
    """What one run took: from before the fork to the end of all processes, of processor time, and of memory at most.

    faults: how many pages were touched first, which takes much of a short life, and does not depend on what else runs.
    """

    def __init__(self, wall_ms: float, cpu_ms: float, peak_mib: float, faults: int) -> None:
        self.wall_ms = wall_ms
        self.cpu_ms = cpu_ms
        self.peak_mib = peak_mib
        self.faults = faults


class Row:
    """Something that is measured again and again.

    :ivar name: unique in a run.
    :ivar group: the rows that belong together in the table.
    :ivar against: names of rows of the same run to whose times this one's are held, and how the table calls them.
    :ivar samples: one for each round.
    """

    def __init__(
        self,
        name: str,
        group: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        sent: bytes = b"",
        check: Callable[[bytes], None],
        before: Callable[[], None] = lambda: None,
        against: Mapping[str, str] | None = None,
    ) -> None:
        """Take the command, what is sent to it, what must be true of its output, and what is done before each run."""
        self.name = name
        self.group = group
        self.against = dict(against or {})
        self.samples: list[Sample] = []
        self._command = [str(word) for word in command]
        self._environment = dict(environment)
        self._sent = sent
        self._check = check
        self._before = before

    def run(self, launch: Path) -> Sample:
        """Run it once. Raises BenchError if it fails, and whatever the check raises."""
        self._before()
        with tempfile.TemporaryDirectory(prefix="pysk-bench-run-") as name:
            sent, output = Path(name, "sent"), Path(name, "output")
            sent.write_bytes(self._sent)
            done = subprocess.run(
                [launch, str(PATIENCE_S), sent, output, *self._command],
                env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip
            figures = done.stdout.split()
            if done.returncode != 0 or len(figures) != 5 or figures[4] != "0":
                raise BenchError(f"{self.name} failed ({done.stdout.strip()}): {done.stderr.strip()}")
            self._check(output.read_bytes())
        wall, cpu, peak, faults = (int(figure) for figure in figures[:4])
        return Sample(wall / 1000, cpu / 1000, peak / 1024, faults)

    def median(self, figure: str) -> float:
        """Return the median of one of the samples' figures, by its name."""
        median: float = statistics.median(getattr(sample, figure) for sample in self.samples)
        return median

    def ratio(self, other: Row, figure: str) -> float:
        """Return how many times the other's figure this one's is: the median of the rounds' ratios.

        What else the machine does changes from round to round, and meets both alike.
        """
        pairs = zip(self.samples, other.samples, strict=True)
        ratio: float = statistics.median(getattr(mine, figure) / getattr(its, figure) for mine, its in pairs)
        return ratio


def interleave(rows: Sequence[Row], rounds: int, warm_up: int, launch: Path) -> None:
    """Give each row a sample of every round after the warm-up; each round begins one row further on than the last."""
    for number in range(-warm_up, rounds):
        start = number % len(rows)
        for row in (*rows[start:], *rows[:start]):
            sample = row.run(launch)
            if number >= 0:
                row.samples.append(sample)
        if sys.stderr.isatty():
            end = "\n" if number == rounds - 1 else ""
            print(f"\rround {number + 1} of {rounds}", end=end, file=sys.stderr, flush=True)  # noqa: T201 - progress


def environment(folder: Path, **variables: str | Path) -> dict[str, str]:
    """Return the environment of a measured program: nothing of the caller's but the path of the system's programs."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(folder)} | {k: str(v) for k, v in variables.items()}
