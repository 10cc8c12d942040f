"""Write rows as CSV, as a JSON list, or as JSON Lines."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence, Set
from decimal import Decimal
from typing import Any, TextIO

from django.core.serializers.json import DjangoJSONEncoder

from .cells import cell, decimal_text
from .rows import Rows

#: Types whose equal values look the same in a file, and which are quick to compare.
_COMPARABLE = frozenset({str, int, bool, dt.date})
#: Excel needs it to detect UTF-8.
BYTE_ORDER_MARK = "\ufeff"
_default = DjangoJSONEncoder().default
_encode = json.JSONEncoder(ensure_ascii=False, default=_default).encode


def write_csv(rows: Rows, out: TextIO) -> None:
    """Write lines of cells that no spreadsheet reads as formulas. Unknown values are empty."""
    writer = csv.writer(out)
    writer.writerow(map(cell, rows.titles))
    for columns in converted(rows, cell, lambda text: cell(known_json(text)), {int, type(None)}):
        writer.writerows(zip(*columns, strict=True))


def write_json(rows: Rows, out: TextIO) -> None:
    """Write a list of objects. Decimals are strings, unknown values are null."""
    mark = "[\n"
    for objects in _objects(rows):
        out.write(mark)
        out.write(",\n".join(objects))
        mark = ",\n"
    out.write("[]\n" if mark == "[\n" else "\n]\n")


def write_jsonl(rows: Rows, out: TextIO) -> None:
    """Write one object per line, as `write_json` does."""
    for objects in _objects(rows):
        out.write("\n".join(objects) + "\n")


def _objects(rows: Rows) -> Iterator[Iterator[str]]:
    """Yield the objects of each chunk."""
    pairs = (_encode(title).replace("%", "%%") + ": %s" for title in rows.titles)
    template = "{" + ", ".join(pairs) + "}"
    for columns in converted(rows, _json, lambda text: known_json(text) or "null", {int}):
        yield (template % cells for cells in zip(*columns, strict=True))


def converted(
    rows: Rows,
    of_value: Callable[[Any], Any],
    of_json: Callable[[str | None], Any],
    plain: Set[type[Any]] = frozenset(),
) -> Iterator[Iterator[Sequence[Any]]]:
    """Yield the columns of each chunk, with their values converted.

    Args:
        rows: The rows.
        of_value: Converts a value.
        of_json: Converts a text of JSON, or None.
        plain: The types that need no conversion.
    """
    functions = [of_json if title in rows.json else of_value for title in rows.titles]
    for chunk in rows.chunks:
        yield (_each(*pair, plain) for pair in zip(functions, chunk, strict=True))


def _each(
    function: Callable[[Any], Any], column: Sequence[Any], plain: Set[type[Any]]
) -> Sequence[Any]:
    """Return `function` of each value; it is called once for equal values of one type."""
    kinds = set(map(type, column))
    if kinds <= plain:
        return column
    kinds.discard(type(None))
    if len(kinds) > 1 or not kinds <= _COMPARABLE:
        return [function(value) for value in column]
    known = {value: function(value) for value in set(column)}
    return [known[value] for value in column]


def _json(value: Any) -> str:
    # `_encode` takes ten times as long for anything but a text.
    if isinstance(value, dt.date):  # includes datetime
        value = _default(value)
    elif isinstance(value, Decimal):
        value = decimal_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    elif value is None:
        return "null"
    return _encode(value)


def known_json(text: str | None) -> str | None:
    """Return JSON on one line, in which only control characters are escaped; None for null."""
    if text is None or text == "null":
        return None
    return _encode(json.loads(text)) if "\\u" in text or "\n" in text else text
