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


def share(part: Decimal | int | None, whole: Decimal | int | None) -> str:
    """Format a percentage to one decimal; only none is "0.0 %" and only all are "100.0 %".

    It is "" if a value is unknown or the whole is 0.
    """
    if part is None or not whole:
        return ""
    percent = Decimal(100) * part / whole
    if 0 < percent < Decimal("0.1"):
        return "< 0.1 %"
    if Decimal("99.9") < percent < 100:
        return "> 99.9 %"
    return f"{number_format(percent.quantize(Decimal('0.1')))} %"


def change_text(value: Decimal | int | None, before: Decimal | int | None) -> str:
    """Format by how many percent a value has changed; "" if one is unknown or it was 0."""
    if value is None or not before:
        return ""
    percent = (Decimal(100) * (value - before) / before).quantize(Decimal("0.1"))
    sign = "+" if percent > 0 else "−" if percent < 0 else "±"  # noqa: RUF001 -- a minus sign
    return f"{sign}{number_format(abs(percent), force_grouping=True)} %"


def tick_text(number: Decimal) -> str:
    """Format a round number of an axis in thousands, millions and so on."""
    for power, unit in ((12, "T"), (9, "B"), (6, "M"), (3, "k")):
        if number >= Decimal(10) ** power:
            return f"{(number / Decimal(10) ** power).normalize():f}{unit}"
    return f"{number.normalize():f}"


def usd_tick(amount: Decimal) -> str:
    """Format a round amount of an axis in USD."""
    if amount >= 1_000:
        return f"${tick_text(amount)}"
    exponent = amount.as_tuple().exponent
    decimals = -exponent if isinstance(exponent, int) else 0
    return f"${amount:,.{max(2, decimals)}f}"


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


def usd_text(amount: Decimal | None) -> str:
    """Format an amount in USD, or that it is unknown."""
    return _("unknown") if amount is None else usd(amount)


def cost_text(totals: Totals) -> str:
    """Format the cost in USD, or that it is unknown."""
    return usd_text(totals.cost)


def average_text(totals: Totals) -> str:
    """Format the average response time in seconds; "" without a call."""
    average = totals.average_response_time_ms
    if average is None:
        return ""
    return f"{number_format(round(Decimal(average) / 1000, 2), force_grouping=True)} s"


def month_text(day: dt.date) -> str:
    """Format the month of `day`."""
    return date_format(day, "YEAR_MONTH_FORMAT")
