"""Reports as the API words them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from usage_tracking import daily
from usage_tracking.models import AIUsageLog
from usage_tracking.reports import DailyRowsReport, Figures, PeriodReport, SectionLine


def of_logs(report: PeriodReport, recent: list[AIUsageLog]) -> dict[str, Any]:
    totals = report.totals
    return {
        **_totals(totals),
        "unknown_usage_requests": totals.unknown_usage,
        "unpriced_requests": totals.unpriced,
        **_range(report.start, report.end),
        "by_section": {line.section: _section(line, totals.calls) for line in report.by_section},
        "daily_breakdown": [{"date": x.date, **_day(x.figures)} for x in report.by_day],
        "recent_logs": recent,
    }


def of_all_logs(report: PeriodReport, recent: list[AIUsageLog]) -> dict[str, Any]:
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
    return {
        **_totals(_figures(report.totals)),
        **_range(report.start, report.end),
        "daily_breakdown": [{"date": x.date, **_day(_figures(x.sums))} for x in report.by_day],
    }


def of_all_days(report: DailyRowsReport) -> dict[str, Any]:
    return {
        **of_days(report),
        "unattributed_requests": report.unattributed.total_requests,
        "active_users": report.users,
        "top_users": [
            _user(line.username, line.email, _figures(line.sums)) for line in report.top_users
        ],
    }


def _totals(figures: Figures) -> dict[str, Any]:
    successful = figures.calls - figures.failures
    known = figures.calls - figures.unknown_usage
    return {
        "total_requests": figures.calls,
        "total_tokens": figures.total_tokens,
        "total_prompt_tokens": figures.prompt_tokens,
        "total_completion_tokens": figures.completion_tokens,
        "cost": figures.cost,
        "successful_requests": successful,
        "failed_requests": figures.failures,
        "success_rate": _ratio(100 * successful, figures.calls),
        "average_response_time_ms": _ratio(figures.response_time_ms, figures.calls),
        "average_tokens_per_request": _ratio(figures.total_tokens or 0, known),
    }


def _range(start: dt.date, end: dt.date) -> dict[str, Any]:
    return {
        "days_included": (end - start).days + 1,
        "date_range": {"start": start, "end": end},
    }


def _day(figures: Figures) -> dict[str, Any]:
    return {
        "requests": figures.calls,
        "tokens": figures.total_tokens,
        "cost": figures.cost,
        "successful_requests": figures.calls - figures.failures,
        "failed_requests": figures.failures,
    }


def _section(line: SectionLine, calls: int) -> dict[str, Any]:
    figures = line.figures
    return {
        "display_name": line.display_name,
        "count": figures.calls,
        "total_tokens": figures.total_tokens,
        "cost": figures.cost,
        "avg_response_time_ms": _ratio(figures.response_time_ms, figures.calls),
        "percentage": _ratio(100 * figures.calls, calls),
    }


def _user(username: str | None, email: str | None, figures: Figures) -> dict[str, Any]:
    return {
        "user__username": username,
        "user__email": email,
        "user_total_requests": figures.calls,
        "user_total_tokens": figures.total_tokens,
        "user_cost": figures.cost,
    }


def _figures(sums: daily.Sums) -> Figures:
    """As of calls of which all is known: daily rows do not say of how many it is not."""
    return Figures(
        calls=sums.total_requests,
        failures=sums.failed_requests,
        prompt_tokens=sums.total_prompt_tokens,
        completion_tokens=sums.total_completion_tokens,
        total_tokens=sums.total_tokens,
        cost=sums.total_cost,
        response_time_ms=sums.total_response_time_ms,
    )


def _ratio(part: int, whole: int) -> float | None:
    """None of nothing: there is no average of no calls."""
    return round(part / whole, 2) if whole else None
