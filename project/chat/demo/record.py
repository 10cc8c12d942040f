"""Read what `usage_tracking` wrote: rows and daily rows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from usage_tracking.models import AIUsageLog, AIUsageTracking

_POLL = 0.05
# After the last expected row, to notice rows that should not exist.
_EXTRA_WAIT = 0.3


@dataclass(frozen=True)
class Sums:
    """Totals of calls."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.requests + other.requests,
            self.failed + other.failed,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: Sums) -> Sums:
        return Sums(
            self.requests - other.requests,
            self.failed - other.failed,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
        )


Days = dict[tuple[Any, date], Sums]


def logs_since(moment: datetime) -> list[AIUsageLog]:
    """Return the rows since `moment`, oldest first."""
    logs = AIUsageLog.objects.filter(created_at__gte=moment).select_related("user")
    return list(logs.order_by("created_at", "pk"))


def wait_for_logs(moment: datetime, number: int, *, timeout: float) -> list[AIUsageLog]:
    """Wait until there are `number` rows since `moment`, for at most `timeout` seconds."""
    wait_until(lambda: len(logs_since(moment)) >= number, timeout=timeout)
    time.sleep(_EXTRA_WAIT)
    return logs_since(moment)


def wait_until(done: Callable[[], bool], *, timeout: float) -> bool:
    """Return whether `done` became true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def sums_of_days() -> Days:
    """Return the current daily rows."""
    return {
        (daily.user_id, daily.date): Sums(
            daily.total_requests,
            daily.failed_requests,
            daily.total_prompt_tokens,
            daily.total_completion_tokens,
        )
        for daily in AIUsageTracking.objects.all()
    }


def sums_of_logs(logs: Iterable[AIUsageLog]) -> Days:
    """Sum the rows that have a user, by user and day."""
    sums: Days = defaultdict(Sums)
    for log in logs:
        if log.user_id is not None:
            sums[log.user_id, log.day] += Sums(
                1, int(not log.success), log.prompt_tokens or 0, log.completion_tokens or 0
            )
    return dict(sums)


def grown(before: Days, after: Days) -> Days:
    """Return the increase from `before` to `after`, without unchanged daily rows."""
    differences = {key: sums - before.get(key, Sums()) for key, sums in after.items()}
    return {key: sums for key, sums in differences.items() if sums != Sums()}
