"""The prices of one model, and the bill of a call by them.

Prices are USD by unit. A unit is part of another if it has all dimensions of that one and more:
`cache_read_tokens` is part of `input_tokens`. Each count is billed once, at the price of the most
specific unit that has one. These are the rules of genai-prices, and tests compare both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache
from itertools import combinations
from typing import Any, NamedTuple

from .data import load

_CHINA = dt.timedelta(hours=8)
_FRIDAY = 4


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


class UnsizedError(ValueError):
    """The price depends on the size of each request, and only the sum of several is known."""

    def __init__(self) -> None:
        super().__init__("the price depends on the size of each request, and only a sum is known")


class Sizes(NamedTuple):
    """The sizes of several requests that are billed together, in input tokens."""

    requests: int
    #: The largest request has at least `least` and at most `most`.
    least: int | Decimal
    most: int | Decimal


class Tiers(NamedTuple):
    """A price that depends on the size of the input; the whole call is billed at one price."""

    base: Decimal
    #: (above this many input tokens, the price), the largest first; None if it is not known.
    steps: tuple[tuple[int, Decimal | None], ...]

    def at(self, size: int | Decimal) -> Decimal | None:
        """Return the price for `size` input tokens, None if it is not known."""
        return next((price for start, price in self.steps if size > start), self.base)

    def among(self, sizes: Sizes) -> Decimal | None:
        """Return the price for requests of these sizes, None if it is not known.

        Raises:
            UnsizedError: They may have several prices.
        """
        if sizes.least != sizes.most and sizes.most > self.steps[-1][0]:
            raise UnsizedError
        return self.at(sizes.most)


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

    def line(self, number: int | Decimal, size: int | Decimal | Sizes) -> Line:
        """Return the line for `number` of the unit, in a call with `size` input tokens.

        Raises:
            UnpricedError: The price is not known.
            UnsizedError: It depends on what is not known of `size`.
        """
        price = self.price
        if isinstance(price, Tiers):
            price = price.among(size) if isinstance(size, Sizes) else price.at(size)
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

    def bill(
        self, counts: Counts, at_time: dt.datetime, facts: Facts, sizes: Sizes | None = None
    ) -> list[Line]:
        """Return the lines of the bill of a call at `at_time`, an aware datetime.

        Args:
            counts: The units that were counted; zeros may be left out.
            at_time: When the call was made.
            facts: The facts of the call that are not the standard.
            sizes: The sizes of the requests if `counts` is a sum of several.

        Raises:
            ContradictionError: The counts contradict each other.
            UnknownFactError: The tariff does not say what a call with these facts costs.
            UnpricedError: A unit has no price.
            UnsizedError: The price depends on sizes that are not known.
        """
        size = sizes or exact(counts.get("input_tokens", 0))
        return [
            step.line(exact(number), size)
            for step, number in self._billed(counts, at_time, facts, sizes)
        ]

    def cost(
        self, counts: Counts, at_time: dt.datetime, facts: Facts, sizes: Sizes | None = None
    ) -> Decimal:
        """Return the sum of `bill` in USD; it raises the same errors."""
        total = Decimal(0)
        size = sizes or exact(counts.get("input_tokens", 0))
        for step, number in self._billed(counts, at_time, facts, sizes):
            if step.each is not None and type(number) is int:
                total += step.each * number
            else:
                total += step.line(exact(number), size).cost
        return total

    def _billed(
        self, counts: Counts, at_time: dt.datetime, facts: Facts, sizes: Sizes | None
    ) -> list[tuple[Step, int | float | Decimal]]:
        """Return how many of each unit are billed at its own price."""
        requests = 1 if sizes is None else sizes.requests
        if self.least_seconds:
            counts = self._with_least_seconds(counts, requests)
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
            number: Any = requests if step.unit == "requests" else counts[step.unit]
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

    def _with_least_seconds(self, counts: Counts, requests: int) -> Counts:
        seconds = counts.get("audio_seconds") or counts.get("input_audio_seconds")
        if not seconds:
            return counts
        if requests > 1:
            raise UnsizedError
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
