"""The report of a period, from the daily rows.

Daily rows are few beside the logs and stay when logs are pruned. They do not record sections,
models, or which sums are incomplete. Calls without a user have no daily row and are read from the
logs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import router
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce

from .. import conf, daily
from ..models import AIUsageLog, AIUsageTracking
from .grouping import Grouping, Measure, as_cost, group
from .lines import TOP
from .names import names_of
from .period import check_order, days_between


@dataclass(frozen=True, slots=True)
class DailyDayLine:
    """The calls of one day."""

    date: dt.date
    sums: daily.Sums


@dataclass(frozen=True, slots=True)
class DailyUserLine:
    """The calls of one user in the period. `email` is None if the user has no address."""

    user_id: Any
    username: str
    email: str | None
    sums: daily.Sums


@dataclass(frozen=True, slots=True)
class DailyRowsReport:
    """The calls of the days from `start` to `end`, both included. Tokens, USD and ms."""

    #: The name of AI_USAGE_DAY_TIMEZONE.
    timezone: str
    start: dt.date
    end: dt.date
    #: The only user in the report; None for all users.
    username: str | None
    totals: daily.Sums
    #: One line for every day, with or without calls.
    by_day: tuple[DailyDayLine, ...]
    #: The users with the most tokens.
    top_users: tuple[DailyUserLine, ...]
    #: How many users made calls; `top_users` may show fewer.
    users: int
    #: The part of the totals that has no user.
    unattributed: daily.Sums


def daily_rows_report(
    start: dt.date,
    end: dt.date,
    *,
    user: Any = None,
    top: int = TOP,
    using: str | None = None,
) -> DailyRowsReport:
    """Add up the days from `start` to `end`, both included, in two statements.

    Args:
        start: The first day, in AI_USAGE_DAY_TIMEZONE.
        end: The last day.
        user: Only this user's calls.
        top: How many users to list.
        using: The database alias; by default the one that the routers name for reading.

    Raises:
        ValueError: `end` is before `start`.
    """
    check_order(start, end)
    using = using or router.db_for_read(AIUsageLog)
    rows = AIUsageTracking.objects.using(using).order_by().filter(date__range=(start, end))
    # A row whose last log was deleted stays, with 0 requests.
    rows = rows.filter(total_requests__gt=0).values_list("user_id", "date", *daily.Sums._fields)
    if user is not None:
        sources = [rows.filter(user=user)]
    else:
        sources = [rows, _unattributed(start, end, using)]
    days, users = group(sources, _SUMS, Grouping(("date",)), Grouping(("user_id",), top))
    of_days = {day: sums for (day,), sums in days.found}
    totals = daily.Sums()
    for sums in of_days.values():
        totals = totals.plus(sums)
    of_users = {pk: sums for (pk,), sums in users.found}
    unattributed = of_users.pop(None, daily.Sums())
    names = names_of(of_users, using=using)
    return DailyRowsReport(
        timezone=str(conf.day_timezone()),
        start=start,
        end=end,
        username=None if user is None else user.get_username(),
        totals=totals,
        by_day=tuple(
            DailyDayLine(day, of_days.get(day, daily.Sums())) for day in days_between(start, end)
        ),
        top_users=tuple(DailyUserLine(pk, *names[pk], sums) for pk, sums in of_users.items()),
        users=users.number,
        unattributed=unattributed,
    )


def _unattributed(start: dt.date, end: dt.date, using: str) -> Any:
    """Return the logs without a user, each as a daily row of one call, column by column."""
    logs = AIUsageLog.objects.using(using).order_by()
    return (
        logs.filter(user=None, day__range=(start, end))
        # All are annotations: before Django 5.2, values_list() puts plain fields first.
        .annotate(
            no_user=F("user_id"),
            date=F("day"),
            requests=Value(1),
            prompt=Coalesce("prompt_tokens", Value(0)),
            completion=Coalesce("completion_tokens", Value(0)),
            tokens=Coalesce("total_tokens", Value(0)),
            time=F("response_time_ms"),
            successful=Case(When(success=True, then=Value(1)), default=Value(0)),
            failed=Case(When(success=True, then=Value(0)), default=Value(1)),
            known_cost=Coalesce("cost", Value(Decimal(0))),
        )
        .values_list(
            "no_user",
            "date",
            "requests",
            "prompt",
            "completion",
            "tokens",
            "time",
            "successful",
            "failed",
            "known_cost",
        )
    )


def _read(sums: Sequence[Any]) -> daily.Sums:
    return daily.Sums._make((*map(int, sums[:-1]), as_cost(sums[-1])))


_SUMS = Measure(
    sums={name: f"SUM({name})" for name in daily.Sums._fields},
    count="total_requests",
    read=_read,
)
