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

`additions.json` has published prices that genai-prices lacks, each with the page that says so: a
price of a unit that has none, or a variant for the models that have none for the same facts. It
also names prices of genai-prices that the provider's page contradicts; they are unknown here.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name("prices.json")
ADDITIONS = Path(__file__).with_name("additions.json")


class ContradictionError(ValueError):
    """Counts that contradict each other, such as more cache reads than input tokens."""


class UnknownFactError(ValueError):
    """The prices do not say what a call with these facts costs."""

    def __init__(self, facts: list[tuple[str, str]]) -> None:
        named = " and ".join(f"{name}={value}" for name, value in facts)
        super().__init__(f"no price for {named}")


class UnpricedError(ValueError):
    """Units that have no price, neither their own nor that of a unit they are part of."""

    def __init__(self, units: tuple[str, ...]) -> None:
        super().__init__(f"no price for {', '.join(units)}")
        self.units = units


class Tiers(NamedTuple):
    """A price that depends on the size of the input; the whole call is billed at one price."""

    base: Decimal
    #: (above this many input tokens, the price), the largest first; None if it is not known.
    steps: tuple[tuple[int, Decimal | None], ...]

    def at(self, size: int | Decimal) -> Decimal | None:
        """Return the price for `size` input tokens, None if it is not known."""
        return next((price for start, price in self.steps if size > start), self.base)


#: Unit → its price; None if it has a price of its own, which is not known.
Prices = Mapping[str, Decimal | Tiers | None]
#: Unit → count. A unit that was not counted is absent, which is not the same as 0.
Counts = Mapping[str, int | float | Decimal]
#: Facts of the answer that the price depends on, such as `{"service_tier": "flex"}`.
Facts = Mapping[str, str]


class Line(NamedTuple):
    """One line of a bill: so many of a unit, at its price."""

    unit: str
    number: int | Decimal
    #: USD for `per` of the unit.
    price: Decimal
    per: int
    #: The model, if it is not the one of the call.
    model: str = ""

    @property
    def cost(self) -> Decimal:
        """The cost in USD."""
        return self.price * self.number / self.per


class Entry(NamedTuple):
    """Prices with the conditions under which they apply."""

    prices: Prices
    #: Facts that the call must have, such as its service tier.
    when: Facts = {}
    #: The first day, in UTC.
    start: dt.date | None = None
    #: The time of day when they begin and end, in UTC; the end may be on the next day.
    between: tuple[dt.time, dt.time] | None = None
    #: If set, `prices` is empty, and these units cost the standard price times the factor.
    factor: tuple[Decimal, frozenset[str]] | None = None
    #: Whether the prices are only known from Monday to Friday in China.
    weekdays: bool = False

    def in_force(self, at_time: dt.datetime) -> bool:
        """Return whether the prices apply at `at_time`, which is in UTC."""
        if self.start is not None:
            return at_time.date() >= self.start
        if self.between is not None:
            start, end = self.between
            time = at_time.time()
            return start <= time < end if start <= end else time >= start or time < end
        return True


class Step(NamedTuple):
    """How to bill one unit: what is counted of it and not of its parts, at a price."""

    unit: str
    #: The units to subtract, because they are part of it and billed before.
    parts: tuple[str, ...]
    #: USD for `per` of the unit; None if it is not known.
    price: Decimal | Tiers | None
    per: int
    #: USD for one of the unit, if the price is the same for every size and a decimal number.
    each: Decimal | None

    def line(self, number: int | Decimal, size: int | Decimal) -> Line:
        """Return the line for `number` of the unit, in a call with `size` input tokens.

        Raises:
            UnpricedError: The price is not known.
        """
        price = self.price.at(size) if isinstance(self.price, Tiers) else self.price
        if price is None:
            raise UnpricedError((self.unit,))
        return Line(self.unit, number, price, self.per)


class Plan(NamedTuple):
    """How to bill a set of counted units: the most specific units come first."""

    steps: tuple[Step, ...]
    #: Counted units without a price.
    unpriced: tuple[str, ...]
    #: Why these units cannot be counted together, "" if they can.
    contradiction: str


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of a provider for one model."""

    entries: tuple[Entry, ...]
    variants: tuple[Entry, ...] = ()
    #: The fewest seconds of audio that are billed.
    least_seconds: int = 0
    #: Plans by counted units, for calls that are not special.
    _plans: dict[tuple[tuple[str, ...], tuple[str, ...]], Plan] = field(
        default_factory=dict, compare=False, repr=False
    )

    def prices(self, at_time: dt.datetime, facts: Facts) -> Prices:
        """Return the prices of a call at `at_time`, an aware datetime, with these facts.

        Raises:
            UnknownFactError: The tariff does not say what a call with these facts costs.
        """
        at_time = at_time.astimezone(dt.UTC)
        in_force = (each for each in reversed(self.entries) if each.in_force(at_time))
        entry = next(in_force, self.entries[0])
        if entry.weekdays and (at_time + _CHINA).weekday() > _FRIDAY:
            raise UnknownFactError([("day", f"{at_time + _CHINA:%A}")])
        standard = entry.prices
        if not facts:
            return standard
        prices, known = standard, set[str]()
        # Where two variants name a price, the first wins.
        for variant in reversed(self.variants):
            if variant.when.items() <= facts.items() and variant.in_force(at_time):
                if variant.factor is not None:
                    prices = _with_factor(prices, *variant.factor)
                prices = _overlaid(prices, variant.prices)
                known |= variant.when.keys()
        if unknown := facts.keys() - known:
            raise UnknownFactError(sorted((name, facts[name]) for name in unknown))
        return prices

    def bill(self, counts: Counts, at_time: dt.datetime, facts: Facts) -> list[Line]:
        """Return the lines of the bill of a call at `at_time`, an aware datetime.

        Args:
            counts: The units that were counted; zeros may be left out.
            at_time: When the call was made.
            facts: The facts of the call that are not the standard.

        Raises:
            ContradictionError: The counts contradict each other.
            UnknownFactError: The tariff does not say what a call with these facts costs.
            UnpricedError: A unit has no price.
        """
        size = counts.get("input_tokens", 0)
        return [
            step.line(exact(number), exact(size))
            for step, number in self._billed(counts, at_time, facts)
        ]

    def cost(self, counts: Counts, at_time: dt.datetime, facts: Facts) -> Decimal:
        """Return the sum of `bill` in USD; it raises the same errors."""
        total = Decimal(0)
        size = counts.get("input_tokens", 0)
        for step, number in self._billed(counts, at_time, facts):
            if step.each is not None and type(number) is int:
                total += step.each * number
            else:
                total += step.line(exact(number), exact(size)).cost
        return total

    def _billed(
        self, counts: Counts, at_time: dt.datetime, facts: Facts
    ) -> list[tuple[Step, int | float | Decimal]]:
        """Return how many of each unit are billed at its own price."""
        if self.least_seconds:
            counts = self._with_least_seconds(counts)
        zeros: tuple[str, ...] = ()
        if not all(counts.values()):
            zeros = tuple(unit for unit, count in counts.items() if not count)
            counts = {unit: count for unit, count in counts.items() if count}
        plan = self._plan(tuple(counts), zeros, at_time, facts)
        if plan.unpriced:
            raise UnpricedError(plan.unpriced)
        if plan.contradiction:
            raise ContradictionError(plan.contradiction)
        billed: dict[str, Any] = {}
        found = []
        for step in plan.steps:
            number: Any = 1 if step.unit == "requests" else counts[step.unit]
            for part in step.parts:
                number -= billed[part]
            if number < 0:
                raise ContradictionError(f"the parts of {step.unit} are more than the whole")
            billed[step.unit] = number
            if number:
                found.append((step, number))
        return found

    def _plan(
        self, counted: tuple[str, ...], zeros: tuple[str, ...], at_time: dt.datetime, facts: Facts
    ) -> Plan:
        if facts or len(self.entries) > 1:
            return plan_for(self.prices(at_time, facts), counted, zeros)
        key = counted, zeros
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = plan_for(self.entries[0].prices, counted, zeros)
        return plan

    def _with_least_seconds(self, counts: Counts) -> Counts:
        seconds = counts.get("audio_seconds") or counts.get("input_audio_seconds")
        if not seconds:
            return counts
        seconds = max(seconds, self.least_seconds)
        return {**counts, "audio_seconds": seconds, "input_audio_seconds": seconds}


def exact(count: int | float | Decimal) -> int | Decimal:
    """Return a count that can be multiplied by a price."""
    return Decimal(repr(count)) if isinstance(count, float) else count


def _overlaid(prices: Prices, more: Prices) -> Prices:
    """Return the prices with `more` in their place.

    One price in place of several steps is that of the first step; the others are unknown.
    """
    found = {**prices, **more}
    for unit, price in more.items():
        standard = prices.get(unit)
        if isinstance(standard, Tiers) and isinstance(price, Decimal):
            found[unit] = Tiers(price, tuple((start, None) for start, _ in standard.steps))
    return found


def _with_factor(prices: Prices, factor: Decimal, units: frozenset[str]) -> Prices:
    """Return the prices with those of `units` times `factor`; those of other tokens are unknown."""
    kinds = load().units
    found: dict[str, Decimal | Tiers | None] = {}
    for unit, price in prices.items():
        if unit in units and price is not None:
            found[unit] = multiplied(price, factor)
        else:
            found[unit] = None if ("family", "tokens") in kinds[unit].dimensions else price
    return found


def multiplied(price: Decimal | Tiers, factor: Decimal) -> Decimal | Tiers:
    """Return a price times `factor`."""
    if isinstance(price, Tiers):
        steps = tuple((start, None if at is None else at * factor) for start, at in price.steps)
        return Tiers(price.base * factor, steps)
    return price * factor


class Unit(NamedTuple):
    """A unit that is counted, such as input tokens."""

    #: The count that a price is for.
    per: int
    dimensions: frozenset[tuple[str, str]]


class Table(NamedTuple):
    """The content of `prices.json`."""

    #: Such as "genai-prices 0.2.3".
    version: str
    units: Mapping[str, Unit]
    providers: list[dict[str, Any]]
    additions: list[dict[str, Any]]


_CHINA = dt.timedelta(hours=8)
_FRIDAY = 4


# Without a lock, two threads may both read the file, which does no harm. A lock could be held when
# the process forks.
@cache
def load() -> Table:
    """Return the table; the first call reads it, which takes 5 ms and 3 MB and imports nothing."""
    data = json.loads(PATH.read_bytes(), parse_float=Decimal)
    units = {
        name: Unit(unit["per"], frozenset(unit["dimensions"].items()))
        for name, unit in data["units"].items()
    }
    additions = json.loads(ADDITIONS.read_bytes(), parse_float=Decimal)
    source = data["source"]
    return Table(f"{source['name']} {source['version']}", units, data["providers"], additions)


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
                    tariff = _tariff(entry, has_variants=place is home)
                    return _with_additions(tariff, home["id"], spelling)
    return None


def _with_additions(tariff: Tariff, provider: str, model: str) -> Tariff:
    for addition in load().additions:
        if addition["provider"] != provider:
            continue
        if "match" in addition and not _matches(addition["match"], model):
            continue
        tariff = _added(tariff, addition)
    return tariff


def _added(tariff: Tariff, addition: dict[str, Any]) -> Tariff:
    if variant := addition.get("variant"):
        if any(each.when == variant["when"] for each in tariff.variants):
            return tariff
        return replace(tariff, variants=(*tariff.variants, _entry(variant)))
    if addition.get("weekdays"):
        entries = (each._replace(weekdays=each.between is not None) for each in tariff.entries)
        return replace(tariff, entries=tuple(entries))
    added = _entry(addition).prices
    overrides: Prices = addition.get("overrides", {})
    return replace(
        tariff,
        entries=tuple(
            each._replace(prices={**added, **each.prices, **overrides}) for each in tariff.entries
        ),
    )


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
    """Return whether a match of the file fits `text`, in lower case; None never fits."""
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
    factor = entry.get("factor")
    return Entry(
        prices={unit: _price(price) for unit, price in entry.get("prices", {}).items()},
        when=entry.get("when", {}),
        start=dt.date.fromisoformat(day) if day else None,
        between=(read(times[0]), read(times[1])) if times else None,
        factor=None if factor is None else (Decimal(factor), frozenset(entry["units"])),
    )


def _price(price: Any) -> Decimal | Tiers:
    if not isinstance(price, list):
        return Decimal(price)
    base, *steps = price
    return Tiers(Decimal(base), tuple((start, Decimal(at)) for start, at in reversed(steps)))


def plan_for(prices: Prices, counted: tuple[str, ...], zeros: tuple[str, ...] = ()) -> Plan:
    """Return how to bill the units `counted` at these prices; `zeros` were counted as 0."""
    shape = _shape(frozenset(prices), frozenset(counted), frozenset(zeros))
    steps = []
    for unit, per, parts in shape.steps:
        price = prices[unit]
        each = None
        if isinstance(price, Decimal) and per in _POWERS_OF_TEN:
            each = price.scaleb(-_POWERS_OF_TEN[per])
        steps.append(Step(unit, parts, price, per, each))
    return Plan(tuple(steps), shape.unpriced, shape.contradiction)


_POWERS_OF_TEN = {10**exponent: exponent for exponent in range(10)}


class _Shape(NamedTuple):
    """A plan without its prices: the units to bill, and the parts of each."""

    #: For each priced unit that was counted: what its price is for, and its parts.
    steps: tuple[tuple[str, int, tuple[str, ...]], ...]
    unpriced: tuple[str, ...]
    contradiction: str


@lru_cache(maxsize=2048)
def _shape(priced: frozenset[str], counted: frozenset[str], zeros: frozenset[str]) -> _Shape:
    units = load().units
    unpriced = tuple(
        unit
        for unit in units
        if unit in counted and unit not in priced and not any(_is_part(unit, p) for p in priced)
    )
    # A newer release, whose table has more units, may have counted them.
    unpriced += tuple(sorted(counted.difference(units)))
    for unit in sorted(priced - counted):
        for names in _implying(unit):
            # A count of 0 is a count, except if a part of the unit is more than 0.
            is_known = unit in zeros and len(names) > 1
            if counted.issuperset(names) and not is_known:
                reason = f"{unit} is not counted, but {' and '.join(names)} are"
                return _Shape((), unpriced, reason)
    for join in _joins(priced & counted):
        if join not in priced:
            # The table always has such a price; AI_USAGE_PRICES may lack it.
            return _Shape((), unpriced, f"{join} has no price of its own")
    ordered = sorted(
        (name for name in priced if name in counted or name == "requests"),
        key=lambda name: (-len(units[name].dimensions), name),
    )
    steps = tuple(
        (unit, units[unit].per, tuple(part for part in ordered if _is_part(part, unit)))
        for unit in ordered
    )
    return _Shape(steps, unpriced, "")


def _joins(names: frozenset[str]) -> Iterator[str]:
    """Yield the units in which two of `names` overlap, such as cache reads of audio."""
    units = load().units
    for one, other in combinations(sorted(names), 2):
        if not _is_part(one, other) and not _is_part(other, one):
            both = units[one].dimensions | units[other].dimensions
            yield from (name for name, unit in units.items() if unit.dimensions == both)


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
