"""AI_USAGE_PRICES: units, dates, facts and discounts of the site."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from tests.support.builders import NOON, make_event
from tests.support.children import ROOT
from usage_tracking.checks import check_settings
from usage_tracking.events import UsageEvent
from usage_tracking.pricing import own, price, quote, table

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


class TestSource:
    def test_source_names_where_the_cost_is_from(self, settings):
        assert quote(make_event(cost=Decimal(1))).source == "provider"
        assert quote(make_event()).source.startswith("genai-prices 0.")
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 1, "output": 1}}
        assert quote(make_event()).source == "site"

    def test_no_source_without_a_cost(self):
        assert quote(make_event(model_name="no-such-model")).source == ""


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
    ],
)
def test_fault_is_a_system_check_error(prices, fault):
    with override_settings(AI_USAGE_PRICES=prices):
        errors = [error for error in check_settings() if error.id in PRICE_ERRORS]

    assert len(errors) == 1, errors
    assert fault in errors[0].msg


PRICE_ERRORS = {"usage_tracking.E001", "usage_tracking.E006"}


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
            for name in table.load().units
        } == {name: unit.per for name, unit in table.load().units.items()}
