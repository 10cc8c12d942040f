"""Prices: the provider's own figure, else the site's, else the table's; unknown is never 0."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, localcontext

import pytest
from genai_prices import Usage as PriceUsage
from genai_prices import calc_price
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.builders import NOON, make_event
from usage_tracking.events import UsageEvent
from usage_tracking.pricing import price, quote

MILLION = 10**6


def ask_table(event: UsageEvent) -> Decimal:
    """Return the price according to genai-prices itself."""
    return calc_price(
        PriceUsage(
            input_tokens=event.prompt_tokens or 0,
            output_tokens=event.completion_tokens or 0,
            cache_read_tokens=event.cached_tokens or None,
            cache_write_tokens=event.cache_write_tokens or None,
        ),
        event.model_name,
        provider_id=event.provider or None,
        genai_request_timestamp=event.created_at,
        price_context=event.price_context or None,
    ).total_price.quantize(Decimal("1e-10"))


class TestReported:
    def test_figure_of_the_provider_wins(self, settings):
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 1, "output": 1}}

        assert price(make_event(cost=Decimal("0.5"))) == Decimal("0.5")

    def test_figure_of_the_provider_counts_without_tokens(self):
        event = make_event(cost=Decimal("0.5"), prompt_tokens=None, completion_tokens=None)

        assert price(event) == Decimal("0.5")

    def test_nothing_is_a_price_too(self):
        assert price(make_event(cost=Decimal(0))) == 0

    def test_figure_is_rounded_to_ten_places(self):
        assert price(make_event(cost=Decimal("0.00000000019"))) == Decimal("0.0000000002")


class TestOwnPrices:
    def test_price_is_per_million_tokens(self, settings):
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 2, "output": 10}}

        assert price(make_event(prompt_tokens=MILLION, completion_tokens=0)) == 2
        assert price(make_event(prompt_tokens=0, completion_tokens=MILLION)) == 10
        assert price(make_event(prompt_tokens=150, completion_tokens=80)) == Decimal("0.0011")

    @pytest.mark.parametrize(
        ("key", "model"),
        [
            ("openai:gpt-4o", "gpt-4o"),
            ("gpt-4o", "gpt-4o"),
            ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
            ("gpt-4o", "gpt-4o-2024-08-06"),
            ("openai:gpt-4o", "gpt-4o-2024-08-06"),
            ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
            ("gemini-2.0-flash", "gemini-2.0-flash-001"),
            ("mistral-large", "mistral-large-latest"),
        ],
    )
    def test_model_is_found_by_name_and_without_its_date(self, settings, key, model):
        settings.AI_USAGE_PRICES = {key: {"input": 7, "output": 7}}

        event = make_event(model_name=model, prompt_tokens=MILLION, completion_tokens=None)

        assert price(event) == 7

    def test_provider_and_date_are_closer_than_the_bare_name(self, settings):
        settings.AI_USAGE_PRICES = {
            "gpt-4o": {"input": 1},
            "gpt-4o-2024-08-06": {"input": 2},
            "azure:gpt-4o-2024-08-06": {"input": 3},
        }

        def ask(provider: str, model: str) -> Decimal | None:
            return price(
                make_event(
                    provider=provider,
                    model_name=model,
                    prompt_tokens=MILLION,
                    completion_tokens=0,
                )
            )

        assert ask("azure", "gpt-4o-2024-08-06") == 3
        assert ask("openai", "gpt-4o-2024-08-06") == 2
        assert ask("openai", "gpt-4o-2024-11-20") == 1

    def test_cached_tokens_have_their_own_price(self, settings):
        settings.AI_USAGE_PRICES = {
            "gpt-4o": {"input": 10, "cache_read": 1, "cache_write": 100, "output": 0}
        }
        event = make_event(
            prompt_tokens=MILLION,
            cached_tokens=MILLION // 2,
            cache_write_tokens=MILLION // 10,
            completion_tokens=0,
        )

        assert price(event) == Decimal("4") + Decimal("0.5") + Decimal("10")

    def test_cached_tokens_without_a_price_cost_what_others_do(self, settings):
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 10}}
        event = make_event(
            prompt_tokens=MILLION, cached_tokens=MILLION // 2, completion_tokens=None
        )

        assert price(event) == 10

    def test_more_cached_tokens_than_there_were_have_no_price(self, settings):
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 10, "cache_read": 1}}
        event = make_event(prompt_tokens=10, cached_tokens=MILLION, completion_tokens=0)

        assert price(event) is None

    def test_tokens_without_a_price_make_it_unknown(self, settings):
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 10}}

        assert price(make_event(completion_tokens=1)) is None

    def test_rate_may_be_any_kind_of_number(self, settings):
        event = make_event(prompt_tokens=MILLION, completion_tokens=0)
        for rate in ("2.5", 2.5, Decimal("2.5")):
            settings.AI_USAGE_PRICES = {"gpt-4o": {"input": rate}}

            assert price(event) == Decimal("2.5"), rate

    def test_rate_that_is_none_makes_it_unknown_and_loses_nothing(self, settings):
        settings.AI_USAGE_RAISE_ERRORS = False
        for rate in ("cheap", None, "nan", "inf", float("nan"), 10**30, -1):
            settings.AI_USAGE_PRICES = {"gpt-4o": {"input": rate}}

            assert price(make_event(completion_tokens=0)) is None, rate

    def test_invalid_prices_make_it_unknown_and_are_logged_once(self, settings, caplog):
        settings.AI_USAGE_PRICES = {"gpt-4o": 5}

        assert price(make_event()) is None
        assert price(make_event()) is None
        assert caplog.text.count("['gpt-4o'] must be a dictionary or a list of them, not 5") == 1

    def test_unbelievable_cost_is_unknown(self, settings):
        settings.AI_USAGE_PRICES = {"gpt-4o": {"input": 10**6}}

        assert price(make_event(prompt_tokens=10**7, completion_tokens=0)) is None

    def test_other_models_keep_the_price_of_the_table(self, settings):
        settings.AI_USAGE_PRICES = {"our-model": {"input": 1}}
        event = make_event()

        assert price(event) == ask_table(event)


class TestTable:
    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("openai", "gpt-4o"),
            ("openai", "gpt-4o-2024-08-06"),
            ("openai", "text-embedding-3-small"),
            ("anthropic", "claude-sonnet-4-5"),
            ("anthropic", "claude-sonnet-4-5-20250929"),
            ("google", "gemini-2.5-flash"),
            ("google", "gemini-2.5-pro"),
            ("azure", "gpt-4o"),
            ("deepseek", "deepseek-chat"),
            ("", "gpt-4o"),
        ],
    )
    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=25,
        suppress_health_check=[HealthCheck.too_slow],  # depends on the machine
    )
    @given(
        prompt=st.integers(0, 10**7),
        completion=st.integers(0, 10**6),
        cached=st.floats(0, 1),
        written=st.floats(0, 1),
        hours=st.integers(-24 * 700, 24 * 300),
    )
    def test_price_is_that_of_the_table(
        self, provider, model, prompt, completion, cached, written, hours
    ):
        read = int(prompt * cached)
        event = make_event(
            provider=provider,
            model_name=model,
            prompt_tokens=prompt,
            completion_tokens=0 if "embedding" in model else completion,
            cached_tokens=read,
            cache_write_tokens=int((prompt - read) * written),
            created_at=NOON + dt.timedelta(hours=hours),
        )

        assert price(event) == ask_table(event)

    def test_unknown_model_has_no_price(self):
        unknown = [
            ("openai", "no-such-model"),
            ("no-such-provider", "gpt-4o"),
            ("anthropic", "gpt-4o"),
            ("", ""),
            ("openai", ""),
        ]
        for provider, model in unknown:
            event = make_event(provider=provider, model_name=model)

            assert price(event) is None, (provider, model)

    def test_unknown_tokens_have_no_price(self):
        assert price(make_event(prompt_tokens=None, completion_tokens=None)) is None

    def test_no_tokens_cost_nothing(self):
        assert price(make_event(prompt_tokens=0, completion_tokens=0)) == 0

    @pytest.mark.parametrize(
        ("prompt", "completion"), [(150, None), (None, 80)], ids=["prompt", "completion"]
    )
    def test_what_is_known_is_priced(self, prompt, completion):
        event = make_event(prompt_tokens=prompt, completion_tokens=completion)

        assert price(event) == ask_table(event)
        assert price(event) is not None

    @pytest.mark.parametrize(
        "changes",
        [
            {"operation": "batch"},
            {"price_context": {"service_tier": "batch"}},
            {"price_context": {"processing": "batch"}},
            {"metadata": {"service_tier": "batch"}},
        ],
    )
    def test_batch_costs_half(self, changes):
        when = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

        assert price(make_event(created_at=when, **changes)) == Decimal("0.0005875")

    def test_precision_of_the_site_does_not_change_the_price(self):
        events = make_event(prompt_tokens=1_234_567), make_event(cost=Decimal("123.4567890123"))
        costs = [price(event) for event in events]

        with localcontext() as context:
            context.prec = 4
            assert [price(event) for event in events] == costs

    def test_unit_of_a_newer_release_makes_it_unknown(self):
        quoted = quote(make_event(usage_details={"input_holograms": 3}))

        assert (quoted.cost, quoted.unpriced_units) == (None, ("input_holograms",))

    def test_counts_that_make_no_sense_raise_nothing(self):
        cost = price(make_event(prompt_tokens=10, cached_tokens=1000, cache_write_tokens=1000))

        assert cost is None or cost >= 0

    @pytest.mark.parametrize("tier", [["flex"], "gold", 7])
    def test_metadata_of_the_site_does_not_change_the_price(self, tier):
        assert price(make_event(metadata={"service_tier": tier})) == price(make_event())

    def test_largest_believable_counts_cost_something_or_are_unknown(self, settings):
        settings.AI_USAGE_RAISE_ERRORS = False
        cost = price(make_event(prompt_tokens=10**12, completion_tokens=10**12))

        assert cost is None or 0 < cost < 10**6
