"""A user's own page: what they used in a month, and nothing of anybody else."""

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
from .pages.formatting import average_text, cost_text, count, month_text, share, tokens_text
from .pages.panels import panels_of
from .reports import period_report

_DAY = dt.timedelta(days=1)


@require_safe
@login_required
@never_cache
def my_usage(request: HttpRequest) -> HttpResponse:
    """The page of the logged-in user; `?month=2026-03` names another month than this one."""
    current = today().replace(day=1)
    text = request.GET.get("month")
    month = _month(text) if text else current
    if month > current:
        raise Http404(_("That month is still to come."))
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
    """What `usage_tracking/summary.html` shows of the month that begins on `month`."""
    # This month ends today: days to come are no days without a call.
    last = min(_following(month) - _DAY, max(today(), month))
    report = period_report(month, last, user=user)
    totals = report.totals
    failed = _("%(share)s of the calls") % {"share": share(totals.failures, totals.calls)}
    return {
        "month": month_text(month),
        "report": report,
        "cards": [
            {
                "label": _("Calls"),
                "value": count(totals.calls),
                "detail": _("%(time)s on average") % {"time": average_text(totals)}
                if totals.calls
                else "",
            },
            {"label": _("Tokens"), "value": tokens_text(totals), "detail": ""},
            {"label": _("Cost"), "value": cost_text(totals), "detail": ""},
            {
                "label": _("Failures"),
                "value": count(totals.failures),
                "detail": failed if totals.failures else "",
            },
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
        raise Http404(_("A month is written as in 2026-03."))
    return month
