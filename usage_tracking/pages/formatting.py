"""Format numbers and days for pages, in the active language. Unknown values are never 0."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from ..days import DayRange
from ..reports import Totals

#: The smallest amount that is shown, in USD, and the amount from which cents are precise enough.
_LEAST, _ROUND = Decimal("0.0001"), 100


def count(number: int) -> str:
    """Format a whole number with thousands separators."""
    return number_format(number, force_grouping=True)


def usd(amount: Decimal) -> str:
    """Format an amount to a hundredth of a cent, or "< $0.0001"; from $100 on to a cent."""
    if not amount:
        return "$0"
    if 0 < amount < _LEAST:
        return f"< ${number_format(_LEAST)}"
    step = Decimal("0.01") if amount >= _ROUND else _LEAST
    # number_format() truncates instead of rounding.
    return f"${number_format(amount.quantize(step), force_grouping=True)}"


def share(part: int, whole: int) -> str:
    """Format a percentage to one decimal; only none is "0.0 %" and only all are "100.0 %"."""
    if not whole:
        return ""
    percent = Decimal(100) * part / whole
    if 0 < percent < Decimal("0.1"):
        return "< 0.1 %"
    if Decimal("99.9") < percent < 100:
        return "> 99.9 %"
    return f"{number_format(percent.quantize(Decimal('0.1')))} %"


def day_text(days: DayRange) -> str:
    """Format a range of days; one without an end is "from" or "until" a day."""
    first, last = (day and date_format(day, "DATE_FORMAT") for day in (days.first, days.last))
    if first == last:
        return first or ""
    if first and last:
        return _("%(first)s to %(last)s") % {"first": first, "last": last}
    return _("from %(day)s") % {"day": first} if first else _("until %(day)s") % {"day": last}


def number_text(number: int | None) -> str:
    """Format a whole number, or that it is unknown."""
    return _("unknown") if number is None else count(number)


def tokens_text(totals: Totals) -> str:
    """Format the tokens, or that they are unknown."""
    return number_text(totals.total_tokens)


def cost_text(totals: Totals) -> str:
    """Format the cost in USD, or that it is unknown."""
    return _("unknown") if totals.cost is None else usd(totals.cost)


def average_text(totals: Totals) -> str:
    """Format the average response time in seconds; "" without a call."""
    average = totals.average_response_time_ms
    if average is None:
        return ""
    return f"{number_format(round(Decimal(average) / 1000, 2), force_grouping=True)} s"


def month_text(day: dt.date) -> str:
    """Format the month of `day`."""
    return date_format(day, "YEAR_MONTH_FORMAT")
