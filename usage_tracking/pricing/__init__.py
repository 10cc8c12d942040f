"""The cost of a call in USD: the provider's own figure, else the site's price, else the table's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from .. import conf
from ..errors import contain
from ..events import MAX_COST, UsageEvent
from . import table

#: The kinds of price that AI_USAGE_PRICES may name, in USD per million tokens.
PRICE_KINDS = ("input", "output", "cache_read", "cache_write")

_MILLION = Decimal(10**6)
_QUANTUM = Decimal("1e-10")
# A dated or numbered variant: gpt-4o-2024-08-06, claude-sonnet-4-5-20250929, gemini-2.0-flash-001.
_VARIANT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{3,4}|latest)$")


def price(event: UsageEvent) -> Decimal | None:
    """Return the cost of `event` in USD, to ten decimal places.

    Returns:
        None if the tokens or the price are unknown.
    """
    if event.cost is not None:
        return event.cost.quantize(_QUANTUM)
    if not event.usage.known:
        return None
    try:
        own = _own_prices(event.provider, event.model_name)
        cost = _calculate(event, own) if own is not None else _look_up(event)
    except Exception as error:  # noqa: BLE001 -- a price table must not lose the tokens
        contain(error, "pricing.price")
        return None
    return cost if cost is None or cost < MAX_COST else None


def warm_up() -> None:
    """Read the price table ahead of its first use."""
    table.load()


def _own_prices(provider: str, model: str) -> Mapping[str, Any] | None:
    prices = conf.prices()
    if not prices:
        return None
    base = _VARIANT.sub("", model)
    for key in (f"{provider}:{model}", model, f"{provider}:{base}", base):
        if key in prices:
            return prices[key]
    return None


def _calculate(event: UsageEvent, prices: Mapping[str, Any]) -> Decimal | None:
    """Return the cost under AI_USAGE_PRICES; cache prices default to the input price.

    Returns:
        USD; None if the price of a kind of tokens that were used is missing.
    """
    read, write = event.cached_tokens or 0, event.cache_write_tokens or 0
    plain = max((event.prompt_tokens or 0) - read - write, 0)
    total = Decimal(0)
    for count, *kinds in (
        (plain, "input"),
        (read, "cache_read", "input"),
        (write, "cache_write", "input"),
        (event.completion_tokens or 0, "output"),
    ):
        if not count:
            continue
        rate = next((rate_of(prices[kind]) for kind in kinds if kind in prices), None)
        if rate is None:
            return None
        total += rate * count
    return (total / _MILLION).quantize(_QUANTUM)


def rate_of(value: object) -> Decimal | None:
    """Return a price in USD as the site wrote it; None unless it is finite and at least 0."""
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        return None
    return rate if rate.is_finite() and rate >= 0 else None


def _look_up(event: UsageEvent) -> Decimal | None:
    tariff = table.find(event.provider, event.model_name)
    if tariff is None:
        return None
    counts = {
        "input_tokens": event.prompt_tokens,
        "output_tokens": event.completion_tokens,
        "cache_read_tokens": event.cached_tokens,
        "cache_write_tokens": event.cache_write_tokens,
    }
    tier = event.metadata.get("service_tier")
    try:
        cost = tariff.cost(
            {unit: count for unit, count in counts.items() if count},
            event.created_at,
            {"service_tier": tier} if isinstance(tier, str) and tier else {},
        )
    except table.ContradictionError:
        return None
    return cost.quantize(_QUANTUM)
