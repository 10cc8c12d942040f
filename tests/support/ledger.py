"""The invariant of DESIGN 7, worked out a second time: in Python, one row after the other."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking


class Day(NamedTuple):
    """What a user's day adds up to."""

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
    """The daily rows; one that counts nothing says the same as none."""
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


def add_up_logs(zone: str = "UTC") -> Ledger:
    """The sums of the logs that have a user, by the midnights of `zone`."""
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
    """The daily rows are the sums of the logs, and `drift` agrees."""
    assert read_days() == add_up_logs(zone)
    assert daily.drift() == {}


def _round(cost: Decimal) -> Decimal:
    # SQLite keeps decimals as floating point numbers. Tests use costs of at most six places.
    return cost.quantize(Decimal("1e-6"))
