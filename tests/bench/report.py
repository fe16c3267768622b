"""How the figures are shown: a table for people, and JSON."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Row

FIGURES = {"wall_ms": 1, "cpu_ms": 1, "peak_mib": 1, "faults": 0}
"""What a row shows, and with how many digits after the point."""


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
        "openssh": subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True, timeout=10).stderr.strip(),
        "date": dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d"),
    }


def table(rows: Sequence[Row]) -> list[str]:
    """Return the table's lines, in the manner of Markdown."""
    by_name = {row.name: row for row in rows}
    lines = [
        "| | ms | processor ms | peak MiB | page faults | times as long (as much processor) as |",
        "|---|--:|--:|--:|--:|---|",
    ]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            lines.append(f"| **{group}** | | | | | |")
        ratios = ", ".join(
            f"{row.ratio(by_name[name], 'wall_ms'):.2f} ({row.ratio(by_name[name], 'cpu_ms'):.2f}) x {label}"
            for name, label in row.against.items()
            if name in by_name
        )
        figures = " | ".join(f"{row.median(figure):.{digits}f}" for figure, digits in FIGURES.items())
        lines.append(f"| {row.name.removeprefix(f'{group}: ')} | {figures} | {ratios} |")
    return lines


def as_json(rows: Sequence[Row], rounds: int) -> dict[str, object]:
    """Return everything that was measured."""
    by_name = {row.name: row for row in rows}
    return {
        "machine": machine(),
        "command": sys.argv[1:],
        "rounds": rounds,
        "rows": [
            {
                "group": row.group,
                "name": row.name.removeprefix(f"{row.group}: "),
                "ratios": {
                    label: {figure: row.ratio(by_name[name], figure) for figure in ("wall_ms", "cpu_ms")}
                    for name, label in row.against.items()
                    if name in by_name
                },
                **{figure: row.median(figure) for figure in FIGURES},
                "samples_ms": [sample.wall_ms for sample in row.samples],
            }
            for row in rows
        ],
    }
