"""Check that daily rows are the sums of rows, with sums computed independently in Python."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking


class Day(NamedTuple):
    """The totals of a user's day."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens: int = 0
    response_time_ms: int = 0
    successful: int = 0
    failed: int = 0
    cost: Decimal = Decimal(0)


Ledger = dict[tuple[Any, dt.date], Day]


def read_days() -> Ledger:
    """Read the daily rows. A daily row of zeros is equivalent to no daily row."""
    days = {
        (row.user_id, row.date): Day(
            row.total_requests,
            row.total_prompt_tokens,
            row.total_completion_tokens,
            row.total_tokens,
            row.total_response_time_ms,
            row.successful_requests,
            row.failed_requests,
            _round(row.total_cost),
        )
        for row in AIUsageTracking.objects.all()
    }
    return {key: day for key, day in days.items() if any(day)}


def sum_rows(zone: str = "UTC") -> Ledger:
    """Sum the rows that have a user, by day in the time zone `zone`."""
    days: Ledger = defaultdict(Day)
    for log in AIUsageLog.objects.all():
        if log.user_id is None:
            continue
        key = log.user_id, log.created_at.astimezone(ZoneInfo(zone)).date()
        prompt, completion = log.prompt_tokens or 0, log.completion_tokens or 0
        day = days[key]
        days[key] = Day(
            day.requests + 1,
            day.prompt_tokens + prompt,
            day.completion_tokens + completion,
            day.tokens + prompt + completion,
            day.response_time_ms + log.response_time_ms,
            day.successful + (1 if log.success else 0),
            day.failed + (0 if log.success else 1),
            _round(day.cost + (log.cost or 0)),
        )
    return dict(days)


def assert_in_step(zone: str = "UTC") -> None:
    """Assert that the daily rows are the sums of the rows and that `drift` finds no difference."""
    assert read_days() == sum_rows(zone)
    assert daily.drift() == {}


def _round(cost: Decimal) -> Decimal:
    # SQLite stores decimals as floating-point numbers. Tests use costs with at most six places.
    return cost.quantize(Decimal("1e-6"))
