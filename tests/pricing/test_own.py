"""AI_USAGE_PRICES: units, dates, facts and discounts of the site."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.builders import NOON, make_event
from tests.support.children import ROOT
from usage_tracking.checks import check_settings
from usage_tracking.events import UsageEvent
from usage_tracking.pricing import data, own, price, quote

MILLION = 10**6
DOCS = (ROOT / "docs" / "prices.md").read_text().partition("<!-- published prices -->")[0]


def call(**changes: Any) -> UsageEvent:
    """A call of a million input tokens of a model that only the site sells."""
    values: dict[str, Any] = {
        "provider": "ours",
        "model_name": "our-model",
        "prompt_tokens": MILLION,
        "completion_tokens": 0,
    }
    return make_event(**values | changes)


class TestUnits:
    def test_every_unit_can_have_a_price(self, settings):
        settings.AI_USAGE_PRICES = {
            "our-model": {
                "input_tokens": 1,
                "input_audio_tokens": 32,
                "cache_write_tokens": 2,
                "cache_write_1h_tokens": 4,
                "web_searches": 10,
                "audio_seconds": "3.6",
                "requests": 5,
            }
        }
        event = call(
            cache_write_tokens=200_000,
            usage_details={
                "cache_write_1h_tokens": 100_000,
                "web_searches": 7,
                "audio_seconds": 60,
            },
        )

        # 0.8 M plain, 0.1 M written, 0.1 M written for an hour; per 1,000, hour and request
        expected = Decimal("0.8") + Decimal("0.2") + Decimal("0.4") + Decimal("0.07")
        assert price(event) == expected + Decimal("0.06") + Decimal("0.005")

    def test_unit_without_a_price_is_named(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": 1}}
        quoted = quote(call(usage_details={"web_searches": 2, "input_audio_tokens": 5}))

        assert quoted.cost is None
        assert quoted.unpriced_units == ("web_searches",)
        assert "web_searches" in quoted.reason

    def test_part_without_a_price_has_that_of_the_whole(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": 1}}

        assert price(call(usage_details={"input_audio_tokens": 5})) == 1

    def test_overlap_without_a_price_is_never_guessed(self, settings):
        settings.AI_USAGE_PRICES = {
            "our-model": {"input": 1, "cache_read": "0.1", "input_audio_tokens": 32}
        }
        event = call(cached_tokens=1000, usage_details={"input_audio_tokens": 2000})

        assert price(event) is None
        assert "cache_audio_read_tokens" in quote(event).reason


class TestDates:
    PRICES = [
        {"input": 1},
        {"from": "2026-03-14", "input": 2},
        {"from": dt.date(2026, 6, 1), "input": 3},
    ]

    @pytest.mark.parametrize(
        ("moment", "expected"),
        [
            ("2026-03-13T23:59:59+00:00", 1),
            ("2026-03-14T00:00:00+00:00", 2),
            ("2026-03-14T01:00:00+02:00", 1),
            ("2026-05-31T23:59:59+00:00", 2),
            ("2027-01-01T00:00:00+00:00", 3),
        ],
    )
    @pytest.mark.parametrize("order", [1, -1])
    def test_price_of_the_day_counts(self, settings, moment, expected, order):
        settings.AI_USAGE_PRICES = {"our-model": self.PRICES[::order]}

        assert price(call(created_at=dt.datetime.fromisoformat(moment))) == expected

    def test_before_the_first_day_the_table_counts(self, settings):
        settings.AI_USAGE_PRICES = {"gpt-4o": {"from": "2026-03-15", "input": 1, "output": 1}}
        event = make_event(prompt_tokens=MILLION, completion_tokens=0)

        assert price(event) == Decimal("2.5")
        assert price(replace(event, created_at=NOON + dt.timedelta(days=1))) == 1


class TestFacts:
    def test_fact_without_a_price_is_named(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": 1}}
        quoted = quote(call(price_context={"service_tier": "flex"}))

        assert quoted.cost is None
        assert quoted.reason == "no price for service_tier=flex"

    def test_fact_can_have_prices(self, settings):
        settings.AI_USAGE_PRICES = {
            "our-model": [
                {"input": 2, "output": 8},
                {"when": {"service_tier": "flex"}, "input": 1},
            ]
        }
        event = call(completion_tokens=MILLION)

        assert price(event) == 10
        assert price(replace(event, price_context={"service_tier": "flex"})) == 9

    def test_surcharge_of_a_geography(self, settings):
        event = make_event(
            provider="anthropic",
            model_name="claude-opus-4-6",
            prompt_tokens=MILLION,
            completion_tokens=0,
            price_context={"inference_geo": "us"},
        )
        assert price(event) is None

        settings.AI_USAGE_PRICES = {
            "anthropic:*": {"when": {"inference_geo": "us"}, "discount": "-0.1"}
        }
        assert price(event) == Decimal("5.5")
        assert price(replace(event, price_context={})) == 5

    def test_fact_of_the_table_keeps_its_price_under_a_discount(self, settings):
        settings.AI_USAGE_PRICES = {"*": {"discount": "0.5"}}
        event = make_event(
            provider="anthropic",
            model_name="claude-opus-4-8",
            prompt_tokens=MILLION,
            completion_tokens=0,
            price_context={"speed": "fast"},
        )

        assert price(event) == 5


class TestDiscount:
    @pytest.mark.parametrize("key", ["*", "openai:*", "gpt-4o", "openai:gpt-4o"])
    def test_discount_on_the_table(self, settings, key):
        settings.AI_USAGE_PRICES = {key: {"discount": "0.15"}}
        quoted = quote(make_event(prompt_tokens=MILLION, completion_tokens=0), lines=True)

        assert quoted.cost == Decimal("2.125")
        assert quoted.source == "site"
        assert quoted.factor == Decimal("0.85")

    def test_closest_key_counts_alone(self, settings):
        settings.AI_USAGE_PRICES = {
            "*": {"discount": "0.5"},
            "openai:*": {"discount": "0.1"},
            "gpt-4o": {"input": 1},
        }

        assert price(make_event(prompt_tokens=MILLION, completion_tokens=0)) == 1
        assert price(
            make_event(model_name="gpt-4o-mini", prompt_tokens=MILLION, completion_tokens=0)
        ) == Decimal("0.135")

    def test_discount_on_a_price_of_the_site(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": 2, "discount": 0.25}}

        assert price(call()) == Decimal("1.5")

    def test_figure_of_the_provider_has_no_discount(self, settings):
        settings.AI_USAGE_PRICES = {"*": {"discount": "0.5"}}

        assert price(make_event(cost=Decimal("0.3"))) == Decimal("0.3")


class TestNames:
    @pytest.mark.parametrize(
        "key", ["GPT-4o", " gpt-4o ", "OpenAI:gpt-4o", "OPENAI:*", "openai:GPT-4O-2024-08-06"]
    )
    def test_case_does_not_matter(self, settings, key):
        settings.AI_USAGE_PRICES = {key: {"input": 7, "output": 7}}

        event = make_event(model_name="gpt-4o-2024-08-06", prompt_tokens=MILLION)
        assert price(replace(event, completion_tokens=0)) == 7

    def test_case_of_the_call_does_not_matter(self, settings):
        settings.AI_USAGE_PRICES = {"ours:our-model": {"input": 7}}

        assert price(call(provider="Ours", model_name="Our-Model")) == 7

    @pytest.mark.parametrize(
        ("said", "fact"),
        [
            ({"service_tier": "Flex"}, {"service_tier": "FLEX"}),
            ({"service_tier": "batch"}, {"processing": "batch"}),
            ({"processing": "batch"}, {"service_tier": "batch"}),
        ],
    )
    def test_facts_are_those_of_the_calls(self, settings, said, fact):
        settings.AI_USAGE_PRICES = {"our-model": [{"input": 2}, {"when": said, "input": 1}]}

        assert price(call(price_context=fact)) == 1


class TestFaults:
    """What the check reports prices nothing, and spoils nothing else."""

    def test_reason_is_what_the_check_says(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"inptu": 1}, "gpt-4o": {"input": 1, "output": 1}}
        quoted = quote(call())

        assert quoted.cost is None
        assert quoted.reason.startswith("AI_USAGE_PRICES['our-model'] has the unknown unit 'inptu'")
        assert price(make_event(prompt_tokens=MILLION, completion_tokens=0)) == 1

    def test_fault_of_a_less_specific_key_does_not_matter(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": 1}, "*": {"discount": "15%"}}

        assert price(call()) == 1
        assert price(make_event()) is None

    def test_prices_may_change_at_run_time(self, settings):
        for rate in (1, 2, 1):
            settings.AI_USAGE_PRICES = {"our-model": {"input": rate}}
            assert price(call()) == rate

    def test_free_model_costs_nothing(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": "-0", "output": 0}}
        quoted = quote(call(completion_tokens=5))

        assert (str(quoted.cost), quoted.source) == ("0E-10", "site")

    def test_highest_prices_have_a_short_reason(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": 10**9 - 1, "discount": -10}}
        quoted = quote(call(prompt_tokens=10**9))

        assert quoted.cost is None
        assert quoted.reason == "10999999989000.00 USD is too much for one call"

    def test_caller_with_few_digits_gets_all_of_them(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": "1.23456789"}}
        with localcontext(prec=3):
            assert price(call()) == Decimal("1.2345678900")
            assert price(make_event(cost=Decimal("0.123456789"))) == Decimal("0.1234567890")


class TestSource:
    def test_source_names_where_the_cost_is_from(self, settings):
        assert quote(make_event(cost=Decimal(1))).source == "provider"
        assert quote(make_event()).source.startswith("genai-prices 0.")
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 1, "output": 1}}
        assert quote(make_event()).source == "site"

    def test_no_source_without_a_cost(self):
        assert quote(make_event(model_name="no-such-model")).source == ""


class Unreadable:
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


BATCH = {"processing": "batch"}
PRICE_ERRORS = {"usage_tracking.E001", "usage_tracking.E006"}


@pytest.mark.parametrize(
    ("prices", "fault"),
    [
        ({"m": {"inptu": 1}}, "unknown unit 'inptu'; did you mean \"input\"?"),
        ({"m": {"web_search": 1}}, 'did you mean "web_searches"?'),
        ({"m": {"input": -1}}, "the price -1 of input"),
        ({"m": {"input": True}}, "the price True of input"),
        ({"m": {"input": "cheap"}}, "the price 'cheap' of input"),
        ({"m": {"input": 1, "from": "tomorrow"}}, "the date 'tomorrow'"),
        ({"m": {"input": 1, "from": 7}}, "the date 7"),
        ({"m": {"discount": 1}}, "discount must be at least -10 and below 1, not 1"),
        ({"m": {"discount": "15 %"}}, "not '15 %'"),
        ({"m": {"when": {"tier": "flex"}, "input": 1}}, "unknown fact 'tier'"),
        ({"m": {"when": "flex", "input": 1}}, "'flex' in \"when\""),
        ({"m": {}}, "neither a price nor a discount"),
        ({"m": {"from": "2026-01-01"}}, "neither a price nor a discount"),
        ({"m": 5}, "must be a dictionary or a list of them, not 5"),
        ({"m": [{"input": 1}, 5]}, "not 5"),
        ([], "must be of type dict"),
        ({"m": []}, "['m'] has no entry"),
        ({"m": ""}, "['m'] must be a dictionary or a list of them, not ''"),
        ({"m": None}, "not None"),
        ({"m": [[{"input": 1}]]}, "must be a dictionary or a list of them"),
        ({"m": {"input": None}}, "the price None of input"),
        ({"m": {"input": "NaN"}}, "the price 'NaN' of input"),
        ({"m": {"input": "sNaN"}}, "the price 'sNaN' of input"),
        ({"m": {"input": float("inf")}}, "the price inf of input"),
        ({"m": {"input": "1e999999"}}, "at least 0 and below 1,000,000,000"),
        ({"m": {"input": Fraction(1, 3)}}, "the price Fraction(1, 3) of input"),
        ({"m": {"input": [1]}}, "the price [1] of input"),
        ({"m": {"input": Unreadable()}}, "the price <Unreadable> of input"),
        ({"m": {"input": 1, 7: 2}}, "unknown unit 7"),
        ({"m": {"input": 1, "input_tokens": 2}}, "two prices for input_tokens"),
        ({"m": {"input": 1, "from": None}}, "the date None"),
        ({"m": {"input": 1, "from": "2026-1-1"}}, "the date '2026-1-1'"),
        ({"m": {"input": 1, "from": 20260101}}, "the date 20260101"),
        ({"m": {"input": 1, "from": "2026-02-30"}}, "the date '2026-02-30'"),
        ({"m": {"input": 1, "from": NOON}}, "write it as YYYY-MM-DD"),
        ({"m": {"input": 1, "discount": None}}, "not None"),
        ({"m": {"input": 1, "discount": "15%"}}, "not '15%'"),
        ({"m": {"input": 1, "discount": True}}, "not True"),
        ({"m": {"input": 1, "when": {}}}, '{} in "when"'),
        ({"m": {"input": 1, "when": {"speed": ["fast"]}}}, "has ['fast'] for speed"),
        ({"m": {"input": 1, "when": {"speed": None}}}, "has None for speed"),
        ({"m": {"input": 1, "when": {"service_tier": "Default"}}}, "which is the standard"),
        ({"m": {"input": 1, "when": BATCH | {"service_tier": "batch"}}}, '"batch" twice'),
        ({7: {"input": 1}}, "the key 7, which is not the name of a model"),
        ({" ": {"input": 1}}, "the key ' '"),
        ({"openai:": {"input": 1}}, "the key 'openai:'"),
        ({"gpt-*": {"input": 1}}, "the key 'gpt-*'"),
        ({"*:gpt-4o": {"input": 1}}, "the key '*:gpt-4o'"),
        ({"gpt-4o": {"input": 1}, "GPT-4o": {"input": 2}}, "the same model as 'gpt-4o' and"),
    ],
)
def test_fault_is_a_system_check_error(prices, fault):
    with override_settings(AI_USAGE_PRICES=prices):
        errors = [error for error in check_settings() if error.id in PRICE_ERRORS]

        reason = quote(call(model_name="m")).reason

    assert len(errors) == 1, errors
    assert fault in errors[0].msg
    assert "m" not in prices or reason in errors[0].msg


@override_settings(
    AI_USAGE_PRICES={
        "*": {"discount": "0.15"},
        "openai:*": [{"discount": 0.1}, {"from": "2026-12-01", "discount": 0.2}],
        "gpt-4o": {"input": "2.5", "output": 10, "cache_read": 1, "cache_write": 1},
        "our-model": [
            {"input_tokens": 1, "web_searches": 10, "requests": 1},
            {"when": {"service_tier": "flex", "inference_geo": "us"}, "input": 0.5},
        ],
    }
)
def test_valid_prices_have_no_error():
    assert not [error for error in check_settings() if error.id in PRICE_ERRORS]


class TestDocs:
    def test_every_fact_is_named(self):
        assert [fact for fact in own.FACTS if f"`{fact}`" not in DOCS] == []

    def test_every_unit_has_the_count_that_its_price_is_for(self):
        rows = re.findall(r"^\| (?:all )?(`.*`) \| ([\d,]+|1 hour) \|$", DOCS, re.MULTILINE)
        documented = {
            unit: 3600 if count == "1 hour" else int(count.replace(",", ""))
            for units, count in rows
            for unit in re.findall("`(.+?)`", units)
        }

        assert {
            name: documented.get(name, documented["…_tokens"] if name.endswith("_tokens") else 0)
            for name in data.load().units
        } == {name: unit.per for name, unit in data.load().units.items()}


#: Anything that a site may write by mistake.
garbage = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 10**12)
    | st.floats()
    | st.decimals()
    | st.fractions()
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=3)
    | st.sampled_from(["input", "flex", "2026-01-01", "0.15", "15%", "", "1e99", "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.frozensets(st.integers(), max_size=2)
        | st.dictionaries(st.sampled_from(["input", "from", "when", "discount", "", 7]), inner)
    ),
    max_leaves=6,
)
rates = st.sampled_from([0, 1, 0.1, "2.5", Decimal("0.75"), 15]) | st.integers(0, 1000)
facts = st.dictionaries(
    st.sampled_from(["service_tier", "processing", "speed"]),
    st.sampled_from(["flex", "Priority", "batch", "fast"]),
    max_size=2,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "input": rates,
        "output": rates,
        "cache_read_tokens": rates,
        "web_searches": rates,
        "requests": rates,
        "from": st.sampled_from(["2026-01-01", "2026-12-31", dt.date(2026, 3, 14)]),
        "when": facts,
        "discount": st.sampled_from([0, "0.15", -1, 0.5, Decimal("0.9")]),
    },
)
keys = st.sampled_from(
    ["our-model", "OURS:our-model", "ours:*", "*", "our-model-2026-01-01", "gpt-4o", "openai:*"]
)
calls = st.builds(
    call,
    model_name=st.sampled_from(["our-model", "Our-Model-2026-01-01"]),
    prompt_tokens=st.integers(101, 10**9),  # never all of it from the cache
    completion_tokens=st.none() | st.integers(0, 10**9),
    cached_tokens=st.none() | st.integers(0, 100),
    usage_details=st.sampled_from([{}, {"web_searches": 3}]),
    price_context=facts,
)


def accepts(prices: Any) -> bool:
    with override_settings(AI_USAGE_PRICES=prices):
        return not [error for error in check_settings() if error.id in PRICE_ERRORS]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    prices=garbage
    | st.dictionaries(keys | st.integers() | st.just("x*"), garbage | entries | st.lists(entries)),
    event=calls,
)
def test_check_and_pricing_never_raise(prices, event):
    """Whatever the setting is: a fault is an error of the checks, and never makes a wrong cost."""
    is_valid = accepts(prices)
    with override_settings(AI_USAGE_PRICES=prices):
        quoted = quote(event, lines=True)

    assert (quoted.cost is None) == bool(quoted.reason)
    if isinstance(prices, dict) and not is_valid and quoted.cost is not None:
        # It is the cost that the site's valid keys give.
        sound = {key: value for key, value in prices.items() if accepts({key: value})}
        assert quoted.cost == straightforward(sound, event)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    prices=st.dictionaries(keys, entries | st.lists(entries, min_size=1, max_size=3), max_size=4),
    event=calls,
)
def test_valid_prices_give_the_cost_of_a_straightforward_calculation(prices, event):
    assume(accepts(prices))
    with override_settings(AI_USAGE_PRICES=prices):
        quoted = quote(event)

    assert quoted.cost == straightforward(prices, event)


def straightforward(prices: dict[str, Any], event: UsageEvent) -> Decimal | None:
    """What a call of the site's own model costs, by the documentation alone."""
    context = {name: value.lower() for name, value in event.price_context.items()}
    if context.get("service_tier") == "batch":
        del context["service_tier"]
        context["processing"] = "batch"
    model = event.model_name.lower()
    base = model.removesuffix("-2026-01-01")
    values = {key.lower(): value for key, value in prices.items()}
    fitting: list[dict[str, Any]] = []
    for key in (f"ours:{model}", model, f"ours:{base}", base, "ours:*", "*"):
        fitting = fitting or fitting_entries(values.get(key, []), context)
    own: dict[str, Decimal] = {}
    single: dict[str, Decimal] = {}
    named: set[str] = set()
    factor = Decimal(1)
    for entry in fitting:
        factor = 1 - Decimal(str(entry["discount"])) if "discount" in entry else factor
        options = {"from", "when", "discount"}
        said = {k: Decimal(str(v)) for k, v in entry.items() if k not in options}
        named |= when_of(entry).keys()
        if when_of(entry):
            single |= said
        elif said:
            own = said
    rates = own | single
    if not own or context.keys() - named:
        return None
    cached = event.cached_tokens or 0
    counted = {
        "input": (event.prompt_tokens or 0) - (cached if "cache_read_tokens" in rates else 0),
        "output": event.completion_tokens or 0,
        "web_searches": event.usage_details.get("web_searches", 0),
    }
    if any(number and name not in rates for name, number in counted.items()):
        return None
    cost = sum(
        (rates.get(name, Decimal(0)) * number / (1000 if name == "web_searches" else MILLION))
        for name, number in counted.items()
    )
    cost += rates.get("cache_read_tokens", Decimal(0)) * cached / MILLION
    cost = (cost + rates.get("requests", Decimal(0)) / 1000) * factor
    return cost.quantize(Decimal("1e-10")) if cost < MILLION else None


def when_of(entry: dict[str, Any]) -> dict[str, str]:
    when = {name: value.lower() for name, value in entry.get("when", {}).items()}
    if when.get("service_tier") == "batch":
        del when["service_tier"]
        when["processing"] = "batch"
    return when


def fitting_entries(value: Any, context: dict[str, str]) -> list[dict[str, Any]]:
    """The entries that apply to a call of 14 March 2026, those that take precedence last."""
    entries = value if isinstance(value, list) else [value]
    fitting = [
        entry
        for entry in entries
        if str(entry.get("from", "")) <= "2026-03-14" and when_of(entry).items() <= context.items()
    ]
    return sorted(fitting, key=lambda entry: ("when" in entry, str(entry.get("from", ""))))
