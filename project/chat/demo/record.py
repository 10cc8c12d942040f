"""What `usage_tracking` wrote: one row per call, and one per user and day."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from usage_tracking.models import AIUsageLog, AIUsageTracking

_POLL = 0.05
# A row too many would come after the last one that is expected.
_SETTLE = 0.3


@dataclass(frozen=True)
class Sums:
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
    logs = AIUsageLog.objects.filter(created_at__gte=moment).select_related("user")
    return list(logs.order_by("created_at", "pk"))


def wait_for_logs(moment: datetime, number: int, *, patience: float) -> list[AIUsageLog]:
    """The logs since `moment`, as soon as there are `number` of them, or when patience ends."""
    wait_until(lambda: len(logs_since(moment)) >= number, patience=patience)
    time.sleep(_SETTLE)
    return logs_since(moment)


def wait_until(done: Callable[[], bool], *, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def sums_of_days() -> Days:
    """The daily rows as they stand."""
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
    """What the logs of known users add up to, by user and day."""
    sums: Days = defaultdict(Sums)
    for log in logs:
        if log.user_id is not None:
            sums[log.user_id, log.day] += Sums(
                1, int(not log.success), log.prompt_tokens or 0, log.completion_tokens or 0
            )
    return dict(sums)


def grown(before: Days, after: Days) -> Days:
    differences = {key: sums - before.get(key, Sums()) for key, sums in after.items()}
    return {key: sums for key, sums in differences.items() if sums != Sums()}
