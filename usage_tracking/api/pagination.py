"""Pages of the log."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request

from .fields import WholeNumberField

MAX_OFFSET = 2**31 - 1


class LogPagination(LimitOffsetPagination):
    """`limit` and `offset`. One out of range is refused: a page cut short looks like the end."""

    default_limit = 50
    max_limit = 500
    limit_query_description = "How many calls to return."
    offset_query_description = "How many calls to skip."

    def get_limit(self, request: Request) -> int:
        return self._number(request, self.limit_query_param, 1, self.max_limit, self.default_limit)

    def get_offset(self, request: Request) -> int:
        return self._number(request, self.offset_query_param, 0, MAX_OFFSET, 0)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit, offset = super().get_schema_operation_parameters(view)
        limit["schema"] = {
            "type": "integer",
            "minimum": 1,
            "maximum": self.max_limit,
            "default": self.default_limit,
        }
        offset["schema"] = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}
        return [limit, offset]

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
