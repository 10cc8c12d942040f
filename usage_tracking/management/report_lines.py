"""Lay out the lines of a breakdown, for a terminal and for files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from ..exports.rows import Chunk, Rows
from ..reports import BreakdownLine, Totals, columns_of
from ..reports.totals import costliest_first
from .formatting import COLUMNS, UNKNOWN, cells
from .tables import Table, shown

#: How many lines a table has at most before its titles are repeated.
_PAGE = 1_000
_CHUNK = 1_000


def tables(lines: Iterable[BreakdownLine], by: Sequence[str]) -> Iterator[Table]:
    """Yield the lines in tables of at most a thousand, the last of which ends with the total.

    Lines that fit one table and have no time come with the highest cost first.
    """
    source, total = iter(lines), Totals()
    page = list(islice(source, _PAGE))
    following = list(islice(source, _PAGE))
    if not following and not {"day", "hour"} & set(by):
        page.sort(key=lambda line: costliest_first(line.totals))
    titles = (*(name.upper() for name in by), *COLUMNS)
    texts = tuple(range(len(by)))
    while page:
        rows = [(*_names(line), *cells(line.totals)) for line in page]
        total = total.plus(Totals.sum(line.totals for line in page))
        if not following:
            rows.append(("Total", *[""] * (len(by) - 1), *cells(total)))
        yield Table(titles, tuple(rows), texts)
        page, following = following, list(islice(source, _PAGE))


def lines_as_rows(lines: Iterable[BreakdownLine], by: Sequence[str]) -> Rows:
    """Return the columns of a file: the dimensions, then the totals of `usage_today --json`."""
    return Rows((*columns_of(by), *Totals().as_dict()), _chunks(lines))


def _chunks(lines: Iterable[BreakdownLine]) -> Iterator[Chunk]:
    source = iter(lines)
    while chunk := list(islice(source, _CHUNK)):
        yield list(zip(*map(_values, chunk), strict=True))


def _values(line: BreakdownLine) -> tuple[Any, ...]:
    return (*line.named.values(), *line.totals.as_dict().values())


def _names(line: BreakdownLine) -> Iterator[str]:
    for name, value in line.values.items():
        if name == "user":
            yield "Unattributed" if value is None else shown(line.username)
        elif name == "hour":
            yield f"{value:%Y-%m-%d %H:%M}Z"
        else:
            yield shown(value) or UNKNOWN
