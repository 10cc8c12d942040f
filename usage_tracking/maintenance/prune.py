"""Prune old rows in small steps, beside live traffic. Their daily rows stay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, Sum

from .. import daily
from ..models import AIUsageLog, AIUsageTracking, today

#: Rows removed in one transaction. This takes well under a second, and no other writer needs
#: these rows.
BATCH = 10_000


@dataclass(frozen=True, slots=True)
class UnattributedTotals:
    """Totals over the old rows without a user."""

    calls: int = 0
    tokens: int = 0
    #: USD.
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Prunable:
    """What is older than the days to keep."""

    #: The first day that is kept.
    before: dt.date
    #: Number of rows with a user, by day. The daily rows keep their sums.
    days: dict[dt.date, int] = field(default_factory=dict)
    #: No daily row has these, so they are lost if the rows are removed.
    unattributed: UnattributedTotals = UnattributedTotals()

    @property
    def rows(self) -> int:
        """Number of rows with a user."""
        return sum(self.days.values())


@dataclass(frozen=True, slots=True)
class PrunedBatch:
    """The result of one transaction."""

    removed: int
    #: What the daily rows lacked. They were rebuilt before the rows were removed.
    rebuilt: dict[daily.Key, daily.Sums]


def prunable(keep_days: int, *, using: str) -> Prunable:
    """Count what is older than today and the `keep_days` days before it."""
    before = today() - dt.timedelta(days=keep_days)
    old = AIUsageLog.objects.using(using).filter(day__lt=before).order_by()
    days = old.exclude(user=None).values_list("day").annotate(Count("pk")).order_by("day")
    lost = old.filter(user=None).aggregate(
        calls=Count("pk"),
        # Not named after their columns, which Django would resolve to the aggregates.
        sum_of_tokens=Sum("total_tokens", default=0),
        sum_of_cost=Sum("cost", default=Decimal(0)),
    )
    totals = UnattributedTotals(lost["calls"], lost["sum_of_tokens"], lost["sum_of_cost"])
    return Prunable(before, dict(days), totals)


def prune(
    before: dt.date, *, using: str, unattributed: bool = False, batch: int = BATCH
) -> Iterator[PrunedBatch]:
    """Remove the rows of the days before `before`; their daily rows stay.

    Rows without a user have no daily row, so they are removed only with `unattributed`. Each step
    is a transaction of at most `batch` rows. If the caller stops early, the next call continues.
    """
    old = AIUsageLog.objects.using(using).filter(day__lt=before)
    if not unattributed:
        old = old.exclude(user=None)
    for day in list(old.order_by("day").values_list("day", flat=True).distinct()):
        rows = old.filter(day=day)
        while (pruned := _prune_batch(rows, day, using, batch)).removed:
            yield pruned


def _prune_batch(rows: Any, day: dt.date, using: str, batch: int) -> PrunedBatch:
    rebuilt: dict[daily.Key, daily.Sums] = {}
    with transaction.atomic(using=using):
        daily.begin_upkeep(using)
        # By keys, not by a subquery, which PostgreSQL may answer with a scan of the table.
        chosen = list(rows.order_by().values_list("pk", flat=True)[:batch])
        # Lock in the order that all writers use, and read again: another writer may have changed
        # the user or the day of a row in the meantime.
        locked = rows.filter(pk__in=chosen).order_by("pk").select_for_update()
        users = dict(locked.values_list("pk", "user_id"))
        daily_rows = AIUsageTracking.objects.using(using).filter(date=day)
        marked = daily_rows.filter(logs_pruned=True).values_list("user_id", flat=True)
        # Set the mark in the transaction that removes the first rows, so that a half-pruned day is
        # not reported as drift. Rebuild before that: afterwards the rows are gone.
        if not {user for user in users.values() if user is not None} <= set(marked):
            rebuilt = daily.rebuild(using=using, start=day, end=day)
            daily_rows.update(logs_pruned=True)
        # Not through Django's collector: receivers would subtract the rows from the daily rows.
        removed = AIUsageLog.objects.using(using).filter(pk__in=list(users))._raw_delete(using)
    return PrunedBatch(removed, rebuilt)
