"""How the cost of a call came about: the price of each unit, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..delivery.row_values import event_of
from ..events import UsageEvent
from ..maintenance import reprice
from ..models import AIUsageLog
from ..pricing import PROVIDER, Line, Quote, data, facts_of, own, quote
from ..reports import REPRICE, setting_for
from .formatting import count


@dataclass(frozen=True, slots=True)
class CostLine:
    """One unit of a call with its price, as text."""

    unit: str
    number: str
    price: str
    cost: str
    source: str
    #: The model, if it is not the one of the call.
    model: str


@dataclass(frozen=True, slots=True)
class CallCost:
    """How the cost of a call came about, as text; "" where there is nothing to say."""

    lines: tuple[CostLine, ...]
    #: The cost of the row.
    cost: str
    #: Where the cost is from, if it has no lines.
    source: str
    #: The discounts and surcharges of AI_USAGE_PRICES, with the model if it is not the call's.
    discount: str
    #: The facts of the answer that the price depends on.
    facts: str
    #: Why there is no cost.
    reason: str
    #: The line of settings that prices the call.
    setting: str
    #: What has changed since the row was written.
    change: str
    #: The command that brings such rows up to date, "" if it would leave this one alone.
    command: str


def call_cost_of(log: AIUsageLog) -> CallCost:
    """Return how the cost of `log` came about, by today's prices; it makes no query."""
    event = event_of(log)
    found = quote(event, lines=True)
    is_unpriced = log.cost is None and found.cost is None
    command = _command(log, found)
    return CallCost(
        lines=tuple(_line(line, _source(line, event)) for line in found.lines),
        cost="" if log.cost is None else exact_usd(log.cost),
        source=_("reported by the provider") if found.source == PROVIDER else "",
        discount=_discounts(found, event),
        facts=", ".join(f"{name}: {value}" for name, value in sorted(facts_of(event).items())),
        reason=(found.reason or _("nothing was counted")) if is_unpriced else "",
        setting=_setting(event, found) if is_unpriced and command else "",
        change=_change(log, found),
        command=command,
    )


def _line(line: Line, source: str) -> CostLine:
    number = line.number
    return CostLine(
        unit=line.unit.replace("_", " "),
        number=count(number) if isinstance(number, int) else _plain(number),
        price=f"{exact_usd(line.price)} {_per(line.per)}",
        cost=exact_usd(line.cost),
        source=source,
        model=line.model,
    )


def _per(number: int) -> str:
    names = {
        1: _("each"),
        60: _("per minute"),
        1_000: _("per thousand"),
        3_600: _("per hour"),
        1_000_000: _("per million"),
    }
    return names.get(number) or _("per %(n)s") % {"n": count(number)}


def _source(line: Line, event: UsageEvent) -> str:
    site = _own_prices(line.model, event)
    if site is not None and (site.base is not None or line.unit in site.more):
        return "AI_USAGE_PRICES"
    return data.load().version


def _own_prices(model: str, event: UsageEvent) -> own.OwnPrices | None:
    """Return what AI_USAGE_PRICES says about `model` in the call; "" is the call's own model."""
    name = model or event.model_name
    return own.find(event.provider, name, event.created_at, facts_of(event))


def _discounts(found: Quote, event: UsageEvent) -> str:
    texts = []
    for model in dict.fromkeys(line.model for line in found.lines):
        site = _own_prices(model, event)
        if site is not None and site.factor != 1:
            text = _discount(site.factor)
            texts.append(f"{model}: {text}" if model else text)
    return ", ".join(texts)


def _discount(factor: Decimal) -> str:
    percent = {"n": _plain(abs(1 - factor) * 100)}
    return _("%(n)s %% discount") % percent if factor < 1 else _("%(n)s %% surcharge") % percent


def _change(log: AIUsageLog, found: Quote) -> str:
    if found.cost == log.cost:
        return ""
    if found.cost is None:
        return _("Today's prices give no cost: %(reason)s.") % {
            "reason": found.reason or _("nothing was counted")
        }
    today = {"cost": exact_usd(found.cost)}
    says = log.metadata if isinstance(log.metadata, dict) else {}
    if log.cost is not None and "cost_source" not in says:
        text = _(
            "By today's prices, the call would cost %(cost)s. The row does not say where its cost "
            "is from; it may be the provider's own figure."
        )
        return text % today
    return _("Prices have changed since: today the call would cost %(cost)s.") % today


def _command(log: AIUsageLog, found: Quote) -> str:
    """Return the command that prices such rows, "" if it would leave this one alone."""
    if not reprice.is_selected(log) or reprice.reason_to_keep(log):
        return ""
    if log.cost is None:
        return REPRICE
    return REPRICE.partition(" ")[0] if found.cost not in (None, log.cost) else ""


def _setting(event: UsageEvent, found: Quote) -> str:
    counted: Mapping[str, Any] = event.units
    return setting_for(
        event.provider,
        event.model_name,
        [unit for unit, number in counted.items() if number and unit in data.load().units],
        found.unpriced_units,
        found.reason,
    )


def exact_usd(amount: Decimal) -> str:
    """Format an amount to all of its digits."""
    return f"${_plain(amount)}"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    digits = text.rstrip("0").rstrip(".") if "." in text else text
    return str(number_format(digits, force_grouping=True))
