"""The report of a period, from the logs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from .stacks import Column, by_column, columns_of, with_hours
from .totals import RANKS, Totals
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
    #: Ordered by `rank`, like all lines but those by day and by error.
    by_section: tuple[SectionLine, ...]
    #: One line for every day, with or without calls.
    by_day: tuple[DayLine, ...]
    by_model: tuple[ModelLine, ...]
    #: How many models were called; `by_model` may show fewer. The same goes for users and errors.
    models: int
    #: The first users by `rank`. The calls without a user are always the last line.
    top_users: tuple[UserLine, ...]
    users: int
    #: The failed calls by error message, most calls first.
    by_error: tuple[ErrorLine, ...]
    errors: int
    #: Which calls these are.
    selection: Selection
    #: "tokens" or "cost", the highest first.
    rank: str
    #: What the parts of `columns` are, one of STACKS.
    stack: str
    #: One column for every day, or every hour of a day.
    columns: tuple[Column, ...]

    @property
    def is_hourly(self) -> bool:
        """Whether the columns are hours."""
        return isinstance(self.columns[0].start, dt.datetime)


def period_report(
    start: dt.date,
    end: dt.date,
    *,
    user: Any = None,
    section: str | None = None,
    provider: str | None = None,
    model_name: str | None = None,
    rank: str = "tokens",
    stack: str = "section",
    hourly: bool = False,
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
        provider: Only the calls to this provider; "" is an unknown one.
        model_name: Only the calls of this model; "" is an unknown one.
        rank: "tokens" or "cost": what orders the lines. An unknown sum comes last.
        stack: What the parts of the columns are: "section", "model" or "provider".
        hourly: Whether the columns are the hours of the only day.
        top: How many models, users and errors to list.
        using: The database alias; by default the one that the routers name for reading.

    Raises:
        ValueError: `end` is before `start`, `rank` or `stack` is unknown, or hours of more than one
            day are asked for.
    """
    check_order(start, end)
    if rank not in RANKS:
        raise ValueError(f"rank must be one of {', '.join(RANKS)}, not {rank!r}")
    if hourly and start != end:
        raise ValueError(f"hours are those of one day, not of {start} to {end}")
    using = using or router.db_for_read(AIUsageLog)
    selection = Selection(start, end, user, section, provider, model_name)
    logs = selection.logs(using)
    column = by_column(stack, hourly=hourly)
    # The days are also the default columns.
    others = [] if column == BY_DAY_AND_SECTION else [column]
    days, models, users, errors, *stacked = totals_of(
        with_hours(logs, start) if hourly else logs,
        BY_DAY_AND_SECTION,
        by_model(top, rank),
        by_user(top, rank),
        by_error(top),
        *others,
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
                key=lambda line: (RANKS[rank][1](line.figures), line.section),
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
        selection=selection,
        rank=rank,
        stack=stack,
        columns=columns_of((stacked or [days])[0], tuple(days_between(start, end)), hourly=hourly),
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
    logs = replace(report.selection, start=start, user=user).logs(using)
    return list(with_users(logs).order_by("-created_at", "-pk")[:number])


def unpriced_of(
    report: PeriodReport, *, top: int = TOP, using: str | None = None
) -> tuple[UnpricedModel, ...]:
    """Return the models with unpriced calls in `report`, most calls first.

    It takes one statement, none if the report has no unpriced calls.

    Args:
        report: The report.
        top: How many models to list.
        using: The database alias; by default the one that the routers name for reading.
    """
    if not report.totals.unpriced:
        return ()
    using = using or router.db_for_read(AIUsageLog)
    return unpriced_models(report.selection.logs(using), top=top, using=using)


def check_order(start: dt.date, end: dt.date) -> None:
    """Raise ValueError if `end` is before `start`."""
    if end < start:
        raise ValueError(f"the period ends on {end}, before it starts on {start}")


def days_between(start: dt.date, end: dt.date) -> Iterator[dt.date]:
    """Yield every day from `start` to `end`, both included."""
    for number in range((end - start).days + 1):
        yield start + number * _DAY
