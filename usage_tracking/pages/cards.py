"""Cards: the sums of a period, on the dashboard beside those of the period before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..reports import Comparison, Forecast, PeriodReport, Totals
from .formatting import (
    average_text,
    change_text,
    cost_text,
    count,
    month_text,
    number_text,
    share,
    tokens_text,
    usd,
    usd_text,
)

#: Returns the list of calls, filtered also by the given parameters; "" if there is no list.
ListUrl: TypeAlias = Callable[..., str]

#: Labels of the calls of which something is unknown, by the value of the parameter `unknown`.
UNKNOWN_LABELS = {
    "user": gettext_lazy("Unattributed (no user)"),
    "usage": gettext_lazy("Unknown usage (no tokens)"),
    "cost": gettext_lazy("Unpriced (no cost)"),
}


@dataclass(frozen=True, slots=True)
class Card:
    """One value with its label."""

    label: str
    value: str
    detail: str = ""
    #: A link to the calls that the value counts.
    url: str = ""
    #: The value of the period before, and the change since.
    before: str = ""


def calls_card(totals: Totals, url: str = "", before: str = "") -> Card:
    """Return the number of calls, with their average response time."""
    average = average_text(totals)
    detail = _("%(time)s on average") % {"time": average} if average else ""
    return Card(_("Calls"), count(totals.calls), detail, url, before)


def main_cards(report: PeriodReport, compared: Comparison, url: ListUrl) -> list[Card]:
    """Return the cost, its forecast, and what was called, by how many users."""
    totals, sums = report.totals, compared.sums

    def before(value: Decimal | int | None, earlier: Decimal | int | None, text: str) -> str:
        if sums is None:
            return ""
        change = change_text(value, earlier)
        named = _("%(value)s before") % {"value": text}
        return f"{change} · {named}" if change else named

    def counted(value: int | None, earlier: int | None) -> str:
        return before(value, earlier, number_text(earlier))

    return [
        Card(
            _("Cost"),
            cost_text(totals),
            _excluding(totals.unpriced + totals.unknown_usage),
            url(),
            before(totals.cost, sums.cost, usd_text(sums.cost)) if sums else "",
        ),
        *([_forecast(compared.forecast)] if compared.forecast else []),
        calls_card(totals, url(), counted(totals.calls, sums.calls) if sums else ""),
        Card(
            _("Tokens"),
            tokens_text(totals),
            _("%(prompt)s prompt, %(completion)s completion")
            % {
                "prompt": number_text(totals.prompt_tokens),
                "completion": number_text(totals.completion_tokens),
            },
            before=counted(totals.total_tokens, sums.tokens) if sums else "",
        ),
        Card(
            _("Failures"),
            count(totals.failures),
            share(totals.failures, totals.calls),
            url(success__exact=0),
            counted(totals.failures, sums.failures) if sums else "",
        ),
        Card(
            _("Users"),
            count(report.users),
            before=counted(report.users, sums.users) if sums else "",
        ),
    ]


def unknown_cards(totals: Totals, url: ListUrl) -> list[Card]:
    """Return the calls of which something is unknown."""

    def card(value: str, number: int, failed: int) -> Card:
        detail = _("%(n)s of %(all)s calls") % {"n": count(number), "all": count(totals.calls)}
        if failed:
            detail += ", " + _("besides %(n)s that failed") % {"n": count(failed)}
        label = str(UNKNOWN_LABELS[value])
        return Card(label, share(number, totals.calls), detail, url(unknown=value))

    return [
        card("user", totals.unattributed, 0),
        card("usage", totals.unknown_usage, totals.failed_unknown_usage),
        card("cost", totals.unpriced, totals.failed_unpriced),
    ]


def kind_cards(totals: Totals) -> list[Card]:
    """Return the sums of the units that any call counted, each with its part of the whole."""
    prompt, completion = totals.prompt_tokens, totals.completion_tokens
    of_prompt, of_completion = _("%(share)s of the prompt"), _("%(share)s of the completion")
    of_all = _("%(share)s of all tokens")
    named = (
        (_("Prompt tokens"), prompt, of_all, totals.total_tokens),
        (_("Cached tokens"), totals.cached_tokens, of_prompt, prompt),
        (_("Cache writes"), totals.cache_write_tokens, of_prompt, prompt),
        (_("Completion tokens"), completion, of_all, totals.total_tokens),
        (_("Reasoning tokens"), totals.reasoning_tokens, of_completion, completion),
        (_("Audio tokens"), totals.audio_tokens, of_all, totals.total_tokens),
        (_("Image tokens"), totals.image_tokens, of_all, totals.total_tokens),
        (_("Tool calls"), totals.tool_calls, _("searches and code that providers ran"), None),
    )
    cards = []
    for label, number, detail, whole in named:
        if number is not None:
            part = share(number, whole)
            text = detail if "%(" not in detail else detail % {"share": part} if part else ""
            cards.append(Card(label, count(number), text))
    return cards


def _forecast(forecast: Forecast) -> Card:
    detail = ngettext(
        "%(so_far)s so far, then %(per_day)s a day as on the past day",
        "%(so_far)s so far, then %(per_day)s a day as on the past %(n)d days",
        forecast.days,
    ) % {"so_far": usd(forecast.so_far), "per_day": usd(forecast.per_day), "n": forecast.days}
    if forecast.unknown:
        detail += "; " + _excluding(forecast.unknown)
    label = _("Forecast for %(month)s") % {"month": month_text(forecast.month)}
    return Card(label, usd(forecast.cost), detail)


def _excluding(unknown: int) -> str:
    """Return that a cost leaves out calls of unknown cost; "" without such calls."""
    if not unknown:
        return ""
    text = ngettext(
        "without %(n)s call of unknown cost", "without %(n)s calls of unknown cost", unknown
    )
    return text % {"n": count(unknown)}
