"""What the command prints: tables for people, lines for pipes, JSON for programs."""

from __future__ import annotations

import json
import sys

import click

from sk_provider.reporting import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    Function = TypeVar("Function", bound=Callable[..., object])

_MAX_UNFOLDED = 24
"""Characters of a first cell that leave room for others in any terminal."""
_UNLIMITED = 1 << 16
"""Characters that no table is wide."""


def json_option(function: Function) -> Function:
    """Give a command the option --json, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def print_json(data: Any) -> None:
    """Print what json can write: text of others too, whatever is in it, since JSON escapes what is not ASCII."""
    click.echo(json.dumps(data, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows, each of as many cells as there are columns: a table with a head on a terminal, else a line a row.

    The first cell is what people type: it stays in one piece where others must be folded, unless it is long itself.
    What could end a line or steer a terminal is replaced by "?". Cells of a line stand two spaces apart; of spaces that
    follow each other within one but the first, which others have chosen, one is left, so that all columns can be told.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for first, *others in cells:
            click.echo("  ".join([first, *(" ".join(cell.split()) for cell in others)]))
        return
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    if Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum > console.width:
        # With a minimum instead, the others would not be folded enough, and the last of them be cut off.
        table.columns[0].width = min(max(map(len, [columns[0], *(row[0] for row in cells)])), _MAX_UNFOLDED)
    console.print(table)
