"""Pages of the list of calls."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.db.models import Q
from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from ..days import aware, stored
from . import cursors
from .fields import WholeNumberField
from .parameters import CURSOR_HELP

MAX_OFFSET = 2**31 - 1
CURSOR = "cursor"
#: The kind of the cursors of the list of calls.
KIND = "logs"


def next_link(request: Request, cursor: str) -> str:
    """Return the URL of the request with another cursor."""
    link: str = replace_query_param(request.build_absolute_uri(), CURSOR, cursor)
    return link


class LogPagination(LimitOffsetPagination):
    """`limit` and `offset`, or `cursor`. A value out of range is an error.

    Calls that are recorded between two requests move the others to later offsets, but not across
    cursors. Cursors also save the count of all calls.
    """

    default_limit = 50
    max_limit = 500
    limit_query_description = "Number of calls to return."
    offset_query_description = "Number of calls to skip."

    #: Whether the client pages by cursor, and the cursor of the next page.
    by_cursor = False
    next_cursor: str | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """Return the calls of a page. The order of `queryset` is newest first."""
        if CURSOR not in request.query_params:
            return super().paginate_queryset(queryset, request, view)
        if self.get_offset(request):  # some clients send the default of every parameter
            raise serializers.ValidationError({CURSOR: ["Give either a cursor or an offset."]})
        self.by_cursor, self.request = True, request
        self.limit = self.get_limit(request)
        if view.after is not None:
            moment, pk = dt.datetime.fromisoformat(view.after[0]), UUID(view.after[1])
            moment = stored(moment)
            # The plain bound lets the database use an index; the other one is exact.
            queryset = queryset.filter(
                Q(created_at__lte=moment) & (Q(created_at__lt=moment) | Q(pk__lt=pk))
            )
        rows = list(queryset[: self.limit + 1])
        if len(rows) > self.limit:
            rows.pop()
            last = rows[-1]
            key = [aware(last.created_at).isoformat(), str(last.pk)]
            self.next_cursor = cursors.write(KIND, view.user, view.filters, key)
        return rows

    def get_next_link(self) -> str | None:
        """Return the URL of the next page, None on the last."""
        if not self.by_cursor:
            link: str | None = super().get_next_link()
            return link
        request: Any = self.request
        return next_link(request, self.next_cursor) if self.next_cursor else None

    def get_paginated_response(self, data: Any) -> Response:
        """Return a page; one by cursor has no count and no previous page."""
        link = self.get_next_link()
        if self.by_cursor:
            response = Response({"next": link, "results": data})
        else:
            response = super().get_paginated_response(data)
        if link:
            response.headers["Link"] = f'<{link}>; rel="next"'  # CSV has no place for it
        return response

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """Describe pages by offset and by cursor."""
        described: dict[str, Any] = super().get_paginated_response_schema(schema)
        return described | {"required": ["results"]}

    def get_limit(self, request: Request) -> int:
        """Return `limit`, from 1 to 500, by default 50."""
        return self._number(request, self.limit_query_param, 1, self.max_limit, self.default_limit)

    def get_offset(self, request: Request) -> int:
        """Return `offset`, by default 0."""
        return self._number(request, self.offset_query_param, 0, MAX_OFFSET, 0)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Add the limits of both parameters to the schema."""
        limit, offset = super().get_schema_operation_parameters(view)
        limit["schema"] = {
            "type": "integer",
            "minimum": 1,
            "maximum": self.max_limit,
            "default": self.default_limit,
        }
        offset["schema"] = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}
        cursor = {
            "name": CURSOR,
            "in": "query",
            "required": False,
            "description": CURSOR_HELP,
            "schema": {"type": "string"},
        }
        return [limit, offset, cursor]

    def _number(self, request: Request, name: str, least: int, most: int, default: int) -> int:
        text = request.query_params.get(name)
        if text is None:
            return default
        field = WholeNumberField(from_text=True, min_value=least, max_value=most)
        try:
            number: int = field.run_validation(text)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({name: error.detail}) from None
        return number
