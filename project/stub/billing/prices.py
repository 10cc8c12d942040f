"""Prices in USD per million tokens, by which the stub bills."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from project.stub.exchange import Charge

_MILLION = 10**6


class Price(NamedTuple):
    """USD per million tokens."""

    fresh: Decimal
    cached: Decimal
    cache_write: Decimal
    output: Decimal


def _price(fresh: str, cached: str, cache_write: str, output: str) -> Price:
    return Price(Decimal(fresh), Decimal(cached), Decimal(cache_write), Decimal(output))


#: The prices of the providers, as the package genai-prices has them.
PRICES = {
    "gpt-4o-2024-08-06": _price("2.50", "1.25", "2.50", "10.00"),
    "gpt-4o-mini-2024-07-18": _price("0.15", "0.075", "0.15", "0.60"),
    "gpt-4.1-2025-04-14": _price("2.00", "0.50", "2.00", "8.00"),
    "gpt-4.1-mini-2025-04-14": _price("0.40", "0.10", "0.40", "1.60"),
    "gpt-4.1-nano-2025-04-14": _price("0.10", "0.025", "0.10", "0.40"),
    "gpt-5-2025-08-07": _price("1.25", "0.125", "1.25", "10.00"),
    "gpt-5-mini-2025-08-07": _price("0.25", "0.025", "0.25", "2.00"),
    "gpt-5-nano-2025-08-07": _price("0.05", "0.005", "0.05", "0.40"),
    "gpt-5.1-2025-11-13": _price("1.25", "0.125", "1.25", "10.00"),
    "o4-mini-2025-04-16": _price("1.10", "0.275", "1.10", "4.40"),
    "text-embedding-3-small": _price("0.02", "0.02", "0.02", "0"),
    "text-embedding-3-large": _price("0.13", "0.13", "0.13", "0"),
    "claude-opus-4-5-20251101": _price("5.00", "0.50", "6.25", "25.00"),
    "claude-sonnet-4-5-20250929": _price("3.00", "0.30", "3.75", "15.00"),
    "claude-haiku-4-5-20251001": _price("1.00", "0.10", "1.25", "5.00"),
    "claude-3-5-haiku-20241022": _price("0.80", "0.08", "1.00", "4.00"),
}
#: The price of models that the table does not have.
UNLISTED = _price("1.00", "0.10", "1.25", "4.00")
#: What batches cost of it.
BATCH = Decimal("0.5")


class Amount(NamedTuple):
    """A kind of tokens of one request and what they cost in USD."""

    kind: str  # the field of Price
    tokens: int
    cost: Decimal


def amounts_of(price: Price, charge: Charge, factor: Decimal) -> Iterator[Amount]:
    """Yield the parts of the cost of a request. Those without tokens are left out."""
    counts = charge.counts
    cached, cache_write = counts.cached or 0, counts.cache_write or 0
    tokens = {
        "fresh": (counts.prompt or 0) - cached - cache_write,
        "cached": cached,
        "cache_write": cache_write,
        "output": counts.completion or 0,
    }
    if charge.batch:
        factor *= BATCH
    for kind, number in tokens.items():
        if number:
            yield Amount(kind, number, getattr(price, kind) * number * factor / _MILLION)
