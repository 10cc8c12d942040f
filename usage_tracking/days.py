"""Ranges of days, as a URL names them: `start_date` and `end_date`, both inclusive."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from django.utils import timezone

from . import conf

START = "start_date"
END = "end_date"
#: Far enough from either end of what a date can be for the arithmetic of every reader.
_FIRST = dt.date(1970, 1, 1)
_LAST = dt.date(9998, 12, 31)


def day_of(moment: dt.datetime) -> dt.date:
    """The day under which a call made at `moment` counts, whatever zone is activated.

    A naive `moment` (USE_TZ = False) is local time of `TIME_ZONE`, as everywhere in Django.
    """
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.astimezone(conf.day_timezone()).date()


class BadDays(ValueError):
    """A text that is no day, or an end before its start; `text` is what was given."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class DayRange:
    """From `first` to `last`, both included; None is open."""

    first: dt.date | None = None
    last: dt.date | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> Self:
        """The range that a query string names; raises BadDays."""
        first, last = (_day(parameters.get(name, "")) for name in (START, END))
        if first and last and last < first:
            raise BadDays(f"{first} to {last}")
        return cls(first, last)

    @classmethod
    def until(cls, last: dt.date, days: int) -> Self:
        """The `days` days that end with `last`."""
        return cls(last - dt.timedelta(days=days - 1), last)

    @classmethod
    def of_month(cls, day: dt.date) -> Self:
        _, length = calendar.monthrange(day.year, day.month)
        return cls(day.replace(day=1), day.replace(day=length))

    @classmethod
    def of_year(cls, day: dt.date) -> Self:
        return cls(dt.date(day.year, 1, 1), dt.date(day.year, 12, 31))

    def __bool__(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def parameters(self) -> dict[str, str]:
        """What names this range in a query string."""
        both = {START: self.first, END: self.last}
        return {name: day.isoformat() for name, day in both.items() if day}


def _day(text: str) -> dt.date | None:
    if not text:
        return None
    try:
        day = dt.datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 -- a day has no zone
    except ValueError:
        raise BadDays(text) from None
    if not _FIRST <= day <= _LAST:
        raise BadDays(text)
    return day
