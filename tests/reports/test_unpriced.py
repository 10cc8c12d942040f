"""The list of unpriced models, and the settings that price them."""

from __future__ import annotations

import ast
import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS
from django.test import override_settings

from tests.support.builders import NOON, make_event, make_log, save_log
from usage_tracking import reports
from usage_tracking.delivery.row_values import of_event
from usage_tracking.events import UsageEvent
from usage_tracking.models import AIUsageLog
from usage_tracking.pricing import own, quote
from usage_tracking.reports import UnpricedModel, unpriced_models

pytestmark = pytest.mark.django_db


def save(event: UsageEvent) -> None:
    AIUsageLog(**of_event(event, quote(event), NOON.date()), pk=event.id).save()


def found(**options: Any) -> tuple[UnpricedModel, ...]:
    return unpriced_models(AIUsageLog.objects.all(), using=DEFAULT_DB_ALIAS, **options)


def pasted(setting: str) -> dict[str, Any]:
    """Return AI_USAGE_PRICES after `setting`, with 2 USD for each price."""
    (statement,) = ast.parse(setting.replace("...", '"2"')).body
    assert isinstance(statement, ast.Assign)
    (target,) = statement.targets
    if isinstance(target, ast.Name):
        value: dict[str, Any] = ast.literal_eval(statement.value)
        return value
    assert isinstance(target, ast.Subscript)
    return {ast.literal_eval(target.slice): ast.literal_eval(statement.value)}


KINDS = [
    ({}, '{"input": ..., "output": ...}'),
    ({"cached_tokens": 10}, '{"input": ..., "cache_read": ..., "output": ...}'),
    ({"cache_write_tokens": 10}, '{"input": ..., "cache_write": ..., "output": ...}'),
    ({"reasoning_tokens": 10}, '{"input": ..., "output": ...}'),
    (
        {"usage_details": {"web_searches": 2}},
        '{"input": ..., "output": ..., "web_searches": ...}',
    ),
    (
        {"cached_tokens": 10, "usage_details": {"input_audio_tokens": 9}},
        '{"input": ..., "output": ...}',
    ),
    (
        {
            "prompt_tokens": None,
            "completion_tokens": None,
            "usage_details": {"input_document_pages": 3},
        },
        '{"input_document_pages": ...}',
    ),
]


class TestSettings:
    @pytest.mark.parametrize(("usage", "entry"), KINDS, ids=str)
    def test_pasted_setting_prices_the_call(self, usage, entry):
        event = make_event(model_name="my-model", **usage)
        save(event)

        (line,) = found()

        assert line.setting == f'AI_USAGE_PRICES = {{"openai:my-model": {entry}}}'
        assert line.reason == "no price for the model"
        prices = pasted(line.setting)
        assert list(own.faults(prices)) == []
        with override_settings(AI_USAGE_PRICES=prices):
            assert quote(event).cost

    def test_single_unit_is_named_and_all_that_the_call_needs_are_in_the_setting(self):
        event = make_event(usage_details={"input_characters": 20})
        save(event)

        (line,) = found()

        assert line.units == ("input_characters",)
        with override_settings(AI_USAGE_PRICES=pasted(line.setting)):
            assert quote(event).cost

    def test_prices_of_the_table_stay_in_force(self):
        event = make_event(usage_details={"input_document_pages": 3})
        save(event)

        (line,) = found()

        assert line.units == ("input_document_pages",)
        assert line.setting == (
            'AI_USAGE_PRICES = {"openai:gpt-4o": {"input": 2.5, "cache_read": 1.25, "output": 10, '
            '"input_document_pages": ..., "web_searches": 10, "storage_searches": 2.5}}'
        )
        other = make_event(cached_tokens=50)
        cost = quote(other).cost
        with override_settings(AI_USAGE_PRICES=pasted(line.setting)):
            assert quote(other).cost == cost

    def test_price_of_each_request_can_be_missing(self):
        event = make_event(provider="perplexity", model_name="sonar")
        save(event)

        (line,) = found()

        assert line.units == ("requests",)
        assert line.setting == (
            'AI_USAGE_PRICES = {"perplexity:sonar": {"input": 1, "output": 1, "requests": ...}}'
        )
        with override_settings(AI_USAGE_PRICES=pasted(line.setting)):
            assert quote(event).cost

    @override_settings(
        AI_USAGE_PRICES={"openai:gpt-4o": {"when": {"service_tier": "flex"}, "input": 1}}
    )
    def test_entry_with_facts_is_kept_beside_another_price(self):
        save(make_event(usage_details={"input_document_pages": 3}))

        (line,) = found()

        place = 'AI_USAGE_PRICES["openai:gpt-4o"]'
        assert line.setting.startswith(f'{place} = [{place}, {{"input": 2.5, ')

    def test_fact_without_a_price_becomes_a_when(self):
        event = make_event(
            provider="anthropic",
            model_name="claude-sonnet-4-5",
            price_context={"inference_geo": "mars"},
        )
        save(event)

        (line,) = found()

        assert '"when": {"inference_geo": "mars"}' in line.setting
        assert list(own.faults(pasted(line.setting))) == []
        with override_settings(AI_USAGE_PRICES=pasted(line.setting)):
            assert quote(event).cost

    @override_settings(AI_USAGE_PRICES={"*": {"discount": "0.1"}})
    def test_setting_that_exists_is_extended(self):
        save(make_event(model_name="my-model"))

        (line,) = found()

        assert line.setting == 'AI_USAGE_PRICES["openai:my-model"] = {"input": ..., "output": ...}'

    def test_second_setting_keeps_the_first(self):
        save(make_event(model_name="a"))
        save(make_event(model_name="b"))

        assert [line.setting.partition(" = ")[0] for line in found()] == [
            "AI_USAGE_PRICES",
            'AI_USAGE_PRICES["openai:b"]',
        ]

    @pytest.mark.parametrize(
        "changes",
        [
            {"model_name": ""},
            {"metadata": {"clamped": {"prompt_tokens": "negative"}}},
            {"cached_tokens": 900},
        ],
        ids=str,
    )
    def test_no_setting_where_no_price_helps(self, changes):
        save(make_event(**changes))

        (line,) = found()

        assert line.reason
        assert line.setting == ""

    def test_most_frequent_reason_does_not_hide_the_setting_of_another(self):
        save(make_event(model_name="mine"))
        for _ in range(2):
            save(make_event(model_name="mine", metadata={"clamped": {"cost": "negative"}}))

        (line,) = found()

        assert line.reason == "not a valid value: cost"
        assert line.setting == 'AI_USAGE_PRICES = {"openai:mine": {"input": ..., "output": ...}}'

    @override_settings(AI_USAGE_PRICES={"anthropic:claude-sonnet-4-5": {"input": 1, "output": 2}})
    def test_entry_of_the_model_is_kept_beside_a_fact(self):
        save(
            make_event(
                provider="anthropic",
                model_name="claude-sonnet-4-5",
                price_context={"inference_geo": "mars"},
            )
        )

        (line,) = found()

        place = 'AI_USAGE_PRICES["anthropic:claude-sonnet-4-5"]'
        assert line.setting.startswith(f'{place} = [{place}, {{"when": ')

    def test_name_with_quotes_stays_a_string(self):
        save(make_event(model_name="my\"'\\model"))

        (line,) = found()

        assert list(pasted(line.setting)) == ["openai:my\"'\\model"]


class TestList:
    def test_models_are_bounded_and_ordered_by_calls(self, django_assert_num_queries):
        for number in range(4):
            for _ in range(number + 1):
                save_log(model_name=f"m{number}")
        save_log(model_name="priced", cost=Decimal(1))
        save_log(model_name="failed", success=False)
        save_log(model_name="unknown", prompt_tokens=None, completion_tokens=None)

        with django_assert_num_queries(1):
            lines = found(top=2)

        assert [(line.model_name, line.calls) for line in lines] == [("m3", 4), ("m2", 3)]

    def test_units_of_all_calls_of_a_model_are_listed(self):
        save_log(model_name="m")
        save_log(model_name="m", usage_details={"web_searches": 1, "iterations": []})
        save_log(model_name="m", cached_tokens=7, reasoning_tokens=0)

        (line,) = found()

        assert (line.calls, line.units) == (
            3,
            ("input_tokens", "cache_read_tokens", "output_tokens", "web_searches"),
        )

    @pytest.mark.parametrize("garbage", ["text", [1], 7, {"x'y": 1}, {"web_searches": "no"}])
    def test_rows_with_garbage_are_listed(self, garbage):
        save_log(model_name="m", usage_details=garbage, metadata=garbage)
        facts = {"unpriced_units": garbage, "unpriced_reason": garbage}
        save_log(model_name="m", metadata=facts)

        (line,) = found()

        assert line.calls == 2
        json.dumps(line.as_dict())

    def test_many_kinds_of_calls_are_bounded(self):
        AIUsageLog.objects.bulk_create(
            make_log(model_name="m", metadata={"unpriced_reason": f"reason {n}"}) for n in range(50)
        )

        (line,) = found()

        assert line.calls == 50

    def test_report_of_a_day_takes_one_statement_more(self, django_assert_num_queries):
        save_log(model_name="m", created_at=NOON - dt.timedelta(days=1))
        with django_assert_num_queries(2):
            assert reports.day_report(NOON.date()).unpriced_models == ()
        save_log(model_name="m")
        with django_assert_num_queries(3):
            assert len(reports.day_report(NOON.date()).unpriced_models) == 1
