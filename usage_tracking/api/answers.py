"""Convert reports to the JSON objects of the API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from .. import daily
from ..models import AIUsageLog
from ..reports import (
    BreakdownLine,
    DailyRowsReport,
    PeriodReport,
    SectionLine,
    Totals,
    columns_of,
)

#: The figures of each line of the report.
FIGURES = (
    "calls",
    "failures",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "image_tokens",
    "tool_calls",
    "cost",
    "unpriced",
    "unknown_usage",
)


def of_line(line: BreakdownLine) -> dict[str, Any]:
    """Return the data of `ReportLineSerializer`, without a serializer: pages have many lines."""
    row = {name: text_of(value) for name, value in line.named.items()}
    row |= {name: getattr(line.totals, name) for name in FIGURES}
    if row["cost"] is not None:
        row["cost"] = format(row["cost"], "f")
    return row


def columns(by: Sequence[str]) -> list[str]:
    """Return the names in a line of the report, in their order."""
    return [*columns_of(by), *FIGURES]


def text_of(value: Any) -> Any:
    """Return a day or an instant in UTC as text, and any other value as it is."""
    if isinstance(value, dt.date):
        return value.isoformat().replace("+00:00", "Z")
    return value


def of_logs(report: PeriodReport, recent: list[AIUsageLog]) -> dict[str, Any]:
    """Return the data of `StatsSerializer`."""
    totals = report.totals
    return {
        **_of_totals(totals),
        "total_cached_tokens": totals.cached_tokens,
        "total_cache_write_tokens": totals.cache_write_tokens,
        "total_reasoning_tokens": totals.reasoning_tokens,
        "total_audio_tokens": totals.audio_tokens,
        "total_image_tokens": totals.image_tokens,
        "total_tool_calls": totals.tool_calls,
        "unknown_usage_requests": totals.unknown_usage,
        "unpriced_requests": totals.unpriced,
        **_range(report.start, report.end),
        "by_section": {line.section: _section(line, totals.calls) for line in report.by_section},
        "daily_breakdown": [{"date": x.date, **_day(x.figures)} for x in report.by_day],
        "recent_logs": recent,
    }


def of_all_logs(report: PeriodReport, recent: list[AIUsageLog]) -> dict[str, Any]:
    """Return the data of `GlobalStatsSerializer`."""
    return {
        **of_logs(report, recent),
        "unattributed_requests": report.totals.unattributed,
        "total_users": report.users,
        "top_users": [
            _user(line.username, line.email, line.figures)
            for line in report.top_users
            if line.user_id is not None
        ],
    }


def of_days(report: DailyRowsReport) -> dict[str, Any]:
    """Return the data of `DailyStatsSerializer`."""
    return {
        **_of_totals(_as_totals(report.totals)),
        **_range(report.start, report.end),
        "daily_breakdown": [{"date": x.date, **_day(_as_totals(x.sums))} for x in report.by_day],
    }


def of_all_days(report: DailyRowsReport) -> dict[str, Any]:
    """Return the data of `GlobalDailyStatsSerializer`."""
    return {
        **of_days(report),
        "unattributed_requests": report.unattributed.total_requests,
        "active_users": report.users,
        "top_users": [
            _user(line.username, line.email, _as_totals(line.sums)) for line in report.top_users
        ],
    }


def _of_totals(totals: Totals) -> dict[str, Any]:
    successful = totals.calls - totals.failures
    return {
        "total_requests": totals.calls,
        "total_tokens": totals.total_tokens,
        "total_prompt_tokens": totals.prompt_tokens,
        "total_completion_tokens": totals.completion_tokens,
        "cost": totals.cost,
        "successful_requests": successful,
        "failed_requests": totals.failures,
        "success_rate": _ratio(100 * successful, totals.calls),
        "average_response_time_ms": _ratio(totals.response_time_ms, totals.calls),
        "average_tokens_per_request": _ratio(totals.total_tokens or 0, totals.calls_with_tokens),
    }


def _range(start: dt.date, end: dt.date) -> dict[str, Any]:
    return {
        "days_included": (end - start).days + 1,
        "date_range": {"start": start, "end": end},
    }


def _day(totals: Totals) -> dict[str, Any]:
    return {
        "requests": totals.calls,
        "tokens": totals.total_tokens,
        "cost": totals.cost,
        "successful_requests": totals.calls - totals.failures,
        "failed_requests": totals.failures,
    }


def _section(line: SectionLine, calls: int) -> dict[str, Any]:
    totals = line.figures
    return {
        "display_name": line.display_name,
        "count": totals.calls,
        "total_tokens": totals.total_tokens,
        "cost": totals.cost,
        "avg_response_time_ms": _ratio(totals.response_time_ms, totals.calls),
        "percentage": _ratio(100 * totals.calls, calls),
    }


def _user(username: str | None, email: str | None, totals: Totals) -> dict[str, Any]:
    return {
        "user__username": username,
        "user__email": email,
        "user_total_requests": totals.calls,
        "user_total_tokens": totals.total_tokens,
        "user_cost": totals.cost,
    }


def _as_totals(sums: daily.Sums) -> Totals:
    """Return `sums` as totals without unknown values, which daily rows do not count."""
    return Totals(
        calls=sums.total_requests,
        failures=sums.failed_requests,
        prompt_tokens=sums.total_prompt_tokens,
        completion_tokens=sums.total_completion_tokens,
        total_tokens=sums.total_tokens,
        cost=sums.total_cost,
        response_time_ms=sums.total_response_time_ms,
        calls_with_tokens=sums.total_requests,
    )


def _ratio(part: int, whole: int) -> float | None:
    """Return part / whole, or None without a whole: no calls have no average."""
    return round(part / whole, 2) if whole else None
