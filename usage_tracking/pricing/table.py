"""The price table: the price of each model, with the data and the rules of genai-prices.

genai-prices itself is not used at run time, because it imports an HTTP client and pydantic. `make
prices` writes its data to `prices.json`, and tests compare the rules below with its `calc_price`.
https://github.com/pydantic/genai-prices

Prices are USD by unit. A unit is part of another if it has all dimensions of that one and more:
`cache_read_tokens` is part of `input_tokens`. Each count is billed once, at the price of the most
specific unit that has one.

In `prices.json` each of `providers` has `models`; the first one whose `match` fits a name is the
model. A match is a string that equals the name, a list of alternatives, or an object such as
`{"contains": "claude"}`; a model without one is matched by its `id`. A price is a number, or, if it
depends on the size of the input, a list: the lowest price, then `[above this many input tokens,
price]` for each step. `prices` is a list if they depend on the date or the time of day; the last
entry in force applies. `price_variants` replace single prices if the call has the facts of `when`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name("prices.json")


class ContradictionError(ValueError):
    """Counts that contradict each other, such as more cache reads than input tokens."""


class Tiers(NamedTuple):
    """A price that depends on the size of the input; the whole call is billed at one price."""

    base: Decimal
    #: (above this many input tokens, the price), the largest first.
    steps: tuple[tuple[int, Decimal], ...]

    def at(self, size: int | Decimal) -> Decimal:
        """Return the price for `size` input tokens."""
        return next((price for start, price in self.steps if size > start), self.base)


Prices = Mapping[str, Decimal | Tiers]
#: Unit → count. A unit that was not counted is absent, which is not the same as 0.
Counts = Mapping[str, int | Decimal]


@dataclass(frozen=True, slots=True)
class Entry:
    """Prices with the conditions under which they apply."""

    prices: Prices
    #: Facts that the call must have, such as its service tier.
    when: Mapping[str, str]
    #: The first day, in UTC.
    start: dt.date | None
    #: The time of day when they begin and end, in UTC; the end may be on the next day.
    between: tuple[dt.time, dt.time] | None

    def in_force(self, at_time: dt.datetime) -> bool:
        """Return whether the prices apply at `at_time`, which is in UTC."""
        if self.start is not None:
            return at_time.date() >= self.start
        if self.between is not None:
            start, end = self.between
            time = at_time.time()
            return start <= time < end if start <= end else time >= start or time < end
        return True


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of a provider for one model."""

    entries: tuple[Entry, ...]
    variants: tuple[Entry, ...]
    #: The fewest seconds of audio that are billed.
    least_seconds: int

    def prices(self, at_time: dt.datetime, facts: Mapping[str, str]) -> Prices:
        """Return the prices of a call at `at_time`, an aware datetime, with these facts."""
        at_time = at_time.astimezone(dt.UTC)
        in_force = (each.prices for each in reversed(self.entries) if each.in_force(at_time))
        prices = dict(next(in_force, self.entries[0].prices))
        # Where two variants name a price, the first wins.
        for variant in reversed(self.variants):
            if variant.when.items() <= facts.items() and variant.in_force(at_time):
                prices.update(variant.prices)
        return prices

    def cost(self, counts: Counts, at_time: dt.datetime, facts: Mapping[str, str]) -> Decimal:
        """Return the cost in USD of a call at `at_time`, an aware datetime, with these facts.

        Raises:
            ContradictionError: The counts contradict each other.
        """
        prices = self.prices(at_time, facts)
        if self.least_seconds:
            counts = self._with_least_seconds(counts)
        units = load().units
        size: int | Decimal = 0
        if any(isinstance(price, Tiers) for price in prices.values()):
            size = _count("input_tokens", counts)
        billed = _billed(tuple(prices), counts)
        total = Decimal(0)
        for unit, price in prices.items():
            if number := billed[unit]:
                rate = price.at(size) if isinstance(price, Tiers) else price
                total += rate * number / units[unit].per
        return total

    def _with_least_seconds(self, counts: Counts) -> Counts:
        seconds = counts.get("audio_seconds") or counts.get("input_audio_seconds")
        if not seconds:
            return counts
        seconds = max(seconds, self.least_seconds)
        return {**counts, "audio_seconds": seconds, "input_audio_seconds": seconds}


class Unit(NamedTuple):
    """A unit that is counted, such as input tokens."""

    #: The count that a price is for.
    per: int
    dimensions: frozenset[tuple[str, str]]


class Table(NamedTuple):
    """The content of `prices.json`."""

    units: Mapping[str, Unit]
    providers: list[dict[str, Any]]


# No lock: two threads may both read the file, and a child forked meanwhile inherits nothing that is
# incomplete.
@cache
def load() -> Table:
    """Return the table; the first call reads it, which takes 5 ms and 3 MB and imports nothing."""
    data = json.loads(PATH.read_bytes(), parse_float=Decimal)
    units = {
        name: Unit(unit["per"], frozenset(unit["dimensions"].items()))
        for name, unit in data["units"].items()
    }
    return Table(units, data["providers"])


@lru_cache(maxsize=1024)
def find(provider: str, model: str) -> Tariff | None:
    """Return the tariff of a model; None if the table does not have it.

    If `provider` is empty, it is derived from the name of the model.
    """
    name = model.lower()
    if provider.lower() == "litellm":
        # LiteLLM puts the provider in front of the model: anthropic/claude-opus-4-1.
        prefix, slash, rest = name.partition("/")
        if slash and prefix and _provider_named(prefix):
            provider, name = prefix, rest
    home = _provider_named(provider) if provider else None
    if home is None and (not provider or provider.lower() == "litellm"):
        home = _provider_of(name)
    if home is None:
        return None
    # Azure, for example, sells OpenAI's models.
    others = home.get("fallback_model_providers", ())
    places = [home, *(each for id in others for each in load().providers if each["id"] == id)]
    for spelling in dict.fromkeys((name, _COMPACT_DATE.sub(_dashed, name))):
        for place in places:
            for entry in place["models"]:
                if _matches(entry.get("match", entry["id"]), spelling):
                    return _tariff(entry, has_variants=place is home)
    return None


def _provider_named(provider: str) -> dict[str, Any] | None:
    name = provider.lower().strip()
    providers = load().providers
    return next(
        (each for each in providers if each["id"] == name),
        next((each for each in providers if _matches(each.get("provider_match"), name)), None),
    )


def _provider_of(model: str) -> dict[str, Any] | None:
    if not model:
        return None
    return next(
        (each for each in load().providers if _matches(each.get("model_match"), model)), None
    )


# LiteLLM and OpenRouter write gpt-5.2-20251211 for gpt-5.2-2025-12-11.
_COMPACT_DATE = re.compile(r"(?<=-)20\d{6}(?=[-:]|$)")


def _dashed(match: re.Match[str]) -> str:
    try:
        return dt.date.fromisoformat(match[0]).isoformat()
    except ValueError:
        return match[0]


def _matches(pattern: Any, text: str) -> bool:
    """Whether a match of the file fits `text`, in lower case; None never fits."""
    if pattern is None:
        return False
    if isinstance(pattern, str):
        return text == pattern
    if isinstance(pattern, list):
        return any(_matches(each, text) for each in pattern)
    ((kind, operand),) = pattern.items()
    match kind:
        case "starts_with":
            return text.startswith(operand)
        case "ends_with":
            return text.endswith(operand)
        case "contains":
            return operand in text
        case "regex":
            return re.search(operand, text) is not None
        case "and":
            return all(_matches(each, text) for each in operand)
    raise ValueError(f"The price table has a match of the unknown kind {kind!r}.")


def _tariff(model: dict[str, Any], *, has_variants: bool) -> Tariff:
    prices = model["prices"]
    entries = prices if isinstance(prices, list) else [{"prices": prices}]
    variants = model.get("price_variants", ()) if has_variants else ()
    return Tariff(
        tuple(map(_entry, entries)), tuple(map(_entry, variants)), model.get("least_seconds", 0)
    )


def _entry(entry: dict[str, Any]) -> Entry:
    day, times = entry.get("from"), entry.get("between")
    read = dt.time.fromisoformat
    return Entry(
        prices={unit: _price(price) for unit, price in entry["prices"].items()},
        when=entry.get("when", {}),
        start=dt.date.fromisoformat(day) if day else None,
        between=(read(times[0]), read(times[1])) if times else None,
    )


def _price(price: Any) -> Decimal | Tiers:
    if not isinstance(price, list):
        return Decimal(price)
    base, *steps = price
    return Tiers(Decimal(base), tuple((start, Decimal(at)) for start, at in reversed(steps)))


def _billed(priced: tuple[str, ...], counts: Counts) -> dict[str, int | Decimal]:
    """Return how many of each priced unit are billed at its own price."""
    billed: dict[str, int | Decimal] = {}
    for unit, parts in _by_parts(priced):
        number = _count(unit, counts)
        for part in parts:
            number -= billed[part]
        if number < 0:
            raise ContradictionError(
                f"{unit} must not be less than the counts that are part of it."
            )
        billed[unit] = number
    return billed


def _count(unit: str, counts: Counts) -> int | Decimal:
    """Return the count of a unit; 0 if it was not counted."""
    if unit == "requests":
        return 1
    if unit in counts:
        return counts[unit]
    for names in _implying(unit):
        if all(counts.get(name) for name in names):
            raise ContradictionError(f"{unit} must be counted if {' and '.join(names)} are.")
    return 0


@lru_cache(maxsize=256)
def _by_parts(priced: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the units, each with the units that are part of it and come before it."""
    units = load().units
    ordered = sorted(priced, key=lambda name: -len(units[name].dimensions))
    return tuple(
        (unit, tuple(part for part in ordered if _is_part(part, unit))) for unit in ordered
    )


@cache
def _implying(unit: str) -> tuple[tuple[str, ...], ...]:
    """Return what implies a count of `unit`: each of its parts, and two units that overlap in it.

    For example, audio input and cache reads overlap in cache reads of audio.
    """
    units = load().units
    parts = [(name,) for name in units if _is_part(name, unit)]
    wholes = [name for name in units if _is_part(unit, name)]
    overlapping = [
        pair
        for pair in combinations(wholes, 2)
        if units[pair[0]].dimensions | units[pair[1]].dimensions == units[unit].dimensions
    ]
    return (*parts, *overlapping)


def _is_part(part: str, whole: str) -> bool:
    units = load().units
    return units[whole].dimensions < units[part].dimensions
