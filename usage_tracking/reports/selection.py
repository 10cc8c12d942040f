"""Which calls a report reads."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db.models import QuerySet

from ..days import day_of, midnight, stored
from ..models import AIUsageLog
from .names import without_nul

#: A day of AI_USAGE_DAY_TIMEZONE, or an instant. A naive one is local time of `TIME_ZONE`.
Bound: TypeAlias = dt.date | dt.datetime


@dataclass(frozen=True, slots=True)
class Selection:
    """The calls from `start` to `end`, or only some of them. None leaves that choice open.

    A day as `end` is included; an instant is not.

    Raises:
        ValueError: The period ends before it starts.
    """

    start: Bound | None = None
    end: Bound | None = None
    #: The user's row or primary key.
    user: Any = None
    section: str | None = None
    provider: str | None = None
    model_name: str | None = None

    def __post_init__(self) -> None:
        start, end = self.start, self.end
        if start is not None and end is not None and _is_before(end, start):
            raise ValueError(f"the period ends on {end}, before it starts on {start}")

    def logs(self, using: str) -> QuerySet[AIUsageLog]:
        """Return the calls in the database `using`, without an order."""
        logs = AIUsageLog.objects.using(using).order_by()
        for name in ("section", "provider", "model_name"):
            if (value := getattr(self, name)) is not None:
                logs = logs.filter(**{name: without_nul(value)})
        if self.user is not None:
            # The index of a user's calls is by `created_at`.
            logs = logs.filter(user=self.user)
            return until(since(logs, self.start), self.end)
        if isinstance(self.start, dt.datetime) or isinstance(self.end, dt.datetime):
            return until(since(logs, self.start), self.end)
        if self.start is not None:
            logs = logs.filter(day__gte=self.start)
        return logs if self.end is None else logs.filter(day__lte=self.end)


def from_day(logs: QuerySet[AIUsageLog], day: dt.date) -> QuerySet[AIUsageLog]:
    """Narrow `logs` to those of `day` and later.

    The indexes for "newest first" are by `created_at`, so this bounds it too, with a margin wider
    than any two time zones are apart.
    """
    earlier = dt.date.fromordinal(max(day.toordinal() - 2, dt.date.min.toordinal()))
    return logs.filter(day__gte=day, created_at__gte=midnight(earlier))


def to_day(logs: QuerySet[AIUsageLog], day: dt.date) -> QuerySet[AIUsageLog]:
    """Narrow `logs` to those of `day` and earlier, as `from_day` does."""
    later = dt.date.fromordinal(min(day.toordinal() + 3, dt.date.max.toordinal()))
    return logs.filter(day__lte=day, created_at__lte=midnight(later))


def since(logs: QuerySet[AIUsageLog], start: Bound | None) -> QuerySet[AIUsageLog]:
    """Narrow `logs` to those since a day or an instant; None leaves all."""
    if isinstance(start, dt.datetime):
        return logs.filter(created_at__gte=stored(start))
    return logs if start is None else from_day(logs, start)


def until(logs: QuerySet[AIUsageLog], end: Bound | None) -> QuerySet[AIUsageLog]:
    """Narrow `logs` to those until the end of a day, or before an instant; None leaves all."""
    if isinstance(end, dt.datetime):
        return logs.filter(created_at__lt=stored(end))
    return logs if end is None else to_day(logs, end)


def _is_before(one: Bound, other: Bound) -> bool:
    instants = [bound for bound in (one, other) if isinstance(bound, dt.datetime)]
    if len(instants) == 2:
        return stored(instants[0]) < stored(instants[1])
    # A day and an instant compare by their days.
    return _day(one) < _day(other)


def _day(bound: Bound) -> dt.date:
    return day_of(bound) if isinstance(bound, dt.datetime) else bound
