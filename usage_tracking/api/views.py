"""The endpoints. Users see their own calls; the global endpoints need a permission."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from ..models import AIUsageLog, today
from ..reports import daily_rows_report, latest_logs, period_report
from . import answers
from .base import REFUSED, TAGS, UsageView, require_section
from .logs import LogListView, LogView, OwnLogs, SwitchedOff
from .parameters import DaysParameters, StatsParameters, check_names
from .permissions import MayViewAllUsage
from .reconciliation import ReconciliationView
from .report import ReportView
from .schema import extend_schema
from .serializers import (
    DailyStatsSerializer,
    GlobalDailyStatsSerializer,
    GlobalStatsSerializer,
    RootSerializer,
    StatsSerializer,
)

__all__ = [
    "DailyStatsView",
    "GlobalDailyStatsView",
    "GlobalLogStatsView",
    "LogListView",
    "LogStatsView",
    "LogView",
    "OwnLogs",
    "ReconciliationView",
    "ReportView",
    "RootView",
    "SwitchedOff",
    "UsageView",
]

RECENT_LOGS = 10


class RootView(UsageView):
    """The endpoints and their URLs."""

    @extend_schema(
        operation_id="usage_root",
        summary="List the endpoints",
        tags=TAGS,
        responses={200: RootSerializer, **REFUSED},
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """List the endpoints."""
        check_names(request, ())
        from .urls import urlpatterns  # which imports this module

        # Relative to this URL: sites include the URLs in namespaces and versions of their own.
        return Response(
            {
                route.name.replace("-", "_"): request.build_absolute_uri(str(route.pattern))
                for route in urlpatterns
                if route.name and str(route.pattern) and not route.pattern.converters
            }
        )


class LogStatsView(UsageView):
    """Add up your calls."""

    @extend_schema(
        operation_id="usage_logs_stats",
        summary="Add up your calls",
        tags=TAGS,
        parameters=[StatsParameters],
        responses={200: StatsSerializer, **REFUSED},
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Add up your calls, from the log."""
        return self.answer(StatsSerializer, answers.of_logs, self.user)

    def answer(self, kind: Any, convert: Any, user: Any) -> Response:
        """Add up the calls of `user`, None for all users, as the serializer `kind`."""
        parameters = self.parameters(StatsParameters)
        section = parameters.get("section")
        report = period_report(*_days(parameters), user=user, section=section)
        recent: list[AIUsageLog] = []
        if report.totals.calls:
            recent = latest_logs(report, RECENT_LOGS, user=user)
        else:
            require_section(section, user)
        return Response(kind(convert(report, recent)).data)


class GlobalLogStatsView(LogStatsView):
    """Add up all calls."""

    permission_classes = (MayViewAllUsage,)

    @extend_schema(
        operation_id="usage_logs_global",
        summary="Add up all calls",
        tags=TAGS,
        parameters=[StatsParameters],
        responses={200: GlobalStatsSerializer, **REFUSED},
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Add up the calls of all users and those without a user, from the log."""
        return self.answer(GlobalStatsSerializer, answers.of_all_logs, None)


class DailyStatsView(UsageView):
    """Add up your daily rows."""

    @extend_schema(
        operation_id="usage_stats",
        summary="Add up your daily rows",
        tags=TAGS,
        parameters=[DaysParameters],
        responses={200: DailyStatsSerializer, **REFUSED},
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Add up your daily rows, which also count calls whose logs were pruned."""
        days = _days(self.parameters(DaysParameters))
        report = daily_rows_report(*days, user=self.user)
        return Response(DailyStatsSerializer(answers.of_days(report)).data)


class GlobalDailyStatsView(UsageView):
    """Add up all daily rows."""

    permission_classes = (MayViewAllUsage,)

    @extend_schema(
        operation_id="usage_global",
        summary="Add up all daily rows",
        tags=TAGS,
        parameters=[DaysParameters],
        responses={200: GlobalDailyStatsSerializer, **REFUSED},
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Add up all daily rows and the calls without a user."""
        report = daily_rows_report(*_days(self.parameters(DaysParameters)))
        return Response(GlobalDailyStatsSerializer(answers.of_all_days(report)).data)


def _days(parameters: dict[str, Any]) -> tuple[dt.date, dt.date]:
    """Return the first and last of the last `days` days, today included."""
    end = today()
    return end - dt.timedelta(days=parameters["days"] - 1), end
