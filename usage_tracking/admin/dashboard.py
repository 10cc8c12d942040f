"""The dashboard: totals, charts and tables of a period, with links to the calls they count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from .. import conf
from ..days import DayRange, InvalidDaysError
from ..models import today
from ..pages.formatting import (
    average_text,
    cost_text,
    count,
    day_text,
    number_text,
    share,
    tokens_text,
)
from ..pages.panels import Card, calls_card, panels_of
from ..reports import (
    REPRICE,
    PeriodReport,
    Totals,
    UnpricedModel,
    period_report,
    unpriced_of,
)
from .filters import UNKNOWN_LABELS, report_invalid_period

#: The default and the maximum length of the period.
DAYS, MOST_DAYS = 30, 366
_DAY = dt.timedelta(days=1)
#: How much of an error message a link searches for, in characters.
_SEARCHED = 80


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table; `url` is the list of its calls."""

    label: str
    url: str
    cells: tuple[str, ...]
    css_class: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A breakdown of the calls."""

    title: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    #: A note if the table leaves out lines.
    more: str = ""


def dashboard_view(request: HttpRequest, model_admin: Any) -> TemplateResponse:
    """Show the dashboard for the period and the section that the URL names.

    Args:
        request: Its user needs the permission to view calls.
        model_admin: The admin of the calls; links stay within its admin site.

    Raises:
        PermissionDenied: The user may not view calls.
    """
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    day = today()
    first, last = _period(request, day)
    days = DayRange(first, last)
    section = request.GET.get("section", "").replace("\x00", "")
    report = period_report(first, last, section=section or None)
    unpriced = unpriced_of(report)
    links = Links(model_admin, days, section)
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(
        request,
        "admin/usage_tracking/dashboard.html",
        {
            **model_admin.admin_site.each_context(request),
            "title": _("AI usage"),
            "opts": model_admin.opts,
            "media": model_admin.media,
            "report": report,
            "days": days,
            "days_text": day_text(days),
            "presets": _presets(days, section, day),
            "section": section,
            "sections": _sections(section),
            "list_url": links.to(),
            "cards": _cards(report, links),
            "unknown": _unknown(report.totals, links),
            "kinds": _kinds(report.totals),
            "prices": [model.setting for model in unpriced if model.setting],
            "reprice": REPRICE,
            "drawn": panels_of(report, links.of_bar),
            "tables": [*_tables(report, links), _unpriced(unpriced, links)],
        },
    )


@dataclass(frozen=True, slots=True)
class Links:
    """Links to the list of calls, within the period and section of the dashboard."""

    model_admin: Any
    days: DayRange
    section: str

    def to(self, days: DayRange | None = None, **parameters: Any) -> str:
        """Return the list filtered by `days`, by default all days shown, and `parameters`."""
        url = reverse(
            "admin:usage_tracking_aiusagelog_changelist",
            current_app=self.model_admin.admin_site.name,
        )
        chosen = {"section": self.section} if self.section else {}
        return f"{url}?{urlencode((days or self.days).parameters | chosen | parameters)}"

    def of_bar(self, days: DayRange, section: str | None) -> str:
        """Return the list of the calls that a bar of a chart stands for."""
        return self.to(days, **({"section": section} if section else {}))


def _period(request: HttpRequest, day: dt.date) -> tuple[dt.date, dt.date]:
    """Return the first and last day of the URL's period. The page shows what is wrong with it."""
    try:
        days = DayRange.read(request.GET.dict())
    except InvalidDaysError as error:
        report_invalid_period(request, error)
        days = DayRange()
    last = days.last or max(day, days.first or day)
    if days.first is None:
        return last - (DAYS - 1) * _DAY, last
    if (last - days.first).days >= MOST_DAYS:
        text = _("A period can have at most %(n)d days. Only the last %(n)d are shown.")
        messages.warning(request, text % {"n": MOST_DAYS})
        return last - (MOST_DAYS - 1) * _DAY, last
    return days.first, last


def _presets(chosen: DayRange, section: str, day: dt.date) -> list[dict[str, Any]]:
    month = DayRange.of_month(day)
    month_before = DayRange.of_month(day.replace(day=1) - dt.timedelta(days=1))
    named = {
        _("Today"): DayRange(day, day),
        _("7 days"): DayRange.until(day, 7),
        _("30 days"): DayRange.until(day, 30),
        _("90 days"): DayRange.until(day, 90),
        _("This month"): month,
        _("Last month"): month_before,
    }
    kept = {"section": section} if section else {}
    return [
        {"label": label, "url": f"?{urlencode(days.parameters | kept)}", "chosen": days == chosen}
        for label, days in named.items()
    ]


def _sections(chosen: str) -> dict[str, str]:
    sections = conf.sections()
    if chosen:
        sections.setdefault(chosen, chosen)
    return sections


def _cards(report: PeriodReport, links: Links) -> list[Card]:
    totals = report.totals
    return [
        calls_card(totals, links.to()),
        Card(
            _("Tokens"),
            tokens_text(totals),
            _("%(prompt)s prompt, %(completion)s completion")
            % {
                "prompt": number_text(totals.prompt_tokens),
                "completion": number_text(totals.completion_tokens),
            },
        ),
        Card(
            _("Cost"),
            cost_text(totals),
            _("excluding unpriced calls") if totals.unpriced else "",
        ),
        Card(
            _("Failures"),
            count(totals.failures),
            share(totals.failures, totals.calls),
            links.to(success__exact=0),
        ),
        Card(_("Users"), count(report.users), ""),
    ]


def _unknown(totals: Totals, links: Links) -> list[Card]:
    def card(value: str, number: int, failed: int) -> Card:
        detail = _("%(n)s of %(all)s calls") % {"n": count(number), "all": count(totals.calls)}
        if failed:
            detail += ", " + _("besides %(n)s that failed") % {"n": count(failed)}
        label = str(UNKNOWN_LABELS[value])
        return Card(label, share(number, totals.calls), detail, links.to(unknown=value))

    return [
        card("user", totals.unattributed, 0),
        card("usage", totals.unknown_usage, totals.failed_unknown_usage),
        card("cost", totals.unpriced, totals.failed_unpriced),
    ]


def _kinds(totals: Totals) -> list[Card]:
    """Return the sums of the units that any call counted."""
    of_prompt, of_completion = _("part of the prompt"), _("part of the completion")
    both = _("of prompt and completion")
    named = (
        (_("Prompt tokens"), totals.prompt_tokens, ""),
        (_("Cached tokens"), totals.cached_tokens, of_prompt),
        (_("Cache writes"), totals.cache_write_tokens, of_prompt),
        (_("Audio tokens"), totals.audio_tokens, both),
        (_("Image tokens"), totals.image_tokens, both),
        (_("Completion tokens"), totals.completion_tokens, ""),
        (_("Reasoning tokens"), totals.reasoning_tokens, of_completion),
        (_("Tool calls"), totals.tool_calls, _("searches and code that providers ran")),
    )
    return [
        Card(label, count(number), detail) for label, number, detail in named if number is not None
    ]


def _unpriced(models: Sequence[UnpricedModel], links: Links) -> Table:
    return Table(
        _("Models without a price"),
        (_("Model"), _("Calls"), _("Units"), _("Reason")),
        tuple(
            Line(
                " / ".join((model.provider or "?", model.model_name or "?")),
                links.to(unknown="cost", provider=model.provider, model_name=model.model_name),
                (count(model.calls), ", ".join(model.units), model.reason),
            )
            for model in models
        ),
    )


def _tables(report: PeriodReport, links: Links) -> list[Table]:
    headings = (_("Calls"), _("Share"), _("Tokens"), _("Cost"), _("Failures"), _("Average time"))
    calls = report.totals.calls
    return [
        Table(
            _("Sections"),
            (_("Section"), *headings),
            tuple(
                Line(
                    line.display_name,
                    links.to(section=line.section),
                    _cells(line.figures, calls),
                )
                for line in report.by_section
            ),
        ),
        Table(
            _("Models"),
            (_("Model"), *headings),
            tuple(
                Line(
                    " / ".join((line.provider or "?", line.model_name or "?")),
                    links.to(provider=line.provider, model_name=line.model_name),
                    _cells(line.figures, calls),
                )
                for line in report.by_model
            ),
            _more(report.models, len(report.by_model)),
        ),
        Table(
            _("Top users"),
            (_("User"), *headings),
            tuple(
                Line(
                    _("Unattributed") if line.username is None else line.username,
                    links.to(unknown="user")
                    if line.user_id is None
                    else links.to(user=line.user_id),
                    _cells(line.figures, calls),
                    "ai-usage-unknown" if line.username is None else "",
                )
                for line in report.top_users
            ),
            _more(report.users, sum(line.user_id is not None for line in report.top_users)),
        ),
        Table(
            _("Failures"),
            (_("Error"), _("Calls"), _("Share of failures")),
            tuple(
                Line(
                    line.error_message or _("(no message)"),
                    links.to(success__exact=0, q=line.error_message[:_SEARCHED].strip()),
                    (
                        count(line.figures.calls),
                        share(line.figures.calls, report.totals.failures),
                    ),
                )
                for line in report.by_error
            ),
            _more(report.errors, len(report.by_error)),
        ),
    ]


def _cells(totals: Totals, calls: int) -> tuple[str, ...]:
    return (
        count(totals.calls),
        share(totals.calls, calls),
        tokens_text(totals),
        cost_text(totals),
        count(totals.failures),
        average_text(totals),
    )


def _more(number: int, shown: int) -> str:
    if number <= shown:
        return ""
    return _("Showing the first %(shown)s of %(all)s.") % {
        "shown": count(shown),
        "all": count(number),
    }
