"""The cost of a call in USD: the provider's own figure, else the site's price, else the table's."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from typing import Any

from ..errors import contain
from ..events import MAX_COST, UsageEvent
from ..usage import ITERATIONS, MIXED, REQUESTS, parts_of
from . import data, own, table, tariffs
from .tariffs import Line, Sizes, exact

__all__ = [
    "Line",
    "Quote",
    "facts_of",
    "price",
    "quote",
    "unknown_model",
    "warm_up",
]

#: Values of `cost_source`; the third is the name and version of the table.
PROVIDER, SITE = "provider", "site"
#: The operation and the service tier of calls in a batch, and how genai-prices names such a call.
BATCH = "batch"

_QUANTUM = Decimal("1e-10")
_ONE = Decimal(1)
#: Python's own: the thread of a caller may calculate with fewer digits.
_ARITHMETIC = Context(prec=28, traps=[InvalidOperation, DivisionByZero, Overflow])
#: Older releases keep the tier of a call here alone.
_FORMER_TIERS = frozenset({"flex", "priority", BATCH})
#: Counts of `metadata["clamped"]` that no price depends on.
_NOT_PRICED = frozenset({"response_time_ms"})


@dataclass(frozen=True, slots=True)
class Quote:
    """What a call costs, and why."""

    #: USD, to ten decimal places; None if it is unknown.
    cost: Decimal | None = None
    #: Where the cost is from: "provider", "site", or the price table, such as "genai-prices 0.2.3".
    source: str = ""
    #: Why the cost is unknown, "" if it is known.
    reason: str = ""
    #: The counted units that have no price, if that is the reason.
    unpriced_units: tuple[str, ...] = ()
    #: Whether the reason is that no price of the call's model is known, as its name shows.
    is_model_unknown: bool = False
    #: Number and price of each unit; empty if the provider reported the cost.
    lines: tuple[Line, ...] = ()
    #: The factor of the site's discount; 1 without one.
    factor: Decimal = _ONE

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the metadata of the row says about the cost."""
        found: dict[str, Any] = {}
        if self.source:
            found["cost_source"] = self.source
        if self.unpriced_units:
            found["unpriced_units"] = list(self.unpriced_units)
        if self.reason and not self.is_model_unknown:
            found["unpriced_reason"] = self.reason
        return found


def price(event: UsageEvent) -> Decimal | None:
    """Return the cost of `event` in USD, to ten decimal places.

    Returns:
        None if the usage or the price is unknown.
    """
    return quote(event).cost


def quote(event: UsageEvent, *, lines: bool = False) -> Quote:
    """Return what `event` costs; if the event has a cost, the provider reported it.

    Args:
        event: The event of a call.
        lines: Whether to return the price of each unit in `Quote.lines`.
    """
    if event.cost is not None:
        return Quote(event.cost.quantize(_QUANTUM, context=_ARITHMETIC), PROVIDER)
    if not event.is_known:
        return Quote()
    clamped = event.metadata.get("clamped")
    if isinstance(clamped, dict) and (names := sorted(set(clamped) - _NOT_PRICED)):
        return Quote(reason=f"not a valid value: {', '.join(names)}")
    try:
        with localcontext(_ARITHMETIC):
            return _calculated(event, wants_lines=lines)
    except tariffs.UnpricedError as error:
        return Quote(reason=str(error), unpriced_units=error.units)
    except ValueError as error:
        return Quote(reason=str(error))
    except Exception as error:  # noqa: BLE001 -- a price table must not lose the tokens
        contain(error, "pricing.price")
        return Quote(reason=f"the prices cannot be read: {type(error).__name__}")


def warm_up() -> None:
    """Read the price table ahead of its first use."""
    data.load()


def facts_of(event: UsageEvent) -> dict[str, str]:
    """Return the facts of a call that its price may depend on, without the standard ones."""
    found = {
        name: value.lower()
        for name, value in event.price_context.items()
        if isinstance(value, str) and value
    }
    if not found:
        former = event.metadata.get("service_tier")
        if isinstance(former, str) and former in _FORMER_TIERS:
            found["service_tier"] = former
    if event.operation == BATCH or found.get("service_tier") == BATCH:
        found.pop("service_tier", None)
        found["processing"] = BATCH
    return found


def _calculated(event: UsageEvent, *, wants_lines: bool) -> Quote:
    facts = facts_of(event)
    cost, factor, is_own = Decimal(0), _ONE, False
    lines: list[Line] = []
    for model, counts in parts_of(event.units, event.usage_details.get(ITERATIONS)):
        sizes = _sizes(counts)
        name = model or event.model_name
        tariff = table.find(event.provider, name)
        if tariff is None and not model:
            tariff = _of_answer(event)
        site = own.find(event.provider, name, event.created_at, facts)
        if site is not None:
            tariff = own.applied(site, tariff)
        if tariff is None:
            reason = unknown_model(event.provider, name)
            return Quote(reason=reason, is_model_unknown=not model)
        part = tariff.cost(counts, event.created_at, facts, sizes)
        if site is not None:
            part *= site.factor
            is_own = is_own or site.has_prices or site.factor != 1
            factor = factor if model else site.factor
        cost += part
        if wants_lines:
            billed = tariff.bill(counts, event.created_at, facts, sizes)
            lines += [line._replace(model=model) for line in billed]
    if cost >= MAX_COST:
        return Quote(reason=f"{cost:.2f} USD is too much for one call")
    source = SITE if is_own else data.load().version
    return Quote(cost.quantize(_QUANTUM), source, lines=tuple(lines), factor=factor)


def _of_answer(event: UsageEvent) -> tariffs.Tariff | None:
    """Return the tariff of the model that answered, if the call names a deployment of the site."""
    name = event.metadata.get("response_model")
    return table.find(event.provider, name) if isinstance(name, str) else None


def unknown_model(provider: str, name: str) -> str:
    """Return the reason why a call to a model without a price has no cost."""
    if not name:
        return "the model is unknown"
    return f"no price for the model {name} of {provider or 'an unknown provider'}"


def _sizes(counts: dict[str, Any]) -> Sizes | None:
    """Remove the number of requests from the counts of a part; return their sizes, if several."""
    number, mixed = counts.pop(REQUESTS, 0), counts.pop(MIXED, 0)
    if not number and not mixed:
        return None
    whole = exact(counts.get("input_tokens", 0))
    average = whole / Decimal(number or mixed)
    return Sizes(number, average, average) if number else Sizes(mixed, average, whole)
