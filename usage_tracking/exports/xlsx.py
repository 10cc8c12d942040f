"""Write rows as an Excel workbook, without keeping them in memory.

The libraries for workbooks take ten times as long for each cell. A request would not have the time
for a month of calls. This writes what ECMA-376 requires of a workbook, with the texts in their
cells. https://ecma-international.org/publications-and-standards/standards/ecma-376/
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from math import isfinite
from typing import IO, Any
from xml.sax.saxutils import escape

from .rows import Chunk, Rows
from .text import converted, decimal_text, known_json, spreadsheet

#: The limits of Excel: rows of a sheet, with the titles, and characters of a cell.
SHEET_ROWS = 1_048_576
CELL = 32_767
#: What XML 1.0 cannot contain.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: How Excel escapes a character; so a text that looks like it is escaped itself.
_LOOKS_ESCAPED = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
_FRACTIONS = (float, Decimal)

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def write_xlsx(rows: Rows, file: IO[bytes]) -> None:
    """Write sheets of at most `SHEET_ROWS` rows, each with the titles.

    Numbers are numbers, and times are texts in the form of ISO 8601. Texts are cut to `CELL`
    characters. No text is a formula.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        number = 0
        for number, chunks in enumerate(_sheets(rows.chunks), 1):
            name = f"xl/worksheets/sheet{number}.xml"
            with book.open(name, "w", force_zip64=True) as sheet:
                sheet.write(f'{_XML}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
                titles = Rows(rows.titles, [[[title] for title in rows.titles]])
                sheet.write(next(_lines(titles, 1)))
                for part in _lines(replace(rows, chunks=chunks), 2):
                    sheet.write(part)
                sheet.write(b"</sheetData></worksheet>")
        for name, text in _parts(number).items():
            book.writestr(name, _XML + text)


def _sheets(chunks: Iterable[Chunk]) -> Iterator[Iterator[Chunk]]:
    """Yield the chunks of each sheet, which are to be read before the next sheet."""
    source: Iterator[Chunk] = iter(chunks)

    def sheet() -> Iterator[Chunk]:
        nonlocal source
        room = SHEET_ROWS - 1
        while room and (chunk := next(source, None)) is not None:
            if len(chunk[0]) > room:
                source = chain([[column[room:] for column in chunk]], source)
                chunk = [column[:room] for column in chunk]
            room -= len(chunk[0])
            yield chunk

    while True:
        yield sheet()
        following = next(source, None)
        if following is None:
            return
        source = chain([following], source)


def _lines(rows: Rows, number: int) -> Iterator[bytes]:
    """Yield the XML of each chunk; the first row has this number."""
    letters = [_letters(position) for position in range(len(rows.titles))]
    for columns in converted(rows, _cell, lambda text: _cell(known_json(text))):
        placed = [
            [
                f'<c r="{letter}{row}"{cell}' if cell else ""
                for row, cell in enumerate(column, number)
            ]
            for letter, column in zip(letters, columns, strict=True)
        ]
        lines = [
            f'<row r="{row}">{"".join(cells)}</row>'
            for row, cells in enumerate(zip(*placed, strict=True), number)
        ]
        number += len(lines)
        yield "".join(lines).encode()


def _cell(value: Any) -> str:
    """Return the XML of a cell after its place; "" for an unknown value."""
    if value is None:
        return ""
    if not isinstance(value, str):
        if isinstance(value, bool):
            return f' t="b"><v>{value:d}</v></c>'
        if isinstance(value, int) or (isinstance(value, _FRACTIONS) and isfinite(value)):
            text = decimal_text(value) if isinstance(value, Decimal) else repr(value)
            return f"><v>{text}</v></c>"
    text = _LOOKS_ESCAPED.sub("_x005F_", _ILLEGAL.sub("\ufffd", str(spreadsheet(value)))[:CELL])
    # A parser turns "\r" into "\n".
    text = escape(text, {"\r": "_x000D_"})
    return f' t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _letters(position: int) -> str:
    """Return the letters of a column: A to Z, then AA."""
    before, last = divmod(position, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _parts(sheets: int) -> dict[str, str]:
    """Return the parts of the workbook that name its sheets."""
    numbers: Sequence[int] = range(1, sheets + 1)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
        for n in numbers
    )
    listed = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    related = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in numbers
    )
    return {
        "[Content_Types].xml": (
            f'<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/xl/workbook.xml" '
            f'ContentType="{_TYPES}.sheet.main+xml"/>{overrides}</Types>'
        ),
        "_rels/.rels": (
            f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
            f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": (
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": (
            f'<Relationships xmlns="{_PACKAGE}/relationships">{related}</Relationships>'
        ),
    }
