"""The period before a report's, and what the current month will cost at the present pace."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db import router
from django.db.models import Count, Min, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from .. import conf
from ..days import DayRange, day_of, stored
from ..models import AIUsageLog
from .hours import ends_of_day
from .period import DayLine, PeriodReport
from .selection import Selection
from .totals import COST_STEP, Totals

#: How many days that are over the pace of a forecast is taken from.
PACE_DAYS = 7
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PeriodBefore:
    """The period that a report is compared with.

    Its last day counts until the instant `until`, None for the whole day: where the period of the
    report is not over, both have lasted equally long.
    """

    days: DayRange
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of a month in USD: so far, and for the rest of it as on the past days."""

    month: dt.date
    cost: Decimal
    so_far: Decimal
    per_day: Decimal
    #: How many days that are over `per_day` is the average of.
    days: int
    #: The successful calls of these days and of the month whose cost is unknown.
    unknown: int


@dataclass(frozen=True, slots=True)
class SumsBefore:
    """The sums of the period before: calls, tokens, USD, and users who made calls."""

    calls: int
    failures: int
    #: None if there are calls, and no value is known; the same goes for the cost.
    tokens: int | None
    cost: Decimal | None
    users: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a report is compared with; None for what there is not."""

    before: PeriodBefore | None = None
    sums: SumsBefore | None = None
    forecast: Forecast | None = None


def compare(report: PeriodReport, now: dt.datetime, *, using: str | None = None) -> Comparison:
    """Return what the calls, tokens, cost, failures and users of `report` are compared with.

    It takes one statement. There is a forecast if the report has days of the current month, and a
    day of recording is over. A month is compared with the month before it, and any other period
    with as many days before it.

    Args:
        report: The report of the period.
        now: The current time, aware.
        using: The database alias; by default the one that the routers name for reading.
    """
    today, days = day_of(now), DayRange(report.start, report.end)
    before = period_before(days, now)
    has_forecast = _overlap(days, DayRange.of_month(today))
    if before is None and not has_forecast:
        return Comparison()
    costs: _Costs | None = None
    if before and has_forecast and report.start <= _first_needed(today) and today <= report.end:
        costs = _costs_of(report.by_day, today)
    using = using or router.db_for_read(AIUsageLog)
    sums = {
        **(_sums_before(before) if before else {}),
        **(_costs_of_month(today) if has_forecast and costs is None else {}),
    }
    found = _aggregate(report.selection, before, today, sums, using)
    if has_forecast and costs is None:
        costs = _Costs(found["so_far"], found["pace"], found["unknown"])
    return Comparison(
        before,
        _sums(found) if before else None,
        _forecast(costs, found["first_day"], now) if costs else None,
    )


def period_before(days: DayRange, now: dt.datetime) -> PeriodBefore | None:
    """Return the period to compare `days` with at the time `now`.

    Whole months are compared with as many months before them. Nothing is before days in the future
    or at the beginning of the calendar.
    """
    today = day_of(now)
    if days.first is None or days.last is None or not dt.date.min < days.first <= today:
        return None
    before = days.before()
    if days.last < today:
        return PeriodBefore(before)
    until = days.same_time_before(now.astimezone(conf.day_timezone()))
    whole = until.time() == dt.time.max  # the end of a shorter month
    return PeriodBefore(DayRange(before.first, until.date()), None if whole else until)


def _overlap(one: DayRange, other: DayRange) -> bool:
    return bool(
        one.first
        and one.last
        and other.first
        and other.last
        and one.first <= other.last
        and other.first <= one.last
    )


@dataclass(frozen=True, slots=True)
class _Costs:
    """The costs of the current month, and of the past days that are over, in USD."""

    so_far: Decimal | None
    pace: Decimal | None
    unknown: int


def _first_needed(today: dt.date) -> dt.date:
    """Return the first day of which a forecast needs the costs."""
    return min(today.replace(day=1), today - PACE_DAYS * _DAY)


def _costs_of(lines: Sequence[DayLine], today: dt.date) -> _Costs:
    """Return the costs of the days of a report, which spares reading them once more."""
    start, over = today - PACE_DAYS * _DAY, today - _DAY
    month = Totals.sum(x.figures for x in lines if today.replace(day=1) <= x.date <= today)
    pace = Totals.sum(x.figures for x in lines if start <= x.date <= over)
    both = Totals.sum(x.figures for x in lines if _first_needed(today) <= x.date <= today)
    return _Costs(
        month.cost if month.calls else None,
        pace.cost if pace.calls else None,
        both.unpriced + both.unknown_usage,
    )


def _aggregate(
    selection: Selection,
    before: PeriodBefore | None,
    today: dt.date,
    sums: dict[str, Any],
    using: str,
) -> dict[str, Any]:
    ranges = [before.days] if before else []
    if "so_far" in sums:
        ranges.append(DayRange(_first_needed(today), today))
    logs = replace(
        selection,
        start=min(days.first for days in ranges if days.first),
        end=max(days.last for days in ranges if days.last),
    ).logs(using)
    within = Q()
    for days in ranges:
        within |= Q(day__range=(days.first, days.last))
    # By user first, because PostgreSQL sorts all rows to count users with DISTINCT.
    by_user = logs.filter(within).values("user_id").annotate(**sums)
    # The first day of the whole log is at the beginning of the index on days.
    first_day = Subquery(AIUsageLog.objects.using(using).order_by("day").values("day")[:1])
    found = by_user.aggregate(
        **{f"sum_{name}": Sum(name) for name in sums},
        users=Count("user_id", filter=Q(calls__gt=0) if before else None),
        first_day=Coalesce(Min(first_day), first_day),
    )
    return {name.removeprefix("sum_"): value for name, value in found.items()}


def _sums_before(before: PeriodBefore) -> dict[str, Any]:
    within = _within(before)
    return {
        "calls": Count("pk", filter=within),
        "failures": Count("pk", filter=within & Q(success=False)),
        "tokens": Sum("total_tokens", filter=within),
        "usd": Sum("cost", filter=within),
    }


def _costs_of_month(today: dt.date) -> dict[str, Any]:
    month = Q(day__range=(today.replace(day=1), today))
    pace = Q(day__range=(today - PACE_DAYS * _DAY, today - _DAY))
    return {
        "so_far": Sum("cost", filter=month),
        "pace": Sum("cost", filter=pace),
        "unknown": Count("pk", filter=(month | pace) & Q(cost=None, success=True)),
    }


def _within(before: PeriodBefore) -> Q:
    first, last = before.days.first, before.days.last
    if before.until is None:
        return Q(day__range=(first, last))
    return Q(day__gte=first) & (Q(day__lt=last) | Q(day=last, created_at__lte=stored(before.until)))


def _sums(found: dict[str, Any]) -> SumsBefore:
    if not found["calls"]:
        return SumsBefore(0, 0, 0, Decimal(0), 0)
    tokens, usd = found["tokens"], found["usd"]
    return SumsBefore(
        calls=found["calls"],
        failures=found["failures"],
        tokens=None if tokens is None else int(tokens),
        cost=None if usd is None else usd.quantize(COST_STEP),
        users=found["users"],
    )


def _forecast(costs: _Costs, first_day: dt.date | None, now: dt.datetime) -> Forecast | None:
    today = day_of(now)
    days = min(PACE_DAYS, (today - first_day).days) if first_day else 0
    if days < 1 or (costs.so_far is None and costs.pace is None):
        return None
    so_far = costs.so_far or Decimal(0)
    per_day = (costs.pace or Decimal(0)) / days
    last = DayRange.of_month(today).last or today
    left = Decimal((last - today).days) + _left_of_day(now)
    return Forecast(
        month=today.replace(day=1),
        cost=(so_far + per_day * left).quantize(COST_STEP),
        so_far=so_far.quantize(COST_STEP),
        per_day=per_day.quantize(COST_STEP),
        days=days,
        unknown=costs.unknown or 0,
    )


def _left_of_day(now: dt.datetime) -> Decimal:
    """Return the part of the day after `now`; a day may have 23 or 25 hours."""
    start, end = ends_of_day(day_of(now))
    return Decimal((end - now) / (end - start))
