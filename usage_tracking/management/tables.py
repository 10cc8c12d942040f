"""Tables of text that fit a terminal. In a pipe and in a file nothing is cut."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from ..log import one_line
from ..scanner.output.terminal import wants_colour
from .text_width import cut, pad, width_of

#: The columns between two cells.
GAP = 2
#: A text column does not become narrower than this.
_NARROWEST = 8
#: Unicode's zero-width joiner and non-joiner, which emoji and many scripts need.
_NOT_JOINERS = re.compile("[^\u200c\u200d]+")


class Table(NamedTuple):
    """Formatted cells. The first column is aligned to the left, the others to the right."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    #: The columns that may be cut to fit a terminal. Numbers, and lines to paste, may not.
    texts: tuple[int, ...] = (0,)


def shown(text: object) -> str:
    """Return `text` for a cell: control characters are escaped."""
    return _NOT_JOINERS.sub(lambda part: one_line(part[0]), str(text))


def write_tables(
    tables: Iterable[Table], out: Any, options: dict[str, Any], *, heading: str = ""
) -> None:
    """Write `heading` and the tables, in colour on a terminal if rich is installed.

    Args:
        tables: The tables, which an empty line separates.
        out: The `stdout` of a command.
        options: The options of the command.
        heading: A line above the tables; "" for none.
    """
    tables, width = list(tables), terminal_width(out)
    if heading:
        out.write(heading)
    coloured = wants_colour(
        no_color=options["no_color"],
        force_color=options["force_color"],
        is_terminal=out.isatty(),
    )
    if coloured and _write_with_rich(tables, out, width):
        return
    for number, table in enumerate(tables):
        if number or heading:
            out.write("")
        out.write("\n".join(plain(table, width)))


def terminal_width(out: Any) -> int | None:
    """Return the columns of the terminal `out`; None if they are unknown or it is no terminal."""
    if not out.isatty():
        return None
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def plain(table: Table, width: int | None = None) -> Iterator[str]:
    """Yield the lines of `table`, aligned, in at most `width` columns if the numbers fit there."""
    fitting = fitted(table, width)
    if fitting is None:
        yield from blocks(table, width)
        return
    lines = (fitting.titles, *fitting.rows)
    widths = _widths(fitting)
    for first, *others in lines:
        cells = [pad(first, widths[0])]
        cells += [pad(cell, -width) for cell, width in zip(others, widths[1:], strict=True)]
        yield (" " * GAP).join(cells).rstrip()


def fitted(table: Table, width: int | None) -> Table | None:
    """Return `table` with its texts cut to fit `width`; None if it does not fit even so."""
    if width is None or len(table.titles) == 1:  # a terminal wraps a long line
        return table
    widths = _widths(table)
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0:
        widest = max(table.texts, key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return None
        widths[widest] -= 1
        excess -= 1

    def cells(line: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            cut(cell, widths[n]) if n in table.texts else cell for n, cell in enumerate(line)
        )

    return Table(cells(table.titles), tuple(map(cells, table.rows)), table.texts)


def blocks(table: Table, width: int | None) -> Iterator[str]:
    """Yield each row of `table` as lines of title and cell, for a narrow terminal."""
    titles = max(map(width_of, table.titles))
    room = max((width or 0) - titles - GAP, _NARROWEST)
    for number, row in enumerate(table.rows):
        if number:
            yield ""
        for column, (title, cell) in enumerate(zip(table.titles, row, strict=True)):
            text = cut(cell, room) if column in table.texts else cell
            yield (pad(title, titles + GAP) + text).rstrip()


def _widths(table: Table) -> list[int]:
    return [
        max(map(width_of, column))
        for column in zip(*chain([table.titles], table.rows), strict=True)
    ]


def _write_with_rich(tables: list[Table], out: Any, width: int | None) -> bool:
    """Write the tables if rich is installed, and return whether it is."""
    try:
        from ..contrib.rich import print_tables
    except ImportError:
        return False
    print_tables(tables, out, width)
    return True
