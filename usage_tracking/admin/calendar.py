"""From years to months to days, by the calendar: no query asks which of them have rows."""

from __future__ import annotations

import datetime as dt
from calendar import monthrange
from dataclasses import dataclass

from django.utils.dates import MONTHS
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from ..days import DayRange


@dataclass(frozen=True, slots=True)
class Step:
    label: str
    days: DayRange
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """Where one can go from a range of days: back to a wider one, and on to narrower ones."""

    back: Step | None
    choices: tuple[Step, ...]


def steps(first: dt.date, last: dt.date, chosen: DayRange) -> Steps:
    """The steps of a table with rows from `first` to `last`, of which `chosen` is shown."""
    if not chosen:
        if first.year != last.year:
            return Steps(None, tuple(_year(year) for year in range(first.year, last.year + 1)))
        if first.month != last.month:
            return Steps(None, _months(first.year, first, last))
        return Steps(None, _days_of(first, first, last))
    all_dates = Step(_("All dates"), DayRange())
    start = chosen.first
    if start and chosen == DayRange.of_year(start):
        return Steps(all_dates, _months(start.year, first, last))
    if start and chosen == DayRange.of_month(start):
        return Steps(_year(start.year), _days_of(start, first, last))
    if start and chosen == DayRange(start, start):
        return Steps(_month(start), _days_of(start, first, last, chosen=start))
    return Steps(all_dates, ())


def _year(year: int) -> Step:
    return Step(str(year), DayRange.of_year(dt.date(year, 1, 1)))


def _month(day: dt.date) -> Step:
    return Step(f"{MONTHS[day.month]} {day.year}", DayRange.of_month(day))


def _months(year: int, first: dt.date, last: dt.date) -> tuple[Step, ...]:
    months = (dt.date(year, month, 1) for month in range(1, 13))
    return tuple(_month(day) for day in months if first.replace(day=1) <= day <= last)


def _days_of(
    month: dt.date, first: dt.date, last: dt.date, chosen: dt.date | None = None
) -> tuple[Step, ...]:
    _weekday, length = monthrange(month.year, month.month)
    days = (month.replace(day=number + 1) for number in range(length))
    return tuple(
        Step(date_format(day, "j M"), DayRange(day, day), day == chosen)
        for day in days
        if first <= day <= last
    )
