"""Numbers and days as pages show them, in the active language; what is unknown is not 0."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from ..days import DayRange
from ..reports import Totals

#: USD that are told, and from what on cents are enough.
_LEAST, _ROUND = Decimal("0.0001"), 100


def count(number: int) -> str:
    return number_format(number, force_grouping=True)


def usd(amount: Decimal) -> str:
    """To a hundredth of a cent, in which small amounts do not look like nothing."""
    if not amount:
        return "$0"
    if 0 < amount < _LEAST:
        return f"< ${number_format(_LEAST)}"
    step = Decimal("0.01") if amount >= _ROUND else _LEAST
    # number_format() cuts off where it should round.
    return f"${number_format(amount.quantize(step), force_grouping=True)}"


def share(part: int, whole: int) -> str:
    """A percentage; what is not 0 does not look like 0, nor less than all like all."""
    if not whole:
        return ""
    percent = Decimal(100) * part / whole
    if 0 < percent < Decimal("0.1"):
        return "< 0.1 %"
    if Decimal("99.9") < percent < 100:
        return "> 99.9 %"
    return f"{number_format(percent.quantize(Decimal('0.1')))} %"


def day_text(days: DayRange) -> str:
    """Days in words, of the active language."""
    first, last = (day and date_format(day, "DATE_FORMAT") for day in (days.first, days.last))
    if first == last:
        return first or ""
    if first and last:
        return _("%(first)s to %(last)s") % {"first": first, "last": last}
    return _("from %(day)s") % {"day": first} if first else _("until %(day)s") % {"day": last}


def number_text(number: int | None) -> str:
    return _("unknown") if number is None else count(number)


def tokens_text(totals: Totals) -> str:
    return number_text(totals.total_tokens)


def cost_text(totals: Totals) -> str:
    return _("unknown") if totals.cost is None else usd(totals.cost)


def average_text(totals: Totals) -> str:
    average = totals.average_response_time_ms
    if average is None:
        return ""
    return f"{number_format(round(Decimal(average) / 1000, 2), force_grouping=True)} s"


def month_text(day: dt.date) -> str:
    return date_format(day, "YEAR_MONTH_FORMAT")
