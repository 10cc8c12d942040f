"""A user's own page: the AI usage of the logged-in user in one month."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .days import START, DayRange, InvalidDaysError
from .models import today
from .pages.formatting import cost_text, count, month_text, share, tokens_text
from .pages.panels import Card, calls_card, panels_of
from .reports import period_report

_DAY = dt.timedelta(days=1)


@require_safe
@login_required
@never_cache
def my_usage(request: HttpRequest) -> HttpResponse:
    """Show the month that `?month=YYYY-MM` names, by default the current one.

    Raises:
        Http404: `month` is not a month, or is in the future.
    """
    current = today().replace(day=1)
    text = request.GET.get("month")
    month = _month(text) if text else current
    if month > current:
        raise Http404(_("The month is in the future."))
    before, after = month - _DAY, _following(month)
    return render(
        request,
        "usage_tracking/my_usage.html",
        {
            **own_month(request.user, month),
            "month_before": f"{before:%Y-%m}",
            "month_after": f"{after:%Y-%m}" if after <= current else "",
        },
    )


def own_month(user: Any, month: dt.date) -> dict[str, Any]:
    """Return the context of `usage_tracking/summary.html`, in two statements.

    Args:
        user: Whose calls to show.
        month: The first day of the month.
    """
    # The current month ends today: future days are not days without calls.
    last = min(_following(month) - _DAY, max(today(), month))
    report = period_report(month, last, user=user)
    totals = report.totals
    failed = _("%(share)s of the calls") % {"share": share(totals.failures, totals.calls)}
    return {
        "month": month_text(month),
        "report": report,
        "cards": [
            calls_card(totals),
            Card(_("Tokens"), tokens_text(totals)),
            Card(_("Cost"), cost_text(totals)),
            Card(_("Failures"), count(totals.failures), failed if totals.failures else ""),
        ],
        "drawn": panels_of(report),
        "lines": [
            (
                line.display_name,
                count(line.figures.calls),
                tokens_text(line.figures),
                cost_text(line.figures),
            )
            for line in report.by_section
        ],
    }


def _following(month: dt.date) -> dt.date:
    return (month + 31 * _DAY).replace(day=1)


def _month(text: str) -> dt.date:
    try:
        month = DayRange.read({START: f"{text}-01"}).first
    except InvalidDaysError:
        month = None
    if month is None:
        raise Http404(_("The month must be written as YYYY-MM, such as 2026-03."))
    return month
