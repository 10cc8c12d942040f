"""Exports of the admin's lists, as files that stream: what is in a row is said by a `Resource`.

django-import-export's own export builds the whole file in memory. Here a row is written when it has
been read, so a million of them need no more than the first; no cursor and no transaction is held
open while a slow client downloads.
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
#: What a spreadsheet takes as the beginning of a formula, the wide forms too.
#: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
_SHEET_ROWS = 1_048_576
_CELL = 32_767


class AsItIs(Widget):  # type: ignore[misc]
    """Leaves values as they are; the writer of the format makes cells of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__()  # the options are those of the widget it stands for

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return value


class UsageResource(ModelResource):  # type: ignore[misc]
    """Columns of the model, and the user's name beside the key."""

    user = Field(attribute="user_id", column_name="user", widget=AsItIs())
    username = Field(column_name="username", widget=AsItIs())

    def dehydrate_username(self, row: Any) -> str | None:
        return row.user.get_username() if row.user else None

    @classmethod
    def widget_from_django_field(cls, f: Any, default: Any = Widget) -> type[AsItIs]:
        return AsItIs


class LogResource(UsageResource):
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
    """`rows`, newest first, as a file that streams; `resource` says what is in a row.

    Raises Http404 for an unknown format.
    """
    if file_format not in _FORMATS:
        raise Http404
    write, content_type = _FORMATS[file_format]
    cells = (resource.export_resource(row) for row in _newest_first(rows))
    body: Any = write(resource.get_export_headers(), cells)
    if isinstance(request, ASGIRequest):
        body = _on_event_loop(body)  # where Django would collect the whole of an iterator first
    name = f"{rows.model._meta.db_table}.{file_format}"
    return StreamingHttpResponse(
        body,
        headers={
            "Content-Type": content_type,
            "Content-Disposition": f'attachment; filename="{name}"',
            # A proxy in front (nginx) would else collect it.
            "X-Accel-Buffering": "no",
        },
    )


def write_csv(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """UTF-8 with a byte order mark, which Excel needs to see it."""
    writer = csv.writer(_Echo())
    yield "\ufeff".encode()
    lines = (writer.writerow(map(_spreadsheet, row)) for row in chain([headers], rows))
    yield from _blocks(lines)


def write_json(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """A list of objects; money is text, what is not known is null."""
    encode = json.JSONEncoder(ensure_ascii=False, default=DjangoJSONEncoder().default).encode

    def pieces() -> Iterator[str]:
        mark = "[\n"
        for row in rows:
            yield mark + encode(dict(zip(headers, map(_json, row), strict=True)))
            mark = ",\n"
        yield "[]\n" if mark == "[\n" else "\n]\n"

    return _blocks(pieces())


def write_xlsx(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """By way of a temporary file: the directory of a zip is at its end."""
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
    """A file whose `write` hands back what it is given, and with it `csv.writer.writerow`."""

    def write(self, text: str) -> str:
        return text


def _spreadsheet(value: Any) -> Any:
    """A cell of a spreadsheet; a text is never a formula, whoever chose it."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    text = value if isinstance(value, str) else _text(value)
    # Behind spaces too, which spreadsheets pass over.
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=DjangoJSONEncoder().default)
    return str(value)


def _json(value: Any) -> Any:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else value


def _blocks(pieces: Iterable[str]) -> Iterator[bytes]:
    """Larger ones: each piece of a body costs a system call."""
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
    """Rows in short statements, each of which goes on where the one before has ended."""
    moment = "created_at" if rows.model is AIUsageLog else "date"
    rows = rows.order_by(f"-{moment}", "-pk")
    chunk = list(rows[:_CHUNK])
    while chunk:
        yield from chunk
        if len(chunk) < _CHUNK:
            return
        last = getattr(chunk[-1], moment)
        # Beside the plain bound, which an index can serve, the exact one.
        after = Q(**{f"{moment}__lte": last}) & (
            Q(**{f"{moment}__lt": last}) | Q(pk__lt=chunk[-1].pk)
        )
        chunk = list(rows.filter(after)[:_CHUNK])


async def _on_event_loop(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    following: Any = sync_to_async(next)
    while (block := await following(blocks, None)) is not None:
        yield block
