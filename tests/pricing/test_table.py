"""The price table compared with genai-prices: the same data, the same models, the same costs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import genai_prices
import pytest
from genai_prices import types
from genai_prices.data import providers
from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.units import UnitDef, UnitRegistry
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.builders import NOON
from tools import prices as tool
from usage_tracking.pricing import data, table, tariffs

UNITS = UnitRegistry(unit_data).units
PLACES = Decimal("1e-12")
NO_FACTS: dict[str, str] = {}


class Call(NamedTuple):
    """A call to be priced."""

    provider: str
    model: str
    counts: tariffs.Counts
    requested_at: dt.datetime
    facts: Mapping[str, str]


def our_cost(call: Call) -> Decimal | str:
    tariff = table.find(call.provider, call.model)
    if tariff is None:
        return "no such model"
    try:
        return tariff.cost(call.counts, call.requested_at, call.facts).quantize(PLACES)
    except tariffs.UnknownFactError:
        return "a fact without a price"
    except tariffs.UnpricedError:
        return "a unit without a price"
    except tariffs.ContradictionError:
        return "counts that contradict each other"


def right_cost(call: Call) -> Decimal | str:
    """What genai-prices says, but unknown where it leaves out a unit or a fact."""
    try:
        provider, model = get_snapshot().find_provider_model(
            call.model, None, call.provider or None, None
        )
    except LookupError:
        return "no such model"
    has_variants = any(model is each for each in provider.models)
    facts = set(call.facts.items())
    for variant in model.price_variants or () if has_variants else ():
        is_in_force = variant.constraint is None or variant.constraint.active(call.requested_at)
        if is_in_force and variant.when.items() <= call.facts.items():
            facts -= set(variant.when.items())
    if facts:
        return "a fact without a price"
    prices = model.get_prices(call.requested_at, call.facts if has_variants else None)
    priced = [unit for unit in UNITS.values() if getattr(prices, unit.price_key) is not None]
    for name, number in call.counts.items():
        if number and not any(is_part_of(UNITS[name], unit) for unit in priced):
            return "a unit without a price"
    try:
        return genai_prices.calc_price(
            genai_prices.Usage(**call.counts),
            call.model,
            provider_id=call.provider or None,
            genai_request_timestamp=call.requested_at,
            price_context=call.facts,
        ).total_price.quantize(PLACES)
    except ValueError:
        return "counts that contradict each other"


def is_part_of(part: UnitDef, whole: UnitDef) -> bool:
    return whole.dimensions.items() <= part.dimensions.items()


def is_added(call: Call) -> bool:
    """Whether `additions.json` or a step of the price says something that genai-prices does not."""
    tariff = table.find(call.provider, call.model)
    if tariff is None:
        return False
    try:
        prices = tariff.prices(call.requested_at, call.facts)
    except tariffs.UnknownFactError as error:
        return "day=" in str(error)
    known = {fact for variant in tariff.variants for fact in variant.when.items()}
    return (
        None in prices.values()
        or any(isinstance(p, tariffs.Tiers) and p.at(10**12) is None for p in prices.values())
        or not set(call.facts.items()) & known <= facts_of_genai_prices(call)
        or call.model.lower().startswith("voxtral")
    )


def facts_of_genai_prices(call: Call) -> set[tuple[str, str]]:
    _, model = get_snapshot().find_provider_model(call.model, None, call.provider or None, None)
    return {fact for variant in model.price_variants or () for fact in variant.when.items()}


def differences(calls: Iterable[Call]) -> list[tuple[Call, Decimal | str, Decimal | str]]:
    """The calls whose cost, or why it is unknown, is not that of genai-prices."""
    costs = ((call, our_cost(call), right_cost(call)) for call in calls if not is_added(call))
    return [(call, ours, right) for call, ours, right in costs if ours != right]


def test_table_is_what_the_tool_makes_of_the_pinned_release():
    assert data.PATH.read_text(encoding="utf-8") == tool.table(), "Run `make prices`."


@pytest.mark.costly
def test_every_price_of_every_model_is_that_of_genai_prices():
    calls = [
        Call(provider.id, model.id, counts, requested_at, facts)
        for provider in providers
        for model in provider.models
        for requested_at in turning_points(model)
        for facts in known_facts(model)
        for counts in telling_counts(model)
    ]

    assert len(calls) > 10_000
    assert differences(calls) == []


def turning_points(model: types.ModelInfo) -> Iterator[dt.datetime]:
    """Now, and the instants at which a price of the model begins or ends with those before."""
    yield NOON
    prices = [] if isinstance(model.prices, types.ModelPrice) else model.prices
    for entry in (*prices, *(model.price_variants or ())):
        match entry.constraint:
            case types.StartDateConstraint(start_date=day):
                turns = [dt.datetime.combine(day, dt.time(), dt.UTC)]
            case types.TimeOfDateConstraint(start_time=start, end_time=end):
                turns = [dt.datetime.combine(NOON, time) for time in (start, end)]
            case _:
                turns = []
        for turn in turns:
            yield from (turn, turn - dt.timedelta(microseconds=1))


def known_facts(model: types.ModelInfo) -> list[dict[str, str]]:
    """None, each that the model knows, all of those together, and one that it does not know."""
    known = [variant.when for variant in model.price_variants or ()]
    if not known:
        return [NO_FACTS]
    together = {name: value for when in known for name, value in when.items()}
    return [NO_FACTS, *known, together, {"service_tier": "unheard of"}]


def telling_counts(model: types.ModelInfo) -> Iterator[dict[str, int]]:
    """Something of each unit that has a price: below and above every tier, and one at a time."""
    prices = [] if isinstance(model.prices, types.ModelPrice) else model.prices
    entries = [entry.prices for entry in (*prices, *(model.price_variants or ()))]
    if isinstance(model.prices, types.ModelPrice):
        entries.append(model.prices)
    keys = {key for entry in entries for key in vars(entry)}
    starts = {
        tier.start
        for entry in entries
        for price in vars(entry).values()
        if isinstance(price, types.TieredPrices)
        for tier in price.tiers
    }
    priced = [name for name, unit in UNITS.items() if unit.price_key in keys and name != "requests"]
    yield counts_of(dict.fromkeys(priced, 7))
    for name in priced if len(priced) > 2 else ():
        yield counts_of({name: 3})
    for start in starts:
        for size in (start, start + 1):
            yield {"input_tokens": size, "output_tokens": 11}


def counts_of(own: Mapping[str, int]) -> dict[str, int]:
    """Counts that agree: each unit has what is its own and what its parts have."""
    counts: dict[str, int] = {}
    for name, number in own.items():
        for whole, unit in UNITS.items():
            if whole != "requests" and unit.dimensions.items() <= UNITS[name].dimensions.items():
                counts[whole] = counts.get(whole, 0) + number
    return counts


@pytest.mark.costly
def test_every_name_finds_what_genai_prices_finds():
    names = {
        (provider.id, f"{name}{suffix}")
        for provider in providers
        for model in provider.models
        for name in (model.id, *texts(model.match))
        for suffix in ("", "-20251211")
    }
    counts = {"input_tokens": 10**9, "output_tokens": 10**6}

    assert differences(Call(*name, counts, NOON, NO_FACTS) for name in sorted(names)) == []


def texts(match: Any) -> Iterator[str]:
    """The texts, patterns left out, with which names are compared."""
    for name, operand in vars(match).items():
        if isinstance(operand, list):
            for clause in operand:
                yield from texts(clause)
        elif name != "regex":
            yield operand


NAMES = sorted({name for each in providers for model in each.models for name in texts(model.match)})
FACTS = sorted(
    {
        fact
        for each in providers
        for model in each.models
        for variant in model.price_variants or ()
        for fact in variant.when.items()
    }
)
COUNTED = sorted(set(UNITS) - {"requests"})


@st.composite
def names(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(NAMES))
    prefix = draw(st.sampled_from(["", "", "openai/", "Anthropic/", "us.", "no-such/"]))
    suffix = draw(st.sampled_from(["", "", "-20251211", "-20251399", "-2025-12-11", ":free", "x"]))
    return prefix + draw(st.sampled_from([name, name.upper()])) + suffix


@st.composite
def counts(draw: st.DrawFn) -> dict[str, int]:
    """Counts that agree with each other, or nearly so."""
    own = draw(st.dictionaries(st.sampled_from(COUNTED), st.integers(0, 500_000), max_size=4))
    agreed = counts_of(own)
    missing = draw(st.sets(st.sampled_from(sorted(agreed)), max_size=1)) if agreed else ()
    return {name: number for name, number in agreed.items() if name not in missing}


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    st.builds(
        Call,
        provider=st.sampled_from(
            ["", "litellm", "LiteLLM", "bedrock", "azure", "Azure ", "vertex", "unheard of"]
        )
        | st.sampled_from([provider.id for provider in providers]),
        model=names(),
        counts=counts(),
        requested_at=st.datetimes(
            dt.datetime(2023, 1, 1),  # noqa: DTZ001 -- hypothesis draws the zone
            dt.datetime(2027, 12, 31),  # noqa: DTZ001
            timezones=st.integers(-12, 14).map(lambda h: dt.timezone(dt.timedelta(hours=h))),
        ),
        facts=st.lists(st.sampled_from(FACTS), max_size=2).map(dict),
    )
)
def test_any_call_costs_what_genai_prices_says(call: Call):
    assume(not is_added(call))

    assert our_cost(call) == right_cost(call)


def test_parts_of_seconds_are_paid_as_genai_prices_says():
    assert not differences(
        Call("groq", model, {unit: Decimal(seconds)}, NOON, NO_FACTS)
        for model in ("whisper-large-v3", "whisper-large-v3-turbo")
        for unit in ("audio_seconds", "input_audio_seconds")
        for seconds in ("0", "3.5", "10", "61.25")
    )
