"""Pages of the list of calls."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request

from .fields import WholeNumberField

MAX_OFFSET = 2**31 - 1


class LogPagination(LimitOffsetPagination):
    """`limit` and `offset`. A value out of range is an error: a short page looks like the last."""

    default_limit = 50
    max_limit = 500
    limit_query_description = "Number of calls to return."
    offset_query_description = "Number of calls to skip."

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
