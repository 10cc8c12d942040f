"""Tables by rich, for a terminal; the cells are those of the plain ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from usage_tracking.management.tables import Table

_WIDE = 1000


def print_tables(tables: Iterable[Table], out: IO[str]) -> None:
    """Writes `tables` to `out`, in colour whatever it is: who asks has looked at it."""
    # A narrow terminal breaks lines as it does those of plain text; rich would cut numbers.
    console = Console(file=out, force_terminal=True, highlight=False, width=_WIDE)
    for table in tables:
        # Text, not str: a model's name with brackets is no markup.
        grid = RichTable(box=box.SIMPLE_HEAD, header_style="bold")
        for title in table.titles:
            grid.add_column(Text(title), justify="right" if grid.columns else "left", no_wrap=True)
        for row in table.rows:
            grid.add_row(*map(Text, row))
        console.print(grid)


def print_lines(lines: Iterable[Iterable[tuple[str, str]]], out: IO[str]) -> None:
    """Writes lines of (text, style) to `out`, in colour whatever it is."""
    console = Console(file=out, force_terminal=True, highlight=False, width=_WIDE)
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)
