"""Exports of the admin's lists; a `Resource` defines the columns.

django-import-export's own export builds the file in memory. Here a file is written row by row to
disk, and sent when it is complete. An error in between is an error page, and a transfer that breaks
is shorter than the response says. So a file that looks whole is whole.

The server may give a request little time: gunicorn's default worker ends after 30 s, with whatever
it does. An export stops before that, and names the command that has no such limit.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from math import inf
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.http.response import StreamingHttpResponse
from django.utils.http import content_disposition_header
from import_export.fields import Field
from import_export.resources import ModelResource
from import_export.widgets import Widget

from ..exports.files import CONTENT_TYPES, write_file
from ..exports.names import file_name
from ..exports.rows import COLUMNS, Chunk, Rows, moment_of, newest_first, stored_rows
from ..models import AIUsageLog, AIUsageTracking

_BLOCK = 64 * 1024
#: What a subclass of a Resource may define without a change of the columns, and what Python and
#: the base class define in each.
_COLUMNLESS = {
    "max_seconds",
    "fields",
    "_meta",
    "__doc__",
    "__module__",
    "__firstlineno__",
    "__static_attributes__",
}
#: Bytes of a file that needs no disk.
_IN_MEMORY = 1 << 20


class AsItIs(Widget):  # type: ignore[misc]
    """Leaves values unchanged; the writer of the file format converts them to cells."""

    def __init__(self, **options: Any) -> None:
        super().__init__()  # the options are those of the widget that this one replaces

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        """Return `value`."""
        return value


class UsageResource(ModelResource):  # type: ignore[misc]
    """The columns of the model, and the user's name beside the user's key."""

    #: Seconds to write a file. gunicorn's workers have 30, also for the transfer.
    max_seconds = 24.0

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
        export_order = COLUMNS[AIUsageLog]


class DailyResource(UsageResource):
    """The columns of an export of daily rows."""

    class Meta:
        model = AIUsageTracking
        exclude = ("id", "logs_pruned")
        export_order = COLUMNS[AIUsageTracking]


class TooLongError(Exception):
    """An export takes longer than a request may."""


def export_response(
    request: HttpRequest, rows: QuerySet[Any], resource: ModelResource, file_format: str
) -> HttpResponseBase:
    """Return a file of `rows`, newest first.

    Args:
        request: Its query names the file. Under ASGI the response is asynchronous.
        rows: Calls or daily rows. Their order is ignored.
        resource: Defines the columns.
        file_format: One of CONTENT_TYPES.

    Raises:
        Http404: The format is another.
        TooLongError: The file takes longer than `resource.max_seconds`.
    """
    if file_format not in CONTENT_TYPES:
        raise Http404
    deadline = time.monotonic() + resource.max_seconds
    source = _rows(rows, resource)
    limited = Rows(source.titles, _until(deadline, source.chunks), source.json)
    file = _TimedFile(deadline)  # the response closes it
    try:
        write_file(limited, file, file_format)
    except BaseException:
        file.close()
        raise
    name = file_name(rows.model, request.GET, file_format)
    return _response(request, file, name, CONTENT_TYPES[file_format])


def _rows(rows: QuerySet[Any], resource: ModelResource) -> Rows:
    """Return the columns of `resource`; without instances of the model if a site changed none."""
    if not _changes_columns(type(resource)):
        return stored_rows(rows)
    moment = moment_of(rows.model)
    lists = newest_first(rows, lambda row: (getattr(row, moment), row.pk))
    return Rows(
        tuple(resource.get_export_headers()),
        (
            list(zip(*(resource.export_resource(row) for row in some), strict=True))
            for some in lists
        ),
    )


def _changes_columns(kind: type[ModelResource]) -> bool:
    """Return whether `kind` defines more than how long an export may take."""
    classes = kind.__mro__
    base = next((cls for cls in classes if cls in (LogResource, DailyResource)), None)
    if base is None or kind.fields != base.fields:
        return True
    return any(not vars(cls).keys() <= _COLUMNLESS for cls in classes[: classes.index(base)])


class _TimedFile(SpooledTemporaryFile[bytes]):
    """A temporary file that cannot be written after `deadline`."""

    def __init__(self, deadline: float) -> None:
        super().__init__(_IN_MEMORY)
        self._deadline = deadline

    def write(self, data: Any) -> int:
        """Write `data`; raise `TooLongError` once after the deadline."""
        # The rows of a workbook are read before it is compressed, which takes long too.
        if time.monotonic() > self._deadline:
            self._deadline = inf  # for what a writer still writes when it is deleted
            raise TooLongError
        return super().write(data)


def _until(deadline: float, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise TooLongError
        yield chunk


def _response(
    request: HttpRequest, file: IO[bytes], name: str, content_type: str
) -> HttpResponseBase:
    length = file.seek(0, 2)
    file.seek(0)
    if not isinstance(request, ASGIRequest):
        response: StreamingHttpResponse = FileResponse(file, content_type=content_type)
    else:
        # Django would read a synchronous iterator to its end first.
        response = StreamingHttpResponse(_Blocks(file), content_type=content_type)
    # A client, or a proxy before it, can tell that a shorter body is not complete.
    response.headers["Content-Length"] = str(length)
    response.headers["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=name
    )
    return response


class _Blocks:
    """The blocks of a file, read outside the event loop. The response closes it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.close = file.close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while block := await sync_to_async(self._file.read)(_BLOCK):
            yield block
