"""What the dashboard shows of a reconciliation: how much of each provider's bill the log has."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..days import DayRange, aware
from ..reports import Measure, ProviderReconciliation, Reconciliation, tenths
from .cards import Card
from .formatting import count, day_text, usd

_LEAST = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Gauge:
    """A card, and the percentage that its meter draws."""

    card: Card
    #: The number as SVG writes it, in any language; "" is no meter.
    percent: str = ""


@dataclass(frozen=True, slots=True)
class BilledProvider:
    """The bill of one provider, compared with the log."""

    provider: str
    gauges: tuple[Gauge, ...]
    #: Which days are compared, and when they were fetched: labels and texts.
    facts: tuple[tuple[str, str], ...]
    #: Sentences: where the difference is.
    explanations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BilledPanel:
    """The bills of a period, or why they are not shown."""

    #: The days in UTC.
    days: str
    providers: tuple[BilledProvider, ...] = ()
    #: A sentence about what is not shown, and the command that changes it.
    note: str = ""
    command: str = ""


def billed_providers(found: Reconciliation) -> tuple[BilledProvider, ...]:
    """Return what to show of each provider with a bill."""
    return tuple(_provider(each) for each in found.providers if each.fetched_at is not None)


def percent_text(measure: Measure) -> str:
    """Format how much of the bill the log has, rounded down to one decimal.

    It is "" if nothing can be compared. Only a complete log has "100.0 %", only an empty one has
    "0.0 %".
    """
    percent = measure.percent
    if percent is None:
        return ""
    if percent < _LEAST and measure.matched:
        return f"< {number_format(_LEAST)} %"
    return f"{number_format(tenths(percent))} %"


def _provider(found: ProviderReconciliation) -> BilledProvider:
    totals = found.totals
    gauges = (
        _gauge(_("Requests captured"), totals.requests),
        _gauge(_("Tokens captured"), totals.tokens),
        Gauge(_cost_card(totals.cost)),
    )
    return BilledProvider(
        provider=found.provider,
        gauges=gauges if found.days else (),
        facts=tuple(_facts(found)),
        explanations=tuple(each.text for each in found.explanations),
    )


def _gauge(label: str, measure: Measure) -> Gauge:
    captured = "" if measure.captured is None else _captured(measure.captured)
    if measure.billed is None:
        detail = _("the provider does not say")
        return Gauge(Card(label, _("not known"), f"{detail}; {captured}" if captured else detail))
    if not measure.billed:
        return Gauge(Card(label, _("nothing billed"), captured))
    billed = _number(measure.billed)
    if measure.percent is None or measure.matched is None:
        return Gauge(Card(label, _("not known"), _("%(billed)s billed") % {"billed": billed}))
    detail = _("%(matched)s of %(billed)s billed") % {
        "matched": _number(measure.matched),
        "billed": billed,
    }
    # A surplus does not make up for what is missing elsewhere.
    if captured and measure.captured != measure.matched:
        detail = f"{detail}; {captured}"
    return Gauge(Card(label, percent_text(measure), detail), format(measure.percent, "f"))


def _cost_card(cost: Measure) -> Card:
    value = _("not known") if cost.captured is None else _usd(cost.captured)
    if cost.billed is None:
        return Card(_("Cost captured"), value, _("the provider does not say what it billed"))
    detail = _("of %(amount)s billed") % {"amount": _usd(cost.billed)}
    return Card(_("Cost captured"), value, detail)


def _facts(found: ProviderReconciliation) -> Iterator[tuple[str, str]]:
    for label, days in (
        (_("Compared"), found.days),
        (_("Provisional"), found.provisional_days),
        (_("Without a bill"), found.missing_days),
        (_("Pruned from the log"), found.pruned_days),
    ):
        if days:
            yield label, _days(days)
    if found.fetched_at is not None:
        moment = aware(found.fetched_at).astimezone(dt.UTC)
        text = f"{date_format(moment, 'DATE_FORMAT')}, {date_format(moment, 'H:i')} UTC"
        # The earliest fetch of several days.
        yield _("Fetched"), _("%(time)s or later") % {"time": text} if found.days[1:] else text


def _days(days: Collection[dt.date]) -> str:
    number = ngettext("%(n)d day", "%(n)d days", len(days)) % {"n": len(days)}
    return f"{number}: {'; '.join(day_text(each) for each in DayRange.runs_of(days))}"


def _captured(number: int | Decimal) -> str:
    return _("%(n)s captured") % {"n": _number(number)}


def _number(number: int | Decimal) -> str:
    return count(int(number))


def _usd(amount: int | Decimal) -> str:
    """Format an amount in USD, which is negative if credits exceed it."""
    text = usd(abs(Decimal(amount)))
    return f"−{text}" if amount < 0 else text  # noqa: RUF001 -- a minus sign
