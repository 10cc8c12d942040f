"""The report: the totals of calls by user, model, section, provider, day or hour."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework.request import Request
from rest_framework.response import Response

from .. import conf
from ..days import day_of
from ..models import today
from ..reports import DIMENSIONS, Selection, breakdown
from . import answers, cursors
from .base import REFUSED, TAGS, CSVView, or_csv, require_section, require_user
from .pagination import next_link
from .parameters import ReportParameters, check_names, check_order
from .schema import OpenApiParameter, extend_schema
from .serializers import ReportSerializer

_KIND = "report"
_DAYS = 30
#: A list in the schema; the server reads it with commas, or one name at a time.
_GROUP_BY = OpenApiParameter(
    "group_by",
    {
        "type": "array",
        "items": {"type": "string", "enum": list(DIMENSIONS)},
        "minItems": 1,
        "uniqueItems": True,
    },
    description=str(ReportParameters().fields["group_by"].help_text),
    explode=False,
    style="form",
)


class ReportView(CSVView):
    """Add up calls by user, model, section, provider, day or hour: yours, or all users'."""

    may_be_kept = True

    @extend_schema(
        operation_id="usage_report",
        summary="Add up calls by user, model, section, provider, day or hour",
        tags=TAGS,
        parameters=[ReportParameters, _GROUP_BY],
        responses=or_csv({200: ReportSerializer, **REFUSED}),
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Add up calls, in the order of their keys: first by time, then in that of `group_by`."""
        asked = self.asked()
        limit, cursor = asked.pop("limit"), asked.pop("cursor", cursors.FIRST)
        texts = {name: _text(value) for name, value in asked.items()}
        key: list[Any] | None = None
        if cursor != cursors.FIRST:
            texts, key = cursors.read(cursor, _KIND, self.user, texts)
            asked = _values(texts)
        period = _period(asked)
        # Days that pass while a client reads pages must not change the period.
        texts |= {name: _text(value) for name, value in period.items()}
        by = asked.get("group_by", ["day"])
        texts["group_by"] = _text(by)
        user = self.whose(asked.get("user"))
        check_order(period["start"], period["end"])
        selection = Selection(
            **period,
            user=user,
            section=asked.get("section"),
            provider=asked.get("provider"),
            model_name=asked.get("model"),
        )
        after = None if key is None else _key(by, key)
        found = breakdown(selection, by, after=after, limit=limit)
        if not found.lines and after is None:
            self.check_found_names(user, asked.get("section"))
        self.csv_columns = answers.columns(by)
        results = [answers.of_line(line) for line in found.lines]
        link = None
        if found.more:
            last = [_plain(value) for value in found.lines[-1].key]
            link = next_link(request, cursors.write(_KIND, self.user, texts, last))
        return Response(
            {
                **{name: answers.text_of(value) for name, value in period.items()},
                "timezone": str(conf.day_timezone()),
                "group_by": by,
                "results": results,
                "next": link,
            },
            headers={"Link": f'<{link}>; rel="next"'} if link else None,
        )

    def asked(self) -> dict[str, Any]:
        """Return the valid query parameters."""
        query = self.request.query_params.copy()
        if names := query.getlist("group_by"):  # clients write lists in either way
            query["group_by"] = ",".join(names)
        check_names(self.request, ReportParameters().fields, lists=["group_by"])
        return _values(query)

    def check_found_names(self, user: Any, section: str | None) -> None:
        """Check the user and the section of a report without lines: a typing error finds none."""
        if user is not None and user != self.user.pk:
            require_user(user)
        require_section(section, user)


def _values(texts: Mapping[str, Any]) -> dict[str, Any]:
    parameters = ReportParameters(data=texts)
    parameters.is_valid(raise_exception=True)
    return dict(parameters.validated_data)


def _period(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the start and the end of the report, by default of the last 30 days."""
    end = asked.get("end") or today()
    last = day_of(end) if isinstance(end, dt.datetime) else end
    return {"start": asked.get("start") or last - dt.timedelta(days=_DAYS - 1), "end": end}


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(answers.text_of(value))


def _plain(value: Any) -> Any:
    """Return a value of a key as JSON: None, or text that `_key` reads."""
    return None if value is None else str(answers.text_of(value))


def _key(by: Sequence[str], key: Sequence[Any]) -> tuple[Any, ...]:
    read: dict[str, Any] = {
        "user": get_user_model()._meta.pk.to_python,
        "day": dt.date.fromisoformat,
        "hour": dt.datetime.fromisoformat,
    }
    return tuple(
        None if value is None else read.get(name, str)(value)
        for name, value in zip(by, key, strict=True)
    )
