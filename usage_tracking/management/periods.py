"""Periods of days on the command line: `last-month`, `2026-10`, `--from DAY --to DAY`."""

from __future__ import annotations

import datetime as dt
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from ..days import YEARS, DayRange, day_of
from .arguments import add_days, first_and_last_day
from .base import CANNOT_RUN

_DAY = dt.timedelta(days=1)
#: The period of each word, by today. Weeks begin on Monday (ISO 8601).
_WORDS: dict[str, Callable[[dt.date], DayRange]] = {
    "today": lambda today: DayRange(today, today),
    "yesterday": lambda today: DayRange.until(today - _DAY, 1),
    "this-week": lambda today: DayRange.until(_sunday(today), 7),
    "last-week": lambda today: DayRange.until(_sunday(today) - 7 * _DAY, 7),
    "this-month": DayRange.of_month,
    "last-month": lambda today: DayRange.of_month(today.replace(day=1) - _DAY),
    "this-year": DayRange.of_year,
    "last-year": lambda today: DayRange.of_year(dt.date(today.year - 1, 1, 1)),
}
_LAST_DAYS = re.compile(r"([1-9][0-9]{0,3})d")
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}){0,2}")
#: The period that a year, a month or a day names, by the length of its text.
_DATED: dict[int, Callable[[dt.date], DayRange]] = {
    4: DayRange.of_year,
    7: DayRange.of_month,
    10: lambda day: DayRange(day, day),
}
_EXAMPLES = f"{', '.join(_WORDS)}, 30d (days up to today), 2026, 2026-10, 2026-10-05"


def add_period(parser: ArgumentParser, *, default: str) -> None:
    """Add PERIOD, `--from` and `--to`, for `period_of`; the help names `default`."""
    parser.add_argument(
        "period",
        nargs="?",
        type=_checked,
        metavar="PERIOD",
        help=f"{_EXAMPLES} (default: {default})",
    )
    add_days(parser)


def period_of(
    options: dict[str, Any], *, default: str | None = None, today: dt.date | None = None
) -> DayRange:
    """Return the days that PERIOD, or else `--from` and `--to`, name.

    Args:
        options: The options of the command.
        default: The PERIOD if none is given; None stands for all days.
        today: The default is today in AI_USAGE_DAY_TIMEZONE.

    Raises:
        CommandError: PERIOD is not valid or given beside `--from` or `--to`, or the last day is
            before the first.
    """
    start, end = first_and_last_day(options)
    text = options["period"]
    if start or end:
        if text:
            raise CommandError(
                f"Use either the period {text!r} or --from and --to, not both.",
                returncode=CANNOT_RUN,
            )
        return DayRange(start, end)
    if not (text := text or default):
        return DayRange()
    try:
        return named(text, today or day_of(timezone.now()))
    except ValueError as error:
        raise CommandError(str(error), returncode=CANNOT_RUN) from error


def named(text: str, today: dt.date) -> DayRange:
    """Return the days of the period `text`, which may end after `today`.

    Raises:
        ValueError: `text` is not a period. The message suggests similar words.
    """
    if text in _WORDS:
        return _WORDS[text](today)
    if match := _LAST_DAYS.fullmatch(text):
        return DayRange.until(today, int(match[1]))
    if _DATE.fullmatch(text):
        with suppress(ValueError):
            first = dt.date.fromisoformat(text + "0000-01-01"[len(text) :])
            if first.year in YEARS:
                return _DATED[len(text)](first)
    word = text.lower()
    near = [name for name in _WORDS if word and name.startswith(word)]
    near = near or get_close_matches(word, _WORDS, n=1)
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Use {_EXAMPLES}."
    raise ValueError(f"{text!r} is not a valid period. {hint}")


def _checked(text: str) -> str:
    try:
        named(text, dt.date(2026, 1, 1))  # today is not needed to see whether it is valid
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    return text


def _sunday(day: dt.date) -> dt.date:
    """Return the last day of the week of `day`."""
    return day + (6 - day.weekday()) * _DAY
