"""Rebuild daily rows from the rows, in small steps, beside live traffic."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import router
from django.db.models import Max, Min

from .. import daily
from ..log import logger
from ..models import AIUsageLog, AIUsageTracking

#: The days that one transaction rebuilds.
DAYS_PER_TRANSACTION = 31
_DAY = dt.timedelta(days=1)


class PrunedDaysError(ValueError):
    """The rows of the requested days were pruned, so their daily rows cannot be rebuilt."""


@dataclass(frozen=True, slots=True)
class CheckedPeriod:
    """Consecutive days whose daily rows were compared with the rows."""

    start: dt.date
    end: dt.date
    #: By user and day, what the daily row lacks; negative where it has too much.
    differences: dict[daily.Key, daily.Sums]


def span(
    *, using: str, start: dt.date | None = None, end: dt.date | None = None
) -> tuple[dt.date, dt.date] | None:
    """Return the first and the last day for `rebuild`, or None if there are no rows.

    Raises:
        PrunedDaysError: The rows of `start` or `end` were pruned.
    """
    horizon = daily.horizon(using)
    if horizon and any(day is not None and day <= horizon for day in (start, end)):
        raise PrunedDaysError(
            f"The rows up to {horizon} were pruned, so only their daily rows hold the totals. "
            f"Start with {horizon + _DAY}."
        )
    rows = AIUsageLog.objects.using(using).aggregate(first=Min("day"), last=Max("day"))
    daily_rows = AIUsageTracking.objects.using(using).aggregate(last=Max("date"))
    first, last = rows["first"], max(filter(None, (rows["last"], daily_rows["last"])), default=None)
    if first is None or last is None:
        return None
    first, last = max(first, start or first), min(last, end or last)
    return (first, last) if first <= last else None


def rebuild(
    start: dt.date, end: dt.date, *, using: str, dry_run: bool = False
) -> Iterator[CheckedPeriod]:
    """Rebuild the daily rows of these days, one period per step.

    Each step is a transaction. With `dry_run`, only find the differences.
    """
    work = daily.drift if dry_run else daily.rebuild
    while start <= end:
        last = min(start + (DAYS_PER_TRANSACTION - 1) * _DAY, end)
        yield CheckedPeriod(start, last, work(using=using, start=start, end=last))
        start = last + _DAY


def rebuild_all() -> int:
    """Rebuild every daily row that differs, log each one, and return their number."""
    using = router.db_for_write(AIUsageLog)
    days = span(using=using)
    rebuilt = 0
    for period in rebuild(*days, using=using) if days else ():
        for (user_id, day), sums in period.differences.items():
            lacked = {name: str(value) for name, value in sums._asdict().items() if value}
            logger.warning(
                "[TRACK_WARNING] A daily row was out of step with its logs and was mended - "
                "User: user:%s, Date: %s, Lacked: %s",
                user_id,
                day,
                lacked,
                extra={"user_id": str(user_id), "day": day.isoformat(), "lacked": lacked},
            )
        rebuilt += len(period.differences)
    return rebuilt
