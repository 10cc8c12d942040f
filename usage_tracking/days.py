"""Days of usage: how a moment, a text and a URL name them."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from django.conf import settings
from django.utils import timezone

from . import conf

_DAY = dt.timedelta(days=1)
START = "start_date"
END = "end_date"
#: The years of the days that a URL or a period may name. Readers add days to them without reaching
#: the end of `date`.
YEARS = range(1970, 9999)
EARLIEST = dt.date(YEARS[0], 1, 1)


def day_of(moment: dt.datetime) -> dt.date:
    """Return the day under which a call made at `moment` counts.

    Days are those of AI_USAGE_DAY_TIMEZONE, whatever zone is active.
    """
    return aware(moment).astimezone(conf.day_timezone()).date()


def aware(moment: dt.datetime) -> dt.datetime:
    """Return `moment` with a zone; a naive one (USE_TZ = False) is local time of `TIME_ZONE`."""
    if timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone())


def stored(moment: dt.datetime) -> dt.datetime:
    """Return `moment` in the form that `created_at` is compared with, naive if USE_TZ is False."""
    if settings.USE_TZ:
        # In UTC no local time occurs twice.
        return aware(moment).astimezone(dt.UTC)
    return timezone.make_naive(aware(moment), timezone.get_default_timezone())


def utc_today() -> dt.date:
    """Return the current day in UTC, whose days providers bill."""
    return aware(timezone.now()).astimezone(dt.UTC).date()


def midnight(day: dt.date) -> dt.datetime:
    """Return 00:00 UTC of `day`, to compare with `created_at`.

    Under USE_TZ = False it is naive. A day of usage may begin up to 14 hours earlier and end up to
    12 hours later: leave a margin.
    """
    return dt.datetime.combine(day, dt.time(), dt.UTC if settings.USE_TZ else None)


def parse_day(text: str) -> dt.date:
    """Read a day written as YYYY-MM-DD.

    Raises:
        ValueError: `text` is not such a day.
    """
    return dt.datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 -- a day has no zone


class InvalidDaysError(ValueError):
    """A text that is not a day, or an end before its start. `text` is what was given."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class DayRange:
    """The days from `first` to `last`, both included. None leaves that end open."""

    first: dt.date | None = None
    last: dt.date | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> Self:
        """Read the range that a query string names by `start_date` and `end_date`.

        Raises:
            InvalidDaysError: One is not a day from 1970 to 9998, or they are in the wrong order.
        """
        first, last = (_day(parameters.get(name, "")) for name in (START, END))
        if first and last and last < first:
            raise InvalidDaysError(f"{first} to {last}")
        return cls(first, last)

    @classmethod
    def runs_of(cls, days: Iterable[dt.date]) -> list[Self]:
        """Return the ranges of consecutive days that `days` consists of, in order."""
        found: list[Self] = []
        for day in sorted(set(days)):
            if found and found[-1].last == day - _DAY:
                found[-1] = cls(found[-1].first, day)
            else:
                found.append(cls(day, day))
        return found

    @classmethod
    def until(cls, last: dt.date, days: int) -> Self:
        """Return the `days` days that end with `last`."""
        return cls(last - dt.timedelta(days=days - 1), last)

    @classmethod
    def of_month(cls, day: dt.date) -> Self:
        """Return the month of `day`."""
        _, length = calendar.monthrange(day.year, day.month)
        return cls(day.replace(day=1), day.replace(day=length))

    @classmethod
    def of_year(cls, day: dt.date) -> Self:
        """Return the calendar year of `day`."""
        return cls(dt.date(day.year, 1, 1), dt.date(day.year, 12, 31))

    def before(self) -> Self:
        """Return the period before: as many months if these are whole months, else as many days.

        Raises:
            TypeError: An end is open.
        """
        first, _ = self.ends()
        return type(self)(self._earlier(first), first - _DAY)

    def same_time_before(self, moment: dt.datetime) -> dt.datetime:
        """Return the same local time of the corresponding day of `before()`.

        It is the end of a month that has no such day. If a change of daylight saving time skips or
        repeats that time, the offset before the change applies.
        """
        day, time = moment.date(), moment.time().replace(fold=0)
        try:
            earlier = self._earlier(day)
        except ValueError:
            month = self.of_month(self._earlier(day.replace(day=1)))
            earlier, time = month.ends()[1], dt.time.max
        return dt.datetime.combine(earlier, time, moment.tzinfo)

    def ends(self) -> tuple[dt.date, dt.date]:
        """Return the first and the last day.

        Raises:
            TypeError: An end is open.
        """
        if self.first is None or self.last is None:
            raise TypeError(f"{self} has an open end")
        return self.first, self.last

    def __contains__(self, day: dt.date) -> bool:
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def _earlier(self, day: dt.date) -> dt.date:
        """Return the day of the period before that corresponds to `day`.

        Raises:
            ValueError: There is no such day, for example no 30th of February.
        """
        first, last = self.ends()
        if not (months := _whole_months(first, last)):
            length = (last - first).days + 1
            return dt.date.fromordinal(max(day.toordinal() - length, dt.date.min.toordinal()))
        year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
        return dt.date(year, month + 1, day.day) if year > 0 else dt.date.min

    def __bool__(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def parameters(self) -> dict[str, str]:
        """The query parameters that name this range; `read` is the inverse."""
        both = {START: self.first, END: self.last}
        return {name: day.isoformat() for name, day in both.items() if day}


def _whole_months(first: dt.date, last: dt.date) -> int:
    """Return how many calendar months the days are; 0 if they are not whole months."""
    if first.day != 1 or last.day != calendar.monthrange(last.year, last.month)[1]:
        return 0
    return (last.year - first.year) * 12 + last.month - first.month + 1


def _day(text: str) -> dt.date | None:
    if not text:
        return None
    try:
        day = parse_day(text)
    except ValueError:
        raise InvalidDaysError(text) from None
    if day.year not in YEARS:
        raise InvalidDaysError(text)
    return day
