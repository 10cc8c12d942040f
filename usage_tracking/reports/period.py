"""Any number of days, from the logs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.models import QuerySet

from usage_tracking import conf
from usage_tracking.days import midnight
from usage_tracking.models import AIUsageLog
from usage_tracking.related_users import with_users

from .lines import (
    BY_DAY_AND_SECTION,
    TOP,
    ErrorLine,
    ModelLine,
    SectionLine,
    UserLine,
    by_error,
    by_model,
    by_user,
    error_lines,
    model_lines,
    section_line,
    totals_of,
    user_lines,
)
from .totals import Totals, largest_first

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayLine:
    """The calls of one day, and what of them was in which section, the largest first."""

    date: dt.date
    figures: Totals
    by_section: tuple[SectionLine, ...]


@dataclass(frozen=True, slots=True)
class PeriodReport:
    """The calls of the days from `start` to `end`, both of them included."""

    timezone: str
    start: dt.date
    end: dt.date
    username: str | None
    section: str | None
    totals: Totals
    #: Those with the most tokens first, as everywhere.
    by_section: tuple[SectionLine, ...]
    #: Every day, also those without a call.
    by_day: tuple[DayLine, ...]
    by_model: tuple[ModelLine, ...]
    #: How many models there are; `by_model` may show fewer. So for users and errors.
    models: int
    #: Those with the most tokens, and last, however many calls they are, those without a user.
    top_users: tuple[UserLine, ...]
    users: int
    #: The failed calls by what they left as their error, the commonest first.
    by_error: tuple[ErrorLine, ...]
    errors: int


def period_report(
    start: dt.date,
    end: dt.date,
    *,
    user: Any = None,
    section: str | None = None,
    top: int = TOP,
    using: str | None = None,
) -> PeriodReport:
    """The calls of the days from `start` to `end`, both of them included.

    Two statements, whatever the range; the first reads each log of it once. Days are those of
    AI_USAGE_DAY_TIMEZONE under which the calls were recorded. `top` is how many models, users and
    errors are listed. Raises ValueError if `end` is before `start`.
    """
    if end < start:
        raise ValueError(f"the period ends on {end}, before it starts on {start}")
    using = using or router.db_for_read(AIUsageLog)
    days, models, users, errors = totals_of(
        _logs(start, end, user, section, using),
        BY_DAY_AND_SECTION,
        by_model(top),
        by_user(top),
        by_error(top),
    )
    of_days: dict[dt.date, list[SectionLine]] = {}
    of_sections: dict[str, Totals] = {}
    for (day, code), totals in days.found:
        of_days.setdefault(day, []).append(section_line(code, totals))
        of_sections[code] = of_sections.get(code, Totals()).plus(totals)
    return PeriodReport(
        timezone=str(conf.day_timezone()),
        start=start,
        end=end,
        username=None if user is None else user.get_username(),
        section=section,
        totals=Totals.sum(totals for _, totals in days.found),
        by_section=tuple(
            sorted(
                (section_line(code, totals) for code, totals in of_sections.items()),
                key=lambda line: (largest_first(line.figures), line.section),
            )
        ),
        by_day=tuple(
            DayLine(day, Totals.sum(line.figures for line in lines), tuple(lines))
            for day in days_between(start, end)
            for lines in [of_days.get(day, [])]
        ),
        by_model=model_lines(models),
        models=models.number,
        top_users=user_lines(users, using=using),
        users=users.number,
        by_error=error_lines(errors),
        errors=errors.number,
    )


def latest_logs(
    report: PeriodReport, number: int, *, user: Any = None, using: str | None = None
) -> list[AIUsageLog]:
    """The latest calls of the report, newest first, each with its user; one statement.

    `user` is the one of the report. Only days that have so many calls are looked at: a section
    with few calls would else be looked for in all the log.
    """
    using = using or router.db_for_read(AIUsageLog)
    start, found = report.end, 0
    for line in reversed(report.by_day):
        start, found = line.date, found + line.figures.calls
        if found >= number:
            break
    logs = _logs(start, report.end, user, report.section, using)
    return list(with_users(logs).order_by("-created_at", "-pk")[:number])


def days_between(start: dt.date, end: dt.date) -> Iterator[dt.date]:
    """Every day from `start` to `end`, both of them included."""
    for number in range((end - start).days + 1):
        yield start + number * _DAY


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


def _logs(
    start: dt.date, end: dt.date, user: Any, section: str | None, using: str
) -> QuerySet[AIUsageLog]:
    logs = AIUsageLog.objects.using(using)
    if section is not None:
        logs = logs.filter(section=section)
    if user is None:
        return logs.filter(day__range=(start, end))
    return to_day(from_day(logs.filter(user=user), start), end)
