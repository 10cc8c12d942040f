"""Write rows as an Excel workbook, without keeping them in memory."""

from __future__ import annotations

import re
from decimal import Decimal
from math import isfinite
from typing import IO, Any

from .cells import cell
from .rows import Rows
from .text import converted, known_json

#: The limits of Excel: rows of a sheet, with the titles, and characters of a cell.
SHEET_ROWS = 1_048_576
CELL = 32_767
#: What XML 1.0 cannot contain.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: How Excel escapes a character; so a text that looks like it is escaped itself.
_LOOKS_ESCAPED = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
_PLAIN: frozenset[type[Any]] = frozenset({int, bool, type(None)})
_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}


def write_xlsx(rows: Rows, file: IO[bytes]) -> None:
    """Write sheets of at most `SHEET_ROWS` rows, each with the titles.

    It needs XlsxWriter. Numbers are numbers, and times are texts in the form of ISO 8601. Texts are
    cut to `CELL` characters. No text is a formula.
    """
    from xlsxwriter import Workbook

    with Workbook(file, _OPTIONS) as book:
        sheet, number = book.add_worksheet(), 1
        sheet.write_row(0, 0, rows.titles)
        for columns in converted(rows, _cell, lambda text: _cell(known_json(text)), _PLAIN):
            for cells in zip(*columns, strict=True):
                if number == SHEET_ROWS:
                    sheet, number = book.add_worksheet(), 1
                    sheet.write_row(0, 0, rows.titles)
                sheet.write_row(number, 0, cells)
                number += 1


def _cell(value: Any) -> Any:
    if type(value) in _PLAIN or (isinstance(value, float | Decimal) and isfinite(value)):
        return value
    text = _ILLEGAL.sub("\ufffd", str(cell(value)))[:CELL]
    return _LOOKS_ESCAPED.sub("_x005F_", text)
