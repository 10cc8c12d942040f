"""The calls of each day or hour by section, model or provider, for stacked bars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from ..models import AIUsageLog
from .grouping import Grouping, Groups, Key
from .hours import as_instant, hour_of_call, hours_of_day, shift_at
from .totals import RANKS, Totals

#: The columns that a key holds, by the name of the stack.
STACKS: dict[str, tuple[str, ...]] = {
    "section": ("section",),
    "model": ("provider", "model_name"),
    "provider": ("provider",),
}


@dataclass(frozen=True, slots=True)
class Column:
    """The calls of one day, or of the hour that starts at an aware datetime in UTC, by key."""

    start: dt.date | dt.datetime
    parts: Mapping[Key, Totals]

    @property
    def totals(self) -> Totals:
        """The totals of all parts."""
        return Totals.sum(self.parts.values())


def by_column(stack: str, *, hourly: bool) -> Grouping:
    """Group by day or hour, and by what is stacked.

    Raises:
        ValueError: `stack` is not one of STACKS.
    """
    if stack not in STACKS:
        raise ValueError(f"stack must be one of {', '.join(STACKS)}, not {stack!r}")
    return Grouping(("hour" if hourly else "day", *STACKS[stack]))


def with_hours(logs: QuerySet[AIUsageLog], day: dt.date) -> QuerySet[AIUsageLog]:
    """Return the calls of `day` with the column `hour`, for `by_column`."""
    return logs.annotate(hour=hour_of_call(shift_at(day)))


def columns_of(
    groups: Groups[Totals], days: Sequence[dt.date], *, hourly: bool
) -> tuple[Column, ...]:
    """Return a column for each day, or each hour of the only day, with or without calls.

    Calls that were recorded under another AI_USAGE_DAY_TIMEZONE may add hours of other days.
    """
    parts: dict[dt.date | dt.datetime, dict[Key, Totals]] = {}
    starts: Iterable[dt.date | dt.datetime] = days
    if hourly:
        (day,) = days
        shift = shift_at(day)
        parts = {hour: {} for hour in hours_of_day(day)}
        for (hour, *key), totals in groups.found:
            parts.setdefault(as_instant(hour - shift), {})[tuple(key)] = totals
        starts = sorted(parts)
    else:
        for (date, *key), totals in groups.found:
            parts.setdefault(date, {})[tuple(key)] = totals
    return tuple(Column(start, parts.get(start, {})) for start in starts)


def sums_by_key(columns: Iterable[Column]) -> dict[Key, Totals]:
    """Return the totals of all `columns` by key."""
    parts: dict[Key, list[Totals]] = {}
    for column in columns:
        for key, totals in column.parts.items():
            parts.setdefault(key, []).append(totals)
    return {key: Totals.sum(of_key) for key, of_key in parts.items()}


def ranked(columns: Iterable[Column], rank: str) -> list[Key]:
    """Return the keys of all `columns`, the first by `rank` first."""
    sums = sums_by_key(columns)
    return sorted(sums, key=lambda key: (RANKS[rank][1](sums[key]), key))
