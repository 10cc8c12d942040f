"""What a call costs in USD: the provider's own figure, else the site's prices, else genai-prices.

genai-prices ships its table in the package; no network is used.
https://github.com/pydantic/genai-prices
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from . import conf
from .errors import contain
from .events import MAX_COST, UsageEvent

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

#: The kinds of price that AI_USAGE_PRICES may name, in USD per million tokens.
PRICE_KINDS = ("input", "output", "cache_read", "cache_write")

_MILLION = Decimal(10**6)
_QUANTUM = Decimal("1e-10")
# A dated or numbered variant: gpt-4o-2024-08-06, claude-sonnet-4-5-20250929, gemini-2.0-flash-001.
_VARIANT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{3,4}|latest)$")


def price(event: UsageEvent) -> Decimal | None:
    """The cost of `event` in USD to ten decimal places; None if tokens or price are unknown."""
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
    """Imports the price table (0.3 s) ahead of its first use."""
    with _importing:
        import genai_prices.data_snapshot

        genai_prices.data_snapshot.get_snapshot()


# A child that is forked in the middle of the import would keep half a module for ever.
_importing = threading.RLock()
os.register_at_fork(
    before=_importing.acquire,
    after_in_parent=_importing.release,
    after_in_child=_importing.release,
)


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
    """Cost under AI_USAGE_PRICES; cache prices default to the input price.

    None if tokens were used whose price is missing.
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
    """A price as the site wrote it; None if it is none."""
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        return None
    return rate if rate.is_finite() and rate >= 0 else None


def _look_up(event: UsageEvent) -> Decimal | None:
    from genai_prices.data_snapshot import get_snapshot

    tier = event.metadata.get("service_tier")
    tier = tier if isinstance(tier, str) else ""
    rates = _rates(id(get_snapshot()), event.provider, event.model_name, tier)
    if rates is None:
        return None
    read, write = event.cached_tokens or 0, event.cache_write_tokens or 0
    plain = (event.prompt_tokens or 0) - read - write
    if rates.is_linear and plain >= 0:
        cost = (
            rates.input * plain
            + rates.cache_read * read
            + rates.cache_write * write
            + rates.output * (event.completion_tokens or 0)
        )
        return (rates.request + cost / _MILLION).quantize(_QUANTUM)
    try:
        calculated = _calculated(
            event.provider,
            event.model_name,
            tier,
            event.created_at,
            input_tokens=event.prompt_tokens or 0,
            output_tokens=event.completion_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=write,
        )
    except (LookupError, ValueError):  # counts that make no sense to the table
        return None
    return calculated.total_price.quantize(_QUANTUM)


class _Rates(NamedTuple):
    """What genai-prices takes for a million tokens of each kind and for the request, in USD."""

    is_linear: bool
    input: Decimal = Decimal(0)
    cache_read: Decimal = Decimal(0)
    cache_write: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    request: Decimal = Decimal(0)


@lru_cache(maxsize=1024)
def _rates(snapshot: int, provider: str, model: str, tier: str) -> _Rates | None:
    """The rates of a model whose price depends on nothing but its counts; None if it is unknown.

    genai-prices takes 75 to 200 µs for each price, which is as long as the database takes for the
    row. Most prices are linear and can be asked for once; those with tiers by size or hours of
    the day are not, and are calculated for each call. `snapshot` is the table's identity.
    """
    from genai_prices.types import ModelPrice, TieredPrices

    now = datetime.now(UTC)
    kinds = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    try:
        nothing = _calculated(provider, model, tier, now, **dict.fromkeys(kinds, 0))
        if (
            not isinstance(nothing.model.prices, ModelPrice)
            or any(
                variant.constraint and variant.when == {"service_tier": tier}
                for variant in nothing.model.price_variants or ()
            )
            or any(isinstance(price, TieredPrices) for price in vars(nothing.model_price).values())
        ):
            return _Rates(is_linear=False)
        request = nothing.total_price
        totals = []
        for kind in kinds:
            counts = dict.fromkeys(kinds, 0) | {kind: 10**6}
            counts["input_tokens"] = 0 if kind == "output_tokens" else 10**6  # includes the cache
            totals.append(_calculated(provider, model, tier, now, **counts).total_price - request)
    except (LookupError, ValueError):
        return None
    return _Rates._make((True, *totals, request))


def _calculated(
    provider: str, model: str, tier: str, moment: datetime, **counts: int
) -> PriceCalculation:
    from genai_prices import Usage, calc_price

    return calc_price(
        Usage(**{kind: count for kind, count in counts.items() if count}),
        model,
        provider_id=provider or None,
        genai_request_timestamp=moment,
        price_context={"service_tier": tier} if tier else None,
    )
