"""Write rows as an Excel workbook, without keeping them in memory."""

from __future__ import annotations

import re
import traceback
from decimal import Decimal
from math import isfinite
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

from .cells import cell
from .rows import Rows
from .text import converted, known_json

if TYPE_CHECKING:
    from xlsxwriter import Workbook

#: Excel's limit of rows of a sheet, with the titles.
SHEET_ROWS = 1_048_576
#: Excel keeps 15 digits of a number. A longer one, such as the key of a user, is a text.
_LARGEST = 10**15
#: What XML 1.0 cannot contain.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "use_zip64": True,
}


def write_xlsx(rows: Rows, file: IO[bytes]) -> None:
    """Write sheets of at most `SHEET_ROWS` rows, each with the titles.

    It needs XlsxWriter, and room for temporary files several times as large as `file`. Integers of
    up to 15 digits are numbers, and times are texts in the form of ISO 8601. Texts are cut to
    Excel's 32,767 characters. No text is a formula.
    """
    from xlsxwriter import Workbook

    # After an error, XlsxWriter leaves its temporary files behind.
    with TemporaryDirectory() as folder:
        book = Workbook(file, _OPTIONS | {"tmpdir": folder})
        try:
            _write_sheets(rows, book)
        except BaseException:
            # Not `book.close()`, which would complete the workbook.
            for sheet in book.worksheets():
                sheet.row_data_fh.close()
            raise
        try:
            book.close()
        except BaseException as error:
            _delete_locals(error)
            raise


def _delete_locals(error: BaseException) -> None:
    """Delete the `ZipFile` of XlsxWriter, which writes its end when it is deleted.

    Python does so when the error is handled, and then the caller has closed the file.
    """
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__


def _write_sheets(rows: Rows, book: Workbook) -> None:
    sheet, number = book.add_worksheet(), 1
    sheet.write_row(0, 0, rows.titles)
    for columns in converted(rows, _cell, lambda text: _cell(known_json(text)), {bool, type(None)}):
        for cells in zip(*columns, strict=True):
            if number == SHEET_ROWS:
                sheet, number = book.add_worksheet(), 1
                sheet.write_row(0, 0, rows.titles)
            sheet.write_row(number, 0, cells)
            number += 1


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST:
        return value
    if isinstance(value, float | Decimal) and isfinite(value):
        return value
    return _ILLEGAL.sub("\ufffd", str(cell(value)))
