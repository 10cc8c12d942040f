"""Print tables with rich, if it is installed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ..management.tables import Table, blocks, fitted

#: Rich must not cut the cells, which already fit.
_WIDTH = 1000


def print_tables(tables: Iterable[Table], out: IO[str], width: int | None = None) -> None:
    """Write tables to `out`, in colour even if it is not a terminal.

    Args:
        tables: The tables. The first column is aligned to the left, the others to the right.
        out: Where to write.
        width: The columns of the terminal; None for no limit.
    """
    console = Console(file=out, force_terminal=True, highlight=False, width=_WIDTH)
    for table in tables:
        console.print()
        fitting = fitted(table, width)
        if fitting is None:
            for line in blocks(table, width):
                console.print(Text(line), soft_wrap=True)
            continue
        # Text, not str: rich would read brackets in a model name as markup.
        grid = Grid(
            box=box.SIMPLE_HEAD,
            header_style="bold",
            show_edge=False,
            pad_edge=False,
            collapse_padding=True,
        )
        for title in fitting.titles:
            grid.add_column(Text(title), justify="right" if grid.columns else "left", no_wrap=True)
        for row in fitting.rows:
            grid.add_row(*map(Text, row))
        console.print(grid)
