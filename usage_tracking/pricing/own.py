"""AI_USAGE_PRICES: the prices and discounts of the site.

A key is a model, `provider:model`, `provider:*` or `*`. Its value is one entry or a list of them.
An entry maps units to USD: for tokens per million, for other units see docs/prices.md. `input`,
`output`, `cache_read` and `cache_write` are short for the units of those tokens. An entry may have:

- `from`: the first day on which it applies, in UTC
- `when`: facts of the answer, such as `{"service_tier": "flex"}`; its prices replace single ones
- `discount`: the part by which everything is cheaper, such as "0.15"; a negative one is a surcharge
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from .. import conf, units
from .table import Entry, Facts, Prices, Tariff

#: Short names of entries and their units.
SHORT_NAMES = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
}
#: All names that an entry may have besides the options.
PRICE_NAMES = (*SHORT_NAMES, *units.NAMES, "requests")
_OPTIONS = ("from", "when", "discount")
#: Facts that answers state and that a price may depend on.
FACTS = (
    *("service_tier", "processing", "speed", "inference_geo", "route", "search_type"),
    *("search_context_size", "cache_ttl", "tool", "input"),
)

# A dated or numbered variant: gpt-4o-2024-08-06, claude-sonnet-4-5-20250929, gemini-2.0-flash-001.
_VARIANT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{3,4}|latest)$")


class OwnEntry(NamedTuple):
    """One entry of AI_USAGE_PRICES."""

    entry: Entry
    discount: Decimal | None

    def fits(self, at_time: dt.datetime, facts: Facts) -> bool:
        """Return whether the entry applies to a call at `at_time` (UTC) with these facts."""
        return self.entry.in_force(at_time) and self.entry.when.items() <= facts.items()


class OwnPrices(NamedTuple):
    """What the site says about the price of one call."""

    #: The prices that replace those of the table; None if the table applies.
    base: Prices | None
    #: Prices of single units for the facts of this call.
    more: Prices
    #: The facts of this call that the site's entries name.
    facts: Facts
    #: The factor on everything; 1 without a discount.
    factor: Decimal

    @property
    def has_prices(self) -> bool:
        """Whether any price is the site's own."""
        return self.base is not None or bool(self.more)


def find(provider: str, model: str, at_time: dt.datetime, facts: Facts) -> OwnPrices | None:
    """Return what the site says about a call; None if it says nothing.

    The most specific key with an entry that fits the call decides.

    Args:
        provider: The provider of the call.
        model: The model of the call.
        at_time: When the call was made, an aware datetime.
        facts: The facts of the call that are not the standard.
    """
    if not conf.prices():
        return None
    at_time = at_time.astimezone(dt.UTC)
    for key in _keys(provider, model):
        fitting = [own for own in _entries(key) if own.fits(at_time, facts)]
        if fitting:
            return _combined(fitting)
    return None


def _keys(provider: str, model: str) -> dict[str, None]:
    base = _VARIANT.sub("", model)
    names = (f"{provider}:{model}", model, f"{provider}:{base}", base, f"{provider}:*", "*")
    return dict.fromkeys(name for name in names if name)


def _combined(fitting: list[OwnEntry]) -> OwnPrices:
    base: Prices | None = None
    more: dict[str, Any] = {}
    facts: dict[str, str] = {}
    factor = Decimal(1)
    for own in fitting:  # later entries take precedence
        entry = own.entry
        if own.discount is not None:
            factor = 1 - own.discount
        facts |= entry.when
        if not entry.prices:
            continue
        if entry.when:
            more |= entry.prices
        else:
            base = entry.prices
    return OwnPrices(base, more, facts, factor)


class _Parsed:
    """The entries that were read from one value of the setting."""

    def __init__(self) -> None:
        self._prices: object = None
        self._by_key: dict[str, tuple[OwnEntry, ...]] = {}

    def of(self, prices: Mapping[str, Any]) -> dict[str, tuple[OwnEntry, ...]]:
        """Return the entries by key, as far as they were read."""
        if self._prices is not prices:
            self._prices, self._by_key = prices, {}
        return self._by_key


_seen = _Parsed()


def _entries(key: str) -> tuple[OwnEntry, ...]:
    """Return the entries of a key, those with a later `from` and those with a `when` last."""
    prices = conf.prices()
    entries = _seen.of(prices)
    if key not in entries:
        value = prices.get(key, ())
        given = [value] if isinstance(value, Mapping) else value
        entries[key] = tuple(
            sorted(
                map(_entry, given),
                key=lambda own: (bool(own.entry.when), own.entry.start or dt.date.min),
            )
        )
    return entries[key]


def _entry(given: Mapping[str, Any]) -> OwnEntry:
    prices: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _OPTIONS:
            prices[SHORT_NAMES.get(name, name)] = rate_of(value)  # None is a price that is unknown
    start, discount = given.get("from"), given.get("discount")
    return OwnEntry(
        Entry(prices, when=given.get("when") or {}, start=None if start is None else _day(start)),
        None if discount is None else _discount(discount),
    )


def rate_of(value: object) -> Decimal | None:
    """Return a price in USD as the site wrote it; None unless it is finite and at least 0."""
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        return None
    return rate if not isinstance(value, bool) and rate.is_finite() and rate >= 0 else None


def _discount(value: object) -> Decimal:
    try:
        discount = Decimal(str(value))
    except InvalidOperation:
        discount = Decimal("NaN")
    if not discount.is_finite() or not -10 <= discount < 1:
        raise ValueError(f"discount must be at least -10 and below 1, not {value!r}")
    return discount


def _day(value: object) -> dt.date:
    if isinstance(value, dt.datetime):
        return value.date()
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value))


def faults(prices: object) -> Iterator[str]:
    """Yield what is wrong with a value of AI_USAGE_PRICES, in plain English."""
    if not isinstance(prices, Mapping):
        yield f" must be a dictionary, not {type(prices).__name__}"
        return
    for key, value in prices.items():
        given = value if isinstance(value, (list, tuple)) else [value]
        for entry in given:
            if isinstance(entry, Mapping):
                yield from (f"[{key!r}] {fault}" for fault in _entry_faults(entry))
            else:
                yield f"[{key!r}] must be a dictionary or a list of them, not {entry!r}"


def _entry_faults(entry: Mapping[Any, Any]) -> Iterator[str]:
    if not entry.keys() - {"from", "when"}:
        yield "has neither a price nor a discount"
    for name, value in entry.items():
        if name == "when":
            yield from _when_faults(value)
        elif fault := _value_fault(str(name), value):
            yield fault


def _value_fault(name: str, value: object) -> str:
    if name == "from":
        try:
            _day(value)
        except ValueError:
            return f'has the date {value!r} in "from"; write it as YYYY-MM-DD'
    elif name == "discount":
        try:
            _discount(value)
        except ValueError as error:
            return str(error)
    elif name not in PRICE_NAMES:
        hint = units.suggestions(name, (*PRICE_NAMES, *_OPTIONS))
        return f"has the unknown unit {name!r}{hint}"
    elif rate_of(value) is None:
        return f"has the price {value!r} of {name}; it must be a number of USD, at least 0"
    return ""


def _when_faults(value: object) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value:
        example = '{"service_tier": "flex"}'
        yield f'has {value!r} in "when"; it must be a dictionary such as {example}'
        return
    for fact in value:
        if fact not in FACTS:
            hint = units.suggestions(str(fact), FACTS) or f"; known are {', '.join(FACTS)}"
            yield f"has the unknown fact {fact!r}{hint}"


def applied(own: OwnPrices, tariff: Tariff | None) -> Tariff | None:
    """Return the tariff of a call about which the site says `own`; None if there is none."""
    if own.base is not None:
        tariff = Tariff((Entry(own.base),))
    if tariff is None or not own.facts:
        return tariff
    named = Entry(own.more, when=own.facts)
    return replace(tariff, variants=(named, *tariff.variants))
