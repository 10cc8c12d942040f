"""Streaming exports of the admin's lists; a `Resource` defines the columns.

django-import-export's own export builds the whole file in memory. Here each row is written as soon
as it is read, so memory does not grow with the rows. No cursor and no transaction stays open while
a slow client downloads.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.http.response import StreamingHttpResponse
from import_export.fields import Field
from import_export.resources import ModelResource
from import_export.widgets import Widget

from ..fields import CALL_FIELDS
from ..models import AIUsageLog, AIUsageTracking

_CHUNK = 2_000
_BLOCK = 64 * 1024
#: The characters that begin a formula in a spreadsheet, with their full-width forms.
#: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
_SHEET_ROWS = 1_048_576
_CELL = 32_767


class AsItIs(Widget):  # type: ignore[misc]
    """Leaves values unchanged; the writer of the file format converts them to cells."""

    def __init__(self, **options: Any) -> None:
        super().__init__()  # the options are those of the widget that this one replaces

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        """Return `value`."""
        return value


class UsageResource(ModelResource):  # type: ignore[misc]
    """The columns of the model, and the user's name beside the user's key."""

    user = Field(attribute="user_id", column_name="user", widget=AsItIs())
    username = Field(column_name="username", widget=AsItIs())

    def dehydrate_username(self, row: Any) -> str | None:
        """Return the username; None without a user."""
        return row.user.get_username() if row.user else None

    @classmethod
    def widget_from_django_field(cls, f: Any, default: Any = Widget) -> type[AsItIs]:
        """Return `AsItIs` for every field."""
        return AsItIs


class LogResource(UsageResource):
    """The columns of an export of calls. Subclass it to add your own."""

    class Meta:
        model = AIUsageLog
        export_order = (
            "id",
            "created_at",
            "day",
            "user",
            "username",
            "section",
            *CALL_FIELDS,
        )


class DailyResource(UsageResource):
    """The columns of an export of daily rows."""

    class Meta:
        model = AIUsageTracking
        exclude = ("id", "logs_pruned")
        export_order = (
            "date",
            "user",
            "username",
            "total_requests",
            "successful_requests",
            "failed_requests",
            "total_prompt_tokens",
            "total_completion_tokens",
            "total_tokens",
            "total_cost",
            "total_response_time_ms",
            "average_response_time_ms",
            "created_at",
            "updated_at",
        )


def export_response(
    request: HttpRequest, rows: QuerySet[Any], resource: ModelResource, file_format: str
) -> HttpResponseBase:
    """Stream `rows` as a file, newest first.

    Args:
        request: Under ASGI the response streams asynchronously.
        rows: Calls or daily rows. Their order is ignored.
        resource: Defines the columns.
        file_format: "csv", "json" or "xlsx".

    Raises:
        Http404: The format is another.
    """
    if file_format not in _FORMATS:
        raise Http404
    write, content_type = _FORMATS[file_format]
    cells = (resource.export_resource(row) for row in _newest_first(rows))
    body: Any = write(resource.get_export_headers(), cells)
    if isinstance(request, ASGIRequest):
        body = _on_event_loop(body)  # Django would read a synchronous iterator to its end first
    name = f"{rows.model._meta.db_table}.{file_format}"
    return StreamingHttpResponse(
        body,
        headers={
            "Content-Type": content_type,
            "Content-Disposition": f'attachment; filename="{name}"',
            # Tells nginx not to buffer the response.
            "X-Accel-Buffering": "no",
        },
    )


def write_csv(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Write UTF-8 with a byte order mark, which Excel needs to detect UTF-8."""
    writer = csv.writer(_Echo())
    yield "\ufeff".encode()
    lines = (writer.writerow(map(_spreadsheet, row)) for row in chain([headers], rows))
    yield from _blocks(lines)


def write_json(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Write a list of objects; costs are strings, unknown values are null."""
    encode = json.JSONEncoder(ensure_ascii=False, default=DjangoJSONEncoder().default).encode

    def pieces() -> Iterator[str]:
        mark = "[\n"
        for row in rows:
            yield mark + encode(dict(zip(headers, map(_json, row), strict=True)))
            mark = ",\n"
        yield "[]\n" if mark == "[\n" else "\n]\n"

    return _blocks(pieces())


def write_xlsx(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Write a workbook to a temporary file first, because a zip's directory is at its end.

    Texts are cut to 32,767 characters. A sheet has at most 1,048,576 rows, with its
    header; then another begins.
    """
    from openpyxl import Workbook
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    def cell(value: Any) -> Any:
        if isinstance(value, Decimal):
            return value
        value = _spreadsheet(value)
        if isinstance(value, str):
            return ILLEGAL_CHARACTERS_RE.sub("\ufffd", value)[:_CELL]
        return value

    with tempfile.TemporaryFile() as file:
        book = Workbook(write_only=True)
        sheet = book.create_sheet()
        sheet.append(headers)
        for number, row in enumerate(rows, 1):
            sheet.append([cell(value) for value in row])
            if number % (_SHEET_ROWS - 1) == 0:
                sheet = book.create_sheet()
                sheet.append(headers)
        book.save(file)
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


_FORMATS: dict[str, tuple[Callable[[Sequence[str], Iterable[Any]], Iterator[bytes]], str]] = {
    "csv": (write_csv, "text/csv; charset=utf-8"),
    "json": (write_json, "application/json"),
    "xlsx": (
        write_xlsx,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
}


class _Echo:
    """A file whose `write` returns the text, so that `csv.writer.writerow` returns it too."""

    def write(self, text: str) -> str:
        return text


def _spreadsheet(value: Any) -> Any:
    """Return a cell in which a text is never a formula."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    text = value if isinstance(value, str) else _text(value)
    # Spreadsheets skip leading spaces.
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=DjangoJSONEncoder().default)
    return str(value)


def _json(value: Any) -> Any:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else value


def _blocks(pieces: Iterable[str]) -> Iterator[bytes]:
    """Join `pieces` to blocks of 64 KiB: each block costs a system call."""
    block: list[str] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            yield "".join(block).encode()
            block, size = [], 0
    yield "".join(block).encode()


def _newest_first(rows: QuerySet[Any]) -> Iterator[Any]:
    """Yield the rows in chunks; each statement continues after the last row of the one before."""
    moment = "created_at" if rows.model is AIUsageLog else "date"
    rows = rows.order_by(f"-{moment}", "-pk")
    chunk = list(rows[:_CHUNK])
    while chunk:
        yield from chunk
        if len(chunk) < _CHUNK:
            return
        last = getattr(chunk[-1], moment)
        # The plain bound lets the database use an index; the other one is exact.
        after = Q(**{f"{moment}__lte": last}) & (
            Q(**{f"{moment}__lt": last}) | Q(pk__lt=chunk[-1].pk)
        )
        chunk = list(rows.filter(after)[:_CHUNK])


async def _on_event_loop(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    following: Any = sync_to_async(next)
    while (block := await following(blocks, None)) is not None:
        yield block
