"""A user's own page: the AI usage of the logged-in user in one month."""

from __future__ import annotations

import datetime as dt

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .days import START, DayRange, InvalidDaysError, day_of
from .models import today
from .pages.own import Month, first_month, months_between, own_month


@require_safe
@login_required
@never_cache
def my_usage(
    request: HttpRequest, *, show_cost: bool = True, heading: int = 2, limit: int | None = None
) -> HttpResponse:
    """Show the month that `?month=YYYY-MM` names, by default the current one.

    Set the options in the URL configuration, such as `path("", my_usage, {"show_cost": False})`.
    The page takes three statements.

    Args:
        request: The request of the user whose calls to show.
        show_cost: Whether the page shows costs.
        heading: The level of the heading of the summary, from 1 to 6.
        limit: How many sections to list; the others share one line. None lists all.

    Raises:
        Http404: `month` is not a month, or is in the future.
        ValueError: An option is invalid.
    """
    month, current = month_of(request.GET.get("month")), this_month()
    context = own_month(request.user, month, show_cost=show_cost, heading=heading, limit=limit)
    # Earlier months are not linked, because they are empty.
    first = min(first_month(request.user) or current, current)
    months = months_between(first, current)
    if month < first:
        months = (Month(month), *months)
    return render(
        request,
        "usage_tracking/my_usage.html",
        {
            **context,
            "months": months[::-1],
            "month_shown": f"{month:%Y-%m}",
            "month_before": max((m.value for m in months if m.first < month), default=""),
            "month_after": min((m.value for m in months if m.first > month), default=""),
        },
    )


def this_month() -> dt.date:
    """Return the first day of the current month, in AI_USAGE_DAY_TIMEZONE."""
    return today().replace(day=1)


def month_of(value: str | dt.date | None) -> dt.date:
    """Return the first day of a month.

    Args:
        value: A text such as "2026-03", which may be from a query string; a day or a time in the
            month; "" or None for the current month.

    Raises:
        Http404: `value` is not a month, or is in the future.
    """
    if not value:
        return this_month()
    if isinstance(value, dt.datetime):
        value = day_of(value)
    month = value.replace(day=1) if isinstance(value, dt.date) else _read_month(value)
    if month > this_month():
        raise Http404(_("The month is in the future."))
    return month


def _read_month(text: str) -> dt.date:
    try:
        month = DayRange.read({START: f"{text}-01"}).first
    except InvalidDaysError:
        month = None
    if month is None:
        raise Http404(_("The month must be written as YYYY-MM, such as 2026-03."))
    return month
