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
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", min_width=None if number else _width_of_first(cells))
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


def _width_of_first(cells: list[list[str]]) -> int:
    return min(max((len(row[0]) for row in cells), default=0), _MAX_UNFOLDED)
