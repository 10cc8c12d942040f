"""How the cost of a call came about, on its page in the admin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse

from tests.support.builders import NOON, make_event, make_superuser, save_log
from usage_tracking.delivery.row_values import of_event
from usage_tracking.events import UsageEvent
from usage_tracking.models import AIUsageLog
from usage_tracking.pages.call_cost import call_cost_of
from usage_tracking.pricing import data, quote

pytestmark = pytest.mark.django_db


def save(**changes: Any) -> AIUsageLog:
    event: UsageEvent = make_event(**changes)
    log = AIUsageLog(pk=event.id, **of_event(event, quote(event), NOON.date()))
    log.save()
    return AIUsageLog.objects.get(pk=event.id)


class TestBill:
    def test_lines_have_number_price_and_source(self):
        cost = call_cost_of(save(cached_tokens=50))

        version = data.load().version
        assert [(x.unit, x.number, x.price, x.cost, x.source) for x in cost.lines] == [
            ("cache read tokens", "50", "$1.25 per million", "$0.0000625", version),
            ("input tokens", "100", "$2.5 per million", "$0.00025", version),
            ("output tokens", "80", "$10 per million", "$0.0008", version),
        ]
        assert cost.cost == "$0.0011125"
        assert (cost.change, cost.reason, cost.setting, cost.discount) == ("", "", "", "")

    def test_lines_add_up_to_the_stored_cost(self):
        log = save(cached_tokens=50, usage_details={"web_searches": 2})

        costs = [Decimal(line.cost.removeprefix("$")) for line in call_cost_of(log).lines]

        assert sum(costs) == log.cost

    @override_settings(
        AI_USAGE_PRICES={"gpt-4o": {"input": 1, "output": "0.001", "discount": "0.15"}}
    )
    def test_prices_and_discount_of_the_site_are_named(self):
        cost = call_cost_of(save())

        assert {line.source for line in cost.lines} == {"AI_USAGE_PRICES"}
        assert cost.lines[1].cost == "$0.00000008"
        assert cost.discount == "15 % discount"

    @override_settings(AI_USAGE_PRICES={"*": {"discount": "-0.1"}})
    def test_surcharge_leaves_the_prices_of_the_table(self):
        cost = call_cost_of(save())

        assert {line.source for line in cost.lines} == {data.load().version}
        assert cost.discount == "10 % surcharge"

    @override_settings(
        AI_USAGE_PRICES={
            "claude-sonnet-4-5": {"discount": "0.2"},
            "claude-opus-4-1": {"discount": "-0.1"},
        }
    )
    def test_each_model_of_the_call_has_its_discount(self):
        iterations = [
            {"model": "claude-opus-4-1", "input_tokens": 100},
            {"model": "claude-haiku-4-5", "input_tokens": 20},
        ]
        cost = call_cost_of(
            save(
                provider="anthropic",
                model_name="claude-sonnet-4-5",
                usage_details={"iterations": iterations},
            )
        )

        assert cost.discount == "claude-opus-4-1: 10 % surcharge, 20 % discount"

    def test_facts_of_the_answer_are_shown(self):
        with override_settings(
            AI_USAGE_PRICES={"gpt-4o": {"when": {"service_tier": "flex"}, "input": 1, "output": 3}}
        ):
            cost = call_cost_of(save(price_context={"service_tier": "flex"}))

        assert cost.facts == "service_tier: flex"
        assert [(line.price, line.source) for line in cost.lines] == [
            ("$1 per million", "AI_USAGE_PRICES"),
            ("$3 per million", "AI_USAGE_PRICES"),
        ]

    def test_cost_of_the_provider_has_no_lines(self):
        cost = call_cost_of(save(cost=Decimal("0.0125")))

        assert (cost.lines, cost.cost, cost.source) == ((), "$0.0125", "reported by the provider")
        assert cost.change == ""

    def test_iteration_of_another_model_is_named(self):
        cost = call_cost_of(
            save(
                provider="anthropic",
                model_name="claude-sonnet-4-5",
                usage_details={
                    "iterations": [{"model": "claude-opus-4-1", "input_tokens": 100}],
                },
            )
        )

        assert [line.model for line in cost.lines if line.model] == ["claude-opus-4-1"]

    def test_unpriced_call_has_its_reason_and_the_setting(self):
        cost = call_cost_of(save(model_name="mine", usage_details={"web_searches": 1}))

        assert cost.cost == ""
        assert cost.reason == "no price for the model mine of openai"
        assert cost.setting == (
            'AI_USAGE_PRICES = {"openai:mine": {"input": ..., "output": ..., "web_searches": ...}}'
        )
        assert cost.command == "reprice_ai_usage --only-unpriced"

    def test_missing_price_of_each_request_is_named(self):
        cost = call_cost_of(save(provider="perplexity", model_name="sonar"))

        assert cost.reason == "no price for requests"
        assert '"requests": ...' in cost.setting

    def test_call_of_unknown_usage_needs_no_setting(self):
        cost = call_cost_of(save(prompt_tokens=None, completion_tokens=None))

        assert (cost.reason, cost.setting) == ("nothing was counted", "")

    def test_changed_price_is_named(self):
        log = save()
        with override_settings(AI_USAGE_PRICES={"gpt-4o": {"input": 1, "output": 1}}):
            cost = call_cost_of(log)

        assert cost.cost == "$0.001175"
        assert cost.change == "Prices have changed since: today the call would cost $0.00023."
        assert cost.command == "reprice_ai_usage"

    def test_new_price_of_an_unpriced_call_is_named(self):
        log = save(model_name="mine")
        with override_settings(AI_USAGE_PRICES={"mine": {"input": 1, "output": 1}}):
            cost = call_cost_of(log)

        assert (cost.cost, cost.reason) == ("", "")
        assert cost.command == "reprice_ai_usage --only-unpriced"
        assert cost.change.endswith("$0.00023.")

    def test_lost_price_is_named(self):
        with override_settings(AI_USAGE_PRICES={"mine": {"input": 1, "output": 1}}):
            log = save(model_name="mine")

        cost = call_cost_of(log)

        assert cost.change == "Today's prices give no cost: no price for the model mine of openai."
        assert cost.command == ""

    def test_cost_of_unknown_origin_may_be_the_providers(self):
        cost = call_cost_of(save_log(cost=Decimal("0.5")))

        assert cost.change.startswith("By today's prices, the call would cost $0.001175. ")
        assert cost.command == "reprice_ai_usage"

    @pytest.mark.parametrize(
        "changes",
        [
            {"provider": "openrouter", "cost": Decimal("0.5")},
            {"cost": Decimal("0.5"), "metadata": {"cost_source": "provider"}},
            {"cost": Decimal("0.5"), "metadata": {"cost_source": "elsewhere"}},
            {"success": False},
            {"prompt_tokens": None, "completion_tokens": None},
        ],
        ids=str,
    )
    def test_command_is_not_offered_for_a_row_that_it_leaves_alone(self, changes):
        with override_settings(AI_USAGE_PRICES={"*": {"input": 1, "output": 1}}):
            log = save_log(**changes)
            cost = call_cost_of(log)
            call_command("reprice_ai_usage")

        assert (cost.command, cost.setting) == ("", "")
        assert AIUsageLog.objects.get(pk=log.pk).cost == log.cost

    @pytest.mark.parametrize(
        "garbage", ["text", [1], 7, {"web_searches": "no"}, {"x": 1}, {"iterations": [1]}], ids=str
    )
    @override_settings(AI_USAGE_RAISE_ERRORS=False)
    def test_row_with_garbage_has_a_cost(self, garbage):
        log = save_log(usage_details=garbage, metadata=garbage)
        priced = save_log(usage_details=garbage, metadata=garbage, cost=Decimal("0.5"))

        assert (call_cost_of(log).cost, call_cost_of(priced).cost) == ("", "$0.5")


class TestPage:
    @pytest.mark.parametrize("model", ["gpt-4o", "<b>mine</b>"])
    def test_page_shows_the_cost(self, client: Client, model: str):
        log = save(model_name=model)
        client.force_login(make_superuser())

        page = client.get(reverse("admin:usage_tracking_aiusagelog_change", args=[log.pk])).text

        assert "How the cost came about" in page
        assert "<b>mine</b>" not in page
        assert ("$0.0008" in page) == (model == "gpt-4o")
        assert ("&lt;b&gt;mine&lt;/b&gt;&quot;: {&quot;input&quot;: ..." in page) == (
            model != "gpt-4o"
        )
        assert "style=" not in page.partition("ai-usage-cost")[2].partition("</section>")[0]
