"""The report of a period, from the logs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import router

from .. import conf
from ..models import AIUsageLog
from ..related_users import with_users
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
from .selection import Selection
from .totals import Totals, largest_first
from .unpriced import UnpricedModel, unpriced_models

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayLine:
    """The calls of one day, in all and by section, most tokens first."""

    date: dt.date
    figures: Totals
    by_section: tuple[SectionLine, ...]


@dataclass(frozen=True, slots=True)
class PeriodReport:
    """The calls of the days from `start` to `end`, both included."""

    #: The name of AI_USAGE_DAY_TIMEZONE.
    timezone: str
    start: dt.date
    end: dt.date
    #: The only user in the report; None for all users.
    username: str | None
    #: The code of the only section in the report; None for all sections.
    section: str | None
    totals: Totals
    #: Most tokens first, like all lines but those by error.
    by_section: tuple[SectionLine, ...]
    #: One line for every day, with or without calls.
    by_day: tuple[DayLine, ...]
    by_model: tuple[ModelLine, ...]
    #: How many models were called; `by_model` may show fewer. The same goes for users and errors.
    models: int
    #: The users with the most tokens. The calls without a user are always the last line.
    top_users: tuple[UserLine, ...]
    users: int
    #: The failed calls by error message, most calls first.
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
    """Add up the days from `start` to `end`, both included.

    It takes two statements, whatever the range; the first reads each log of the period once. A
    call counts under the day it was recorded for, in the AI_USAGE_DAY_TIMEZONE of that time.

    Args:
        start: The first day.
        end: The last day.
        user: Only this user's calls.
        section: Only the calls of the section with this code.
        top: How many models, users and errors to list.
        using: The database alias; by default the one that the routers name for reading.

    Raises:
        ValueError: `end` is before `start`.
    """
    check_order(start, end)
    using = using or router.db_for_read(AIUsageLog)
    days, models, users, errors = totals_of(
        Selection(start, end, user, section).logs(using),
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
    """Return the `number` latest calls of `report`, newest first, with their users.

    It takes one statement. `user` must be the one of the report. The search stops at the day that
    completes the number: otherwise a section with few calls costs a walk through the whole log.
    """
    using = using or router.db_for_read(AIUsageLog)
    start, found = report.end, 0
    for line in reversed(report.by_day):
        start, found = line.date, found + line.figures.calls
        if found >= number:
            break
    logs = Selection(start, report.end, user, report.section).logs(using)
    return list(with_users(logs).order_by("-created_at", "-pk")[:number])


def unpriced_of(
    report: PeriodReport, *, user: Any = None, top: int = TOP, using: str | None = None
) -> tuple[UnpricedModel, ...]:
    """Return the models with unpriced calls in `report`, most calls first.

    It takes one statement, none if the report has no unpriced calls.

    Args:
        report: The report.
        user: The user of the report.
        top: How many models to list.
        using: The database alias; by default the one that the routers name for reading.
    """
    if not report.totals.unpriced:
        return ()
    using = using or router.db_for_read(AIUsageLog)
    logs = Selection(report.start, report.end, user, report.section).logs(using)
    return unpriced_models(logs, top=top, using=using)


def check_order(start: dt.date, end: dt.date) -> None:
    """Raise ValueError if `end` is before `start`."""
    if end < start:
        raise ValueError(f"the period ends on {end}, before it starts on {start}")


def days_between(start: dt.date, end: dt.date) -> Iterator[dt.date]:
    """Yield every day from `start` to `end`, both included."""
    for number in range((end - start).days + 1):
        yield start + number * _DAY
