"""Mends daily rows and prunes old logs in small steps, beside a site that goes on writing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import router, transaction
from django.db.models import Count, Max, Min, Sum

from .. import daily
from ..log import logger
from ..models import AIUsageLog, AIUsageTracking, today

#: Logs removed in one transaction: well under a second, and nobody else waits for these rows.
BATCH = 10_000
#: Days mended in one transaction.
STRETCH = dt.timedelta(days=31)
_DAY = dt.timedelta(days=1)


class PastHorizon(ValueError):
    """Days were asked for whose logs were pruned: their daily rows know more than the logs."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days that were looked at, and what their daily rows lacked."""

    start: dt.date
    end: dt.date
    found: dict[daily.Key, daily.Sums]


def span(
    *, using: str, start: dt.date | None = None, end: dt.date | None = None
) -> tuple[dt.date, dt.date] | None:
    """The days that `rebuild` has to look at; None if there are none.

    Raises PastHorizon if `start` or `end` asks for days whose logs were pruned.
    """
    horizon = daily.horizon(using)
    if horizon and any(day is not None and day <= horizon for day in (start, end)):
        raise PastHorizon(
            f"The logs up to {horizon} were pruned; only their daily rows know what they counted. "
            f"Begin with {horizon + _DAY}."
        )
    logs = AIUsageLog.objects.using(using).aggregate(first=Min("day"), last=Max("day"))
    rows = AIUsageTracking.objects.using(using).aggregate(last=Max("date"))
    first, last = logs["first"], max(filter(None, (logs["last"], rows["last"])), default=None)
    if first is None or last is None:
        return None
    first, last = max(first, start or first), min(last, end or last)
    return (first, last) if first <= last else None


def rebuild(
    start: dt.date, end: dt.date, *, using: str, dry_run: bool = False
) -> Iterator[Stretch]:
    """Mends the daily rows of these days, or says what it would mend, stretch after stretch."""
    work = daily.drift if dry_run else daily.rebuild
    while start <= end:
        last = min(start + STRETCH - _DAY, end)
        yield Stretch(start, last, work(using=using, start=start, end=last))
        start = last + _DAY


def mend() -> int:
    """Mends every daily row that is out of step and logs which; says how many. For jobs."""
    using = router.db_for_write(AIUsageLog)
    days = span(using=using)
    mended = 0
    for stretch in rebuild(*days, using=using) if days else ():
        for (user_id, day), sums in stretch.found.items():
            lacked = {name: str(value) for name, value in sums._asdict().items() if value}
            logger.warning(
                "[TRACK_WARNING] A daily row was out of step with its logs and was mended - "
                "User: user:%s, Date: %s, Lacked: %s",
                user_id,
                day,
                lacked,
                extra={"user_id": str(user_id), "day": day.isoformat(), "lacked": lacked},
            )
        mended += len(stretch.found)
    return mended


@dataclass(frozen=True, slots=True)
class Figures:
    calls: int = 0
    tokens: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Prunable:
    """What is older than the days that are kept."""

    before: dt.date
    #: Logs with a user, by day; their sums live on in the daily rows.
    days: dict[dt.date, int] = field(default_factory=dict)
    #: What only the logs without a user know.
    unattributed: Figures = Figures()

    @property
    def logs(self) -> int:
        return sum(self.days.values())


def prunable(keep_days: int, *, using: str) -> Prunable:
    """What pruning would remove: the days before the last `keep_days` that are over."""
    before = today() - keep_days * _DAY
    old = AIUsageLog.objects.using(using).filter(day__lt=before).order_by()
    days = old.exclude(user=None).values_list("day").annotate(Count("pk")).order_by("day")
    lost = old.filter(user=None).aggregate(
        calls=Count("pk"),
        # The column has the name of the sum: an alias of its own keeps the two apart.
        sum_of_tokens=Sum("total_tokens", default=0),
        sum_of_cost=Sum("cost", default=Decimal(0)),
    )
    return Prunable(
        before, dict(days), Figures(lost["calls"], lost["sum_of_tokens"], lost["sum_of_cost"])
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of pruning."""

    removed: int
    #: What the daily rows lacked and were given before the logs went.
    mended: dict[daily.Key, daily.Sums]


def prune(
    before: dt.date, *, using: str, unattributed: bool = False, batch: int = BATCH
) -> Iterator[Step]:
    """Removes the logs of the days before `before`; their daily rows stay.

    Logs without a user have no daily row: they stay too, unless `unattributed` asks for them.
    Each step is a transaction; whoever stops in between goes on by calling again.
    """
    old = AIUsageLog.objects.using(using).filter(day__lt=before)
    if not unattributed:
        old = old.exclude(user=None)
    for day in list(old.order_by("day").values_list("day", flat=True).distinct()):
        logs = old.filter(day=day)
        while (step := _prune_some(logs, day, using, batch)).removed:
            yield step


def _prune_some(logs: Any, day: dt.date, using: str, batch: int) -> Step:
    mended: dict[daily.Key, daily.Sums] = {}
    with transaction.atomic(using=using):
        daily.begin_upkeep(using)
        # By keys, not by a subquery, which PostgreSQL may answer with a scan of the table.
        chosen = list(logs.order_by().values_list("pk", flat=True)[:batch])
        # Locked, in the order of all writers, and read again: meanwhile one may have got another
        # user or another day.
        locked = logs.filter(pk__in=chosen).order_by("pk").select_for_update()
        users = dict(locked.values_list("pk", "user_id"))
        rows = AIUsageTracking.objects.using(using).filter(date=day)
        marked = rows.filter(logs_pruned=True).values_list("user_id", flat=True)
        # The mark and the first logs go together, so that a day half removed is no drift; what
        # the row lacks it must get before, for afterwards nobody knows.
        if not {user for user in users.values() if user is not None} <= set(marked):
            mended = daily.rebuild(using=using, start=day, end=day)
            rows.update(logs_pruned=True)
        # Not by the collector: receivers would take the logs off the daily rows.
        removed = AIUsageLog.objects.using(using).filter(pk__in=list(users))._raw_delete(using)
    return Step(removed, mended)
