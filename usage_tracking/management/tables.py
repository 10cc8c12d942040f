"""Tables of text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Table(NamedTuple):
    """Formatted cells. The first column is text, the others are numbers."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plain(table: Table) -> Iterator[str]:
    """Yield the lines of `table`, aligned."""
    lines = (table.titles, *table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *numbers in lines:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()
