"""The dashboard: costs, charts and tables of a period, with links to the calls they count."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from .. import conf
from ..days import DayRange, aware, day_of
from ..pages.cards import kind_cards, main_cards, unknown_cards
from ..pages.formatting import day_text
from ..pages.panels import panels_of
from ..pages.tables import MOST_LINES, tables_of, unpriced_table
from ..reports import REPRICE, TOP, PeriodBefore, compare, period_report, unpriced_of
from .dashboard_billed import billed_panel
from .dashboard_query import Links, Query, read_query


def dashboard_view(request: HttpRequest, model_admin: Any) -> TemplateResponse:
    """Show the dashboard for the period and the filters that the URL names.

    Args:
        request: Its user needs the permission to view calls.
        model_admin: The admin of the calls or of the dashboard; links stay within its admin site.

    Raises:
        PermissionDenied: The user may not view calls.
    """
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    now = aware(timezone.now())
    query = read_query(request, day_of(now))
    site = model_admin.admin_site
    request.current_app = site.name
    return TemplateResponse(
        request,
        "admin/usage_tracking/dashboard.html",
        {
            **site.each_context(request),
            "title": _("AI usage dashboard"),
            "opts": model_admin.opts,
            "media": model_admin.media,
            **_form(query, day_of(now)),
            **(_shown(query, Links.within(query, site.name), now) if query.is_answerable else {}),
        },
    )


def _shown(query: Query, links: Links, now: dt.datetime) -> dict[str, Any]:
    """Return what the page shows of the calls, in seven statements at most."""
    first, last = query.days.first, query.days.last
    if first is None or last is None:
        raise ValueError(f"the days of the dashboard have two ends, unlike {query.days}")
    report = period_report(
        first,
        last,
        user=query.user,
        **query.filters,
        rank="cost",
        stack=query.stack,
        hourly=first == last,
        top=MOST_LINES if query.full else TOP,
    )
    compared = compare(report, now)
    unpriced = unpriced_of(report)
    return {
        "report": report,
        "compared": _compared_text(compared.before),
        "cards": main_cards(report, compared, links.to),
        "unknown": unknown_cards(report.totals, links.to),
        "billed": billed_panel(query, now),
        "kinds": kind_cards(report.totals),
        "unpriced": unpriced_table(unpriced, links.to) if unpriced else None,
        "prices": [model.setting for model in unpriced if model.setting],
        "reprice": REPRICE,
        "drawn": panels_of(report, links.of_bar, metrics=("cost", "calls", "tokens")),
        "tables": tables_of(report, links.to, query.full, lambda name: _full_page(query, name)),
        "providers": sorted({line.provider or "?" for line in report.by_model}),
        "models": sorted({line.model_name or "?" for line in report.by_model}),
    }


def _full_page(query: Query, name: str) -> str:
    """Return the URL of the page on which the table `name` shows all lines; "" is no table."""
    if name:
        return f"{query.page(all=name)}#ai-usage-{name}"
    return f"{query.page()}#ai-usage-{query.full}"


def _form(query: Query, today: dt.date) -> dict[str, Any]:
    """Return the context of the filters, with or without a report."""
    sections = conf.sections()
    if section := query.names.get("section", ""):
        sections.setdefault(section, section)
    named = (
        (_("Section"), sections.get(section, "")),
        (_("Provider"), query.names.get("provider", "")),
        (_("Model"), query.names.get("model_name", "")),
        (_("User"), query.user.get_username() if query.user else query.user_text),
    )
    return {
        "query": query,
        "days": query.days,
        "days_text": day_text(query.days),
        "timezone": str(conf.day_timezone()),
        "presets": _presets(query, today),
        "sections": sections,
        "section": section,
        "user_text": query.user.get_username() if query.user else query.user_text,
        "stacks": {"section": _("section"), "model": _("model"), "provider": _("provider")},
        "chosen": [(label, value) for label, value in named if value],
        "unfiltered_url": Query(query.days, query.stack).page(),
    }


def _presets(query: Query, today: dt.date) -> list[dict[str, Any]]:
    named = {
        _("Today"): DayRange(today, today),
        _("7 days"): DayRange.until(today, 7),
        _("30 days"): DayRange.until(today, 30),
        _("90 days"): DayRange.until(today, 90),
        _("This month"): DayRange.of_month(today),
        _("Last month"): DayRange.of_month(today.replace(day=1) - dt.timedelta(days=1)),
    }
    return [
        {"label": label, "url": query.page(days), "chosen": days == query.days}
        for label, days in named.items()
    ]


def _compared_text(before: PeriodBefore | None) -> str:
    """Return which period the cards compare this one with."""
    if before is None:
        return ""
    text = _("Compared with %(days)s.") % {"days": day_text(before.days)}
    if before.until is None:
        return text
    time = date_format(before.until, "H:i")
    same = _("The last day counts until %(time)s, as today is not over.") % {"time": time}
    return f"{text} {same}"
