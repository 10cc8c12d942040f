"""Write rows to a file in one of the formats."""

from __future__ import annotations

from collections.abc import Callable
from io import TextIOWrapper
from typing import IO, TextIO

from .rows import Rows
from .text import BYTE_ORDER_MARK, write_csv, write_json, write_jsonl
from .xlsx import write_xlsx

#: The formats of the admin's exports.
CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}
#: The formats that are text.
WRITERS: dict[str, Callable[[Rows, TextIO], None]] = {
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
}


def write_file(rows: Rows, file: IO[bytes], file_format: str) -> None:
    """Write `rows` to `file` as "csv", "json", "jsonl" or "xlsx". Texts are UTF-8."""
    if file_format == "xlsx":
        write_xlsx(rows, file)
        return
    text = TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
    if file_format == "csv":
        text.write(BYTE_ORDER_MARK)
    WRITERS[file_format](rows, text)
    text.detach()
