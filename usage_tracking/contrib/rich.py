"""Print tables with rich, if it is installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: A terminal then wraps long lines as it wraps plain text. Rich would truncate the numbers.
_WIDTH = 1000


def print_tables(
    tables: Iterable[tuple[Sequence[str], Iterable[Sequence[str]]]], out: IO[str]
) -> None:
    """Write tables of (titles, rows) to `out`, in colour even if it is not a terminal.

    The first column is aligned to the left, the others to the right.
    """
    console = Console(file=out, force_terminal=True, highlight=False, width=_WIDTH)
    for titles, rows in tables:
        # Text, not str: rich would read brackets in a model name as markup.
        grid = Table(box=box.SIMPLE_HEAD, header_style="bold")
        for title in titles:
            grid.add_column(Text(title), justify="right" if grid.columns else "left", no_wrap=True)
        for row in rows:
            grid.add_row(*map(Text, row))
        console.print(grid)
