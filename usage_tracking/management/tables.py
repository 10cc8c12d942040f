"""Tables of text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Cells that are formatted already; all columns but the first are numbers."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plain(table: Table) -> Iterator[str]:
    """The lines of `table`, aligned."""
    lines = (table.titles, *table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *numbers in lines:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()
