"""The reconciliation: the stored bills of providers, compared with the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from ..days import utc_today
from ..reports import BY, reconciliation
from ..reports.reconciled import KINDS
from .base import REFUSED, TAGS, UsageView
from .fields import DayField, cost_field
from .parameters import MAX_DAYS, check_order
from .permissions import MayViewAllUsage
from .schema import extend_schema

_DAYS = 7


class ReconciliationParameters(serializers.Serializer[None]):
    """The query parameters of the reconciliation."""

    start = DayField(required=False, help_text="First day, in UTC.")
    end = DayField(required=False, help_text="Last day, inclusive, by default today in UTC.")
    by = serializers.ChoiceField(
        choices=BY,
        default="model",
        help_text="What each line is.",
        # Does not repeat the value, which may be any text of any length.
        error_messages={"invalid_choice": f"Give one of {', '.join(BY)}."},
    )
    provider = serializers.CharField(
        required=False, max_length=50, help_text="Exact name of the only provider to compare."
    )


class _Measure(serializers.Serializer[dict[str, Any]]):
    percent = serializers.FloatField(
        allow_null=True, help_text="`matched` of `billed`, rounded down."
    )


class _CountMeasure(_Measure):
    billed = serializers.IntegerField(
        allow_null=True, help_text="Null if the provider does not say."
    )
    captured = serializers.IntegerField(allow_null=True)
    matched = serializers.IntegerField(
        allow_null=True, help_text="The part of `billed` that the log has."
    )


class _CostMeasure(_Measure):
    billed = cost_field(allow_null=True, help_text="USD, less credits.")
    captured = cost_field(allow_null=True)
    matched = cost_field(allow_null=True)


class _Measures(serializers.Serializer[dict[str, Any]]):
    requests = _CountMeasure()
    tokens = _CountMeasure(help_text="Those of prompt and completion.")
    cost = _CostMeasure()


class _ReconciledLine(_Measures):
    key = serializers.CharField(help_text="Day, model, or id of the key or project; may be empty.")
    label = serializers.CharField(  # type: ignore[assignment]  # a field replaces the attribute
        help_text="The same for people."
    )
    provisional = serializers.BooleanField(help_text="Whether the day may still change.")
    price_ratio = serializers.FloatField(
        allow_null=True, help_text="Captured cost / billed cost of the same tokens."
    )


class _Explanation(serializers.Serializer[dict[str, Any]]):
    kind = serializers.ChoiceField(choices=KINDS)
    text = serializers.CharField(help_text="A sentence.")
    requests = serializers.IntegerField(allow_null=True)
    tokens = serializers.IntegerField(allow_null=True)
    cost = cost_field(allow_null=True)
    models = serializers.ListField(child=serializers.CharField())
    keys = serializers.ListField(child=serializers.CharField())


def _days(help_text: str) -> serializers.ListField:
    return serializers.ListField(child=serializers.DateField(), help_text=help_text)


class _ReconciledProvider(serializers.Serializer[dict[str, Any]]):
    provider = serializers.CharField()
    fetched_at = serializers.DateTimeField(
        allow_null=True, help_text="The earliest fetch of the days; null if there is no bill."
    )
    days = _days("The days that are compared.")
    missing_days = _days("Days without a bill, which are not compared.")
    provisional_days = _days("Days that are compared, but whose bill may still change.")
    pruned_days = _days("Days that are not compared, because the log was pruned.")
    totals = _Measures(help_text="All days that are compared.")
    settled = _Measures(help_text="Those that are not provisional.")
    lines = _ReconciledLine(many=True)
    explanations = _Explanation(many=True)


class ReconciliationSerializer(serializers.Serializer[dict[str, Any]]):
    """The stored bills of providers, compared with the log. Days are those of UTC."""

    start = serializers.DateField()
    end = serializers.DateField()
    timezone = serializers.CharField(help_text="UTC, whatever AI_USAGE_DAY_TIMEZONE is.")
    by = serializers.ChoiceField(choices=BY)
    providers = _ReconciledProvider(many=True)


class ReconciliationView(UsageView):
    """Compare the stored bills of providers with the log."""

    permission_classes = (MayViewAllUsage,)

    @extend_schema(
        operation_id="usage_reconciliation",
        summary="Compare the bills of providers with the log",
        tags=TAGS,
        parameters=[ReconciliationParameters],
        responses={200: ReconciliationSerializer, **REFUSED},
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Compare the bills that `reconcile_ai_usage` stored with the log. It fetches nothing."""
        asked = self.parameters(ReconciliationParameters)
        provider = asked.get("provider")
        found = reconciliation(
            *_period(asked), by=asked["by"], providers=None if provider is None else [provider]
        )
        return Response(found.as_dict())


def _period(asked: Mapping[str, Any]) -> tuple[dt.date, dt.date]:
    """Return the first and the last day, by default of the last 7 days.

    Raises:
        ValidationError: They are in the wrong order, or too many.
    """
    end = asked.get("end") or utc_today()
    start = asked.get("start") or end - dt.timedelta(days=_DAYS - 1)
    check_order(start, end)
    if (end - start).days >= MAX_DAYS:
        reason = f"A period can have at most {MAX_DAYS} days."
        raise serializers.ValidationError({"start": [reason]})
    return start, end
