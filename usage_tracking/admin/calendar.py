"""Links from years to months to days, by the calendar alone: no query counts their rows."""

from __future__ import annotations

import datetime as dt
from calendar import monthrange
from dataclasses import dataclass

from django.utils.dates import MONTHS
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from ..days import DayRange


@dataclass(frozen=True, slots=True)
class CalendarLink:
    """A year, a month or a day to filter by; `chosen` marks the one that the list shows."""

    label: str
    days: DayRange
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Calendar:
    """The links above a list: `back` to a wider range, `choices` to narrower ones."""

    back: CalendarLink | None
    choices: tuple[CalendarLink, ...]


def calendar_of(first: dt.date, last: dt.date, chosen: DayRange) -> Calendar:
    """Return the links of a table with rows from `first` to `last`, filtered by `chosen`."""
    if not chosen:
        if first.year != last.year:
            return Calendar(None, tuple(_year(year) for year in range(first.year, last.year + 1)))
        if first.month != last.month:
            return Calendar(None, _months(first.year, first, last))
        return Calendar(None, _days_of(first, first, last))
    all_dates = CalendarLink(_("All dates"), DayRange())
    start = chosen.first
    if start and chosen == DayRange.of_year(start):
        return Calendar(all_dates, _months(start.year, first, last))
    if start and chosen == DayRange.of_month(start):
        return Calendar(_year(start.year), _days_of(start, first, last))
    if start and chosen == DayRange(start, start):
        return Calendar(_month(start), _days_of(start, first, last, chosen=start))
    return Calendar(all_dates, ())


def _year(year: int) -> CalendarLink:
    return CalendarLink(str(year), DayRange.of_year(dt.date(year, 1, 1)))


def _month(day: dt.date) -> CalendarLink:
    return CalendarLink(f"{MONTHS[day.month]} {day.year}", DayRange.of_month(day))


def _months(year: int, first: dt.date, last: dt.date) -> tuple[CalendarLink, ...]:
    months = (dt.date(year, month, 1) for month in range(1, 13))
    return tuple(_month(day) for day in months if first.replace(day=1) <= day <= last)


def _days_of(
    month: dt.date, first: dt.date, last: dt.date, chosen: dt.date | None = None
) -> tuple[CalendarLink, ...]:
    _weekday, length = monthrange(month.year, month.month)
    days = (month.replace(day=number + 1) for number in range(length))
    return tuple(
        CalendarLink(date_format(day, "j M"), DayRange(day, day), day == chosen)
        for day in days
        if first <= day <= last
    )
