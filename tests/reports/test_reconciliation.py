"""Bills held against the log: the shares, and what explains the rest."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from pytest_django import DjangoAssertNumQueries

from tests.support.builders import make_log, make_user, save_log
from usage_tracking.models import AIProviderBill, AIUsageLog, AIUsageTracking
from usage_tracking.reports import Reconciliation, reconciliation
from usage_tracking.reports.reconciled import KINDS, Measure, ProviderReconciliation

pytestmark = pytest.mark.django_db

DAY = dt.date(2026, 3, 14)
NOON = dt.datetime(2026, 3, 14, 12, tzinfo=dt.UTC)
LATER = dt.datetime(2026, 3, 20, 6, tzinfo=dt.UTC)


def bill(model_name: str = "gpt-4o-2024-08-06", **changes: Any) -> AIProviderBill:
    values: dict[str, Any] = {
        "provider": "openai",
        "day": DAY,
        "family": "completions",
        "model_name": model_name,
        "requests": 10,
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "fetched_at": LATER,
    }
    return AIProviderBill.objects.create(**values | changes)


def calls(number: int, **changes: Any) -> None:
    values: dict[str, Any] = {
        "model_name": "gpt-4o-2024-08-06",
        "created_at": NOON,
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cost": Decimal("0.001"),
    }
    for _ in range(number):
        save_log(**values | changes)


def of_openai(**options: Any) -> ProviderReconciliation:
    options = {"start": DAY, "end": DAY} | options
    (found,) = reconciliation(**options).providers
    return found


def kinds(found: ProviderReconciliation) -> list[str]:
    return [each.kind for each in found.explanations]


def test_a_complete_log_has_100_percent_and_nothing_to_explain() -> None:
    bill()
    calls(10)
    found = of_openai()
    assert found.totals.requests == Measure(10, 10, 10)
    assert found.totals.tokens == Measure(1500, 1500, 1500)
    assert found.totals.percent == found.settled.percent == 100
    assert found.explanations == ()


def test_one_missing_call_of_many_is_not_rounded_away() -> None:
    bill(requests=100_000, prompt_tokens=10_000_000, completion_tokens=None)
    bill("gpt-4o-mini", requests=1, prompt_tokens=1, completion_tokens=None)
    calls(1, prompt_tokens=10_000_000, completion_tokens=0)
    assert of_openai().totals.tokens.percent == Decimal("99.99")


def test_a_surplus_of_one_model_does_not_make_up_for_another() -> None:
    bill()
    bill("gpt-4.1-2025-04-14")
    calls(20)
    found = of_openai()
    assert found.totals.requests == Measure(20, 20, 10)
    assert found.totals.tokens == Measure(3000, 3000, 1500)
    assert kinds(found) == ["model_without_rows", "more_captured"]
    missing, more = found.explanations
    assert (missing.models, missing.requests) == (("gpt-4.1-2025-04-14",), 10)
    assert (more.models, more.requests, more.tokens) == (("gpt-4o-2024-08-06",), 10, 1500)


def test_the_day_of_a_call_is_that_of_utc() -> None:
    user = make_user()
    bill(requests=1, prompt_tokens=100, completion_tokens=50)
    late = dt.datetime(2026, 3, 14, 23, 59, 59, tzinfo=dt.UTC)
    for zone in ("Pacific/Auckland", "UTC", "America/Los_Angeles"):
        with override_settings(AI_USAGE_DAY_TIMEZONE=zone):
            calls(1, created_at=late, user=user)
            calls(1, created_at=late + dt.timedelta(seconds=1), user=user)
            found = of_openai()
            assert found.totals.requests == Measure(1, 1, 1), zone
            AIUsageLog.objects.all().delete()


def test_a_site_without_time_zones_compares_the_same_days() -> None:
    bill(requests=1, prompt_tokens=100, completion_tokens=50)
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata"):
        # 23:30 of March 14 in UTC is 05:00 of March 15 in India.
        calls(1, created_at=dt.datetime(2026, 3, 15, 5, 0))  # noqa: DTZ001 -- USE_TZ is False
        calls(1, created_at=dt.datetime(2026, 3, 15, 5, 30))  # noqa: DTZ001
        assert of_openai().totals.requests == Measure(1, 1, 1)


def test_each_day_of_a_period_is_told_apart() -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(5)]
    for number, day in enumerate(days, 1):
        bill(day=day, requests=number, prompt_tokens=number * 100, completion_tokens=0)
        for _ in range(number):
            calls(1, created_at=dt.datetime.combine(day, dt.time(), dt.UTC), completion_tokens=0)
    found = of_openai(end=days[-1], by="day")
    assert [line.key for line in found.lines] == [day.isoformat() for day in days]
    assert [line.measures.requests for line in found.lines] == [
        Measure(n, n, n) for n in range(1, 6)
    ]


def test_a_period_can_be_a_year() -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(366)]
    for day in days:
        bill(day=day, requests=1, prompt_tokens=day.day, completion_tokens=0)
    AIUsageLog.objects.bulk_create(
        make_log(
            model_name="gpt-4o-2024-08-06",
            created_at=dt.datetime.combine(day, dt.time(23, 59, 59, 999_999), dt.UTC),
            prompt_tokens=day.day,
            completion_tokens=0,
        )
        for day in days
    )
    found = of_openai(end=days[-1], by="day")
    assert [line.measures.tokens for line in found.lines] == [
        Measure(day.day, day.day, day.day) for day in days
    ]


@pytest.mark.parametrize(
    ("billed", "captured"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-3-5-haiku@20241022", "claude-3-5-haiku"),
        ("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
        ("openai/gpt-4.1", "openai/gpt-4.1-2025-04-14"),
    ],
)
def test_an_alias_is_the_version_that_was_billed(billed: str, captured: str) -> None:
    bill(billed)
    calls(10, model_name=captured)
    found = of_openai()
    assert found.totals.percent == 100
    assert [line.key for line in found.lines] == [billed]


def test_an_alias_of_several_versions_is_compared_with_all_of_them() -> None:
    bill("gpt-4o-2024-05-13")
    bill("gpt-4o-2024-08-06")
    calls(10, model_name="gpt-4o-2024-08-06")
    calls(10, model_name="gpt-4o")
    found = of_openai()
    assert found.totals.requests == Measure(20, 20, 20)
    assert [line.key for line in found.lines] == ["gpt-4o"]


def test_versions_stay_apart_where_the_log_has_them() -> None:
    bill("gpt-4o-2024-05-13")
    bill("gpt-4o-2024-08-06")
    calls(20, model_name="gpt-4o-2024-08-06")
    assert of_openai().totals.requests == Measure(20, 20, 10)


def test_models_whose_names_only_begin_alike_stay_apart() -> None:
    bill("gpt-4o-mini-2024-07-18")
    calls(10, model_name="gpt-4o")
    found = of_openai()
    assert found.totals.requests == Measure(10, 10, 0)


def test_refused_calls_are_not_expected_on_the_bill() -> None:
    bill()
    calls(10)
    unknown = {"prompt_tokens": None, "completion_tokens": None, "cost": None, "success": False}
    calls(3, **unknown, error_message="HTTP 429 Rate limit reached")
    calls(2, **unknown, error_message="ConnectError: [Errno 111] Connection refused")
    found = of_openai()
    assert found.totals.requests == Measure(10, 10, 10)
    assert found.explanations == ()


def test_a_timed_out_call_explains_what_is_missing() -> None:
    bill()
    calls(9)
    calls(
        1,
        prompt_tokens=None,
        completion_tokens=None,
        cost=None,
        success=False,
        error_message="ReadTimeout: timed out",
    )
    found = of_openai()
    assert found.totals.requests == Measure(10, 9, 9)
    assert kinds(found) == ["left_or_timed_out"]
    assert found.explanations[0].requests == 1
    assert "1 call failed without an answer" in found.explanations[0].text


def test_answers_that_were_left_are_named_with_what_was_seen_of_them() -> None:
    bill()
    calls(8)
    unknown = {"prompt_tokens": None, "completion_tokens": None, "cost": None}
    partial = {"prompt_tokens": 100, "completion_tokens": 3}
    calls(1, **unknown, metadata={"unknown": "stream abandoned", "partial": partial})
    calls(1, **unknown, metadata={"unknown": "no usage in the stream"})
    found = of_openai()
    assert found.totals.requests.percent == 100
    assert found.totals.tokens == Measure(1500, 1200, 1200)
    assert kinds(found) == ["unknown_usage", "left_or_timed_out"]
    unknown_usage, left = found.explanations
    assert (unknown_usage.requests, unknown_usage.tokens) == (2, 103)
    assert (left.requests, left.models) == (1, ("gpt-4o-2024-08-06",))


def test_a_site_can_write_anything_into_metadata() -> None:
    bill()
    unknown = {"prompt_tokens": None, "completion_tokens": None, "cost": None}
    values: list[Any] = ["x", 5, None, [], {"prompt_tokens": "many"}, {"prompt_tokens": -1}]
    for value in values:
        calls(1, **unknown, metadata={"partial": value, "unknown": value, "key_hint": value})
    calls(1, operation="batch", metadata={"batch": {"completed": "x"}})
    calls(1, operation="batch", metadata={"batch": "b"})
    found = of_openai(by="key")
    assert found.totals.requests.captured == 6
    (explained,) = [each for each in found.explanations if each.kind == "unknown_usage"]
    assert (explained.requests, explained.tokens) == (6, 0)


def test_calls_without_a_price_are_told_apart_from_missing_ones() -> None:
    bill()
    bill(family="costs", requests=None, prompt_tokens=None, completion_tokens=None, cost=1)
    calls(9)
    calls(1, cost=None)
    found = of_openai()
    assert found.totals.percent == 100
    assert [each for each in kinds(found) if each != "price"] == ["unpriced"]


@pytest.mark.parametrize("factor", [2, Decimal("0.5")])
@pytest.mark.parametrize("number", [10, 6])
def test_a_wrong_price_is_told_apart_from_missing_calls(factor: int | Decimal, number: int) -> None:
    bill()
    bill(
        family="costs",
        line_item="gpt-4o-2024-08-06, input",
        requests=None,
        prompt_tokens=None,
        completion_tokens=None,
        cost=Decimal("0.010") / Decimal(factor),
    )
    calls(number)
    found = of_openai()
    (price,) = [each for each in found.explanations if each.kind == "price"]
    assert price.models == ("gpt-4o-2024-08-06",)
    assert f"{Decimal(factor):.3f} times the billed price" in price.text
    (line,) = found.lines
    assert line.price_ratio == factor
    assert found.totals.requests.missing == 10 - number


def test_a_price_is_compared_for_all_models_where_the_bill_does_not_name_them() -> None:
    bill()
    bill("o3-2025-04-16")
    none = {"requests": None, "prompt_tokens": None, "completion_tokens": None}
    bill("", family="costs", line_item="usage", cost=Decimal("0.010"), **none)
    calls(10)
    calls(10, model_name="o3-2025-04-16")
    (price,) = of_openai().explanations
    assert (price.kind, price.models, price.cost) == ("price", (), Decimal("0.01"))
    assert "all models" in price.text
    assert "2.000 times" in price.text


def test_a_cost_that_no_call_has_is_not_0() -> None:
    bill()
    bill(family="costs", requests=None, prompt_tokens=None, completion_tokens=None, cost=1)
    calls(10, cost=None)
    assert of_openai().totals.cost == Measure(Decimal(1), None, None)


def test_a_bill_without_calls_in_the_log_has_a_captured_cost_of_0() -> None:
    bill(cost=1)
    assert of_openai().totals.cost == Measure(Decimal(1), Decimal(0), Decimal(0))


def test_only_what_is_missing_is_named() -> None:
    bill(prompt_tokens=1100)
    calls(10)
    (missing,) = of_openai().explanations
    assert "the log lacks 100 tokens, and" in missing.text


def test_no_price_is_judged_where_other_tokens_were_billed_than_captured() -> None:
    bill(prompt_tokens=100, completion_tokens=900)
    bill(family="costs", requests=None, prompt_tokens=None, completion_tokens=None, cost=1)
    calls(10)
    assert "price" not in kinds(of_openai())


def test_what_the_provider_does_not_say_is_compared_on_neither_side() -> None:
    bill(provider="anthropic", family="messages", requests=None)
    calls(10, provider="anthropic")
    found = of_openai()
    assert found.totals.requests == Measure()
    assert found.totals.tokens.percent == 100


def test_tokens_of_pictures_are_not_compared_because_the_bill_has_none() -> None:
    bill()
    bill("gpt-image-1", family="images", prompt_tokens=None, completion_tokens=None)
    calls(10)
    calls(10, model_name="gpt-image-1", operation="image_generation")
    found = of_openai()
    assert found.totals.requests.percent == 100
    assert found.totals.tokens == Measure(1500, 1500, 1500)


def test_free_moderation_calls_do_not_lower_the_share() -> None:
    bill()
    bill("omni-moderation-latest", family="moderations", requests=500)
    calls(10)
    found = of_openai()
    assert found.totals.percent == 100
    assert kinds(found) == ["family_without_rows"]


def test_a_family_without_rows_is_named_after_its_models() -> None:
    bill()
    bill("text-embedding-3-small", family="embeddings", key_name="worker", key_hint="wxyz")
    calls(10)
    found = of_openai()
    assert kinds(found) == ["model_without_rows", "family_without_rows"]
    assert found.explanations[0].keys == ("worker (…wxyz)",)
    assert "worker (…wxyz)" in found.explanations[0].text


def test_a_batch_counts_its_requests_and_belongs_to_the_family_of_its_model() -> None:
    bill("text-embedding-3-small", family="embeddings", service_tier="batch", requests=40)
    calls(
        1,
        model_name="text-embedding-3-small",
        operation="batch",
        prompt_tokens=1000,
        completion_tokens=500,
        metadata={"batch": {"id": "batch_1", "completed": 40, "failed": 2}},
    )
    found = of_openai()
    assert found.totals.requests == Measure(40, 40, 40)
    assert found.totals.percent == 100
    assert kinds(found) == ["batch"]


def test_credits_are_named() -> None:
    bill()
    none = {"requests": None, "prompt_tokens": None, "completion_tokens": None}
    bill("", family="costs", line_item="usage", cost=Decimal("5"), **none)
    bill("", family="costs", line_item="credit", cost=Decimal("-2"), **none)
    calls(10)
    found = of_openai()
    assert found.totals.cost.billed == 3
    assert "2 USD" in found.explanations[-1].text.replace("2.0000000000", "2")


def test_a_bill_without_costs_has_an_unknown_cost() -> None:
    bill()
    calls(10)
    assert of_openai().totals.cost == Measure(None, Decimal("0.01000000"), None)


def test_a_bill_of_thousands_of_models_names_the_largest() -> None:
    number = 5_000
    AIProviderBill.objects.bulk_create(
        AIProviderBill(
            provider="openai",
            day=DAY,
            family="completions",
            model_name=f"model-{n}x-2026-01-01",
            requests=2,
            prompt_tokens=20,
            completion_tokens=0,
            cost=1,
            fetched_at=LATER,
        )
        for n in range(number)
    )
    AIUsageLog.objects.bulk_create(
        make_log(model_name=f"model-{n}x", prompt_tokens=30, completion_tokens=0)
        for n in range(number)
    )
    found = of_openai()
    assert found.totals.requests == Measure(2 * number, number, number)
    assert kinds(found).count("more_captured") == kinds(found).count("unexplained") == 10


class TestKeys:
    def test_without_hints_what_was_captured_of_a_key_is_not_known(self) -> None:
        bill(key_id="key_1", key_name="web", key_hint="abcd")
        bill(key_id="key_2", key_name="worker", key_hint="wxyz", requests=5)
        calls(10)
        found = of_openai(by="key")
        web, worker, unknown = found.lines
        assert (web.key, web.label) == ("key_1", "web (…abcd)")
        assert web.measures.requests == Measure(10, None, None)
        assert worker.measures.requests == Measure(5, None, None)
        assert (unknown.key, unknown.label) == ("", "unknown key")
        assert unknown.measures.requests.captured == 10

    def test_calls_without_a_hint_are_shown_beside_costs_without_a_key(self) -> None:
        bill(key_id="key_1", key_hint="abcd")
        bill(family="costs", requests=None, prompt_tokens=None, completion_tokens=None, cost=1)
        calls(10)
        lines = {line.key: line for line in of_openai(by="key").lines}
        assert lines[""].measures.requests.captured == 10
        assert lines["key_1"].measures.requests.captured is None

    def test_hints_tell_which_key_escapes(self) -> None:
        bill(key_id="key_1", key_name="web", key_hint="abcd")
        bill(key_id="key_2", key_name="worker", key_hint="wxyz")
        with override_settings(AI_USAGE_KEY_HINT=True):
            calls(10, metadata={"key_hint": "abcd"})
            found = of_openai(by="key")
        assert {line.label: line.measures.requests for line in found.lines} == {
            "web (…abcd)": Measure(10, 10, 10),
            "worker (…wxyz)": Measure(10, 0, 0),
        }
        (missing,) = found.explanations
        assert (missing.kind, missing.keys) == ("key_without_rows", ("worker (…wxyz)",))
        assert (missing.requests, missing.tokens) == (10, 1500)

    def test_a_listing_may_show_three_characters_of_a_key(self) -> None:
        bill(key_id="key_1", key_name="web", key_hint="bcd")
        bill(key_id="key_2", key_name="worker", key_hint="xyz")
        calls(10, metadata={"key_hint": "abcd"})
        found = of_openai(by="key")
        assert {line.key: line.measures.requests.captured for line in found.lines} == {
            "key_1": 10,
            "key_2": 0,
        }

    def test_keys_with_the_same_end_share_a_line(self) -> None:
        bill(key_id="key_1", key_name="web", key_hint="abcd")
        bill(key_id="key_2", key_name="worker", key_hint="abcd")
        calls(20, metadata={"key_hint": "abcd"})
        (line,) = of_openai(by="key").lines
        assert line.key == "key_1, key_2"
        assert line.measures.requests == Measure(20, 20, 20)

    def test_a_key_that_the_bill_does_not_have_is_named_by_its_end(self) -> None:
        bill(key_id="key_1", key_hint="abcd")
        calls(10, metadata={"key_hint": "abcd"})
        calls(3, metadata={"key_hint": "zzzz"})
        lines = {line.key: line for line in of_openai(by="key").lines}
        assert lines["…zzzz"].measures.requests == Measure(0, 3, 0)

    def test_a_project_has_the_calls_of_its_keys(self) -> None:
        bill(project="proj_1", key_id="key_1", key_hint="abcd")
        bill(project="proj_1", key_id="key_2", key_hint="efgh")
        bill(project="proj_2", key_id="key_3", key_hint="wxyz")
        calls(8, metadata={"key_hint": "abcd"})
        calls(10, metadata={"key_hint": "efgh"})
        lines = {line.key: line for line in of_openai(by="project").lines}
        assert lines["proj_1"].measures.requests == Measure(20, 18, 18)
        assert lines["proj_2"].measures.requests == Measure(10, 0, 0)

    def test_missing_calls_of_a_shared_model_name_the_keys_that_were_billed(self) -> None:
        bill(key_id="key_1", key_name="web", key_hint="abcd")
        bill(key_id="key_2", key_name="worker", key_hint="wxyz", requests=5, prompt_tokens=50)
        calls(10)
        (missing,) = of_openai().explanations
        assert missing.kind == "unexplained"
        assert (missing.requests, missing.keys) == (5, ("web (…abcd)", "worker (…wxyz)"))


class TestDays:
    def test_the_days_near_the_fetch_are_provisional(self) -> None:
        fetched = dt.datetime(2026, 3, 16, 0, 5, tzinfo=dt.UTC)
        for number in range(3):
            bill(day=DAY + dt.timedelta(days=number), fetched_at=fetched)
        calls(10)
        found = of_openai(end=DAY + dt.timedelta(days=2))
        assert found.provisional_days == (dt.date(2026, 3, 15), dt.date(2026, 3, 16))
        assert found.totals.requests == Measure(30, 10, 10)
        assert found.settled.requests == Measure(10, 10, 10)
        report = reconciliation(DAY, DAY + dt.timedelta(days=2))
        assert report.below(Decimal(98)) == ()

    def test_no_settled_day_fails_nothing(self) -> None:
        bill(fetched_at=dt.datetime(2026, 3, 15, 23, 59, tzinfo=dt.UTC))
        report = reconciliation(DAY, DAY)
        assert report.providers[0].totals.percent == 0
        assert report.below(Decimal(98)) == ()

    def test_days_without_a_bill_are_not_compared(self) -> None:
        bill()
        calls(10)
        calls(10, created_at=NOON + dt.timedelta(days=1))
        found = of_openai(end=DAY + dt.timedelta(days=1))
        assert (found.days, found.missing_days) == ((DAY,), (DAY + dt.timedelta(days=1),))
        assert found.totals.requests == Measure(10, 10, 10)

    def test_a_day_on_which_nothing_was_billed_is_compared(self) -> None:
        nothing = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0}
        bill("", family="", **nothing)
        calls(3)
        found = of_openai()
        assert found.days == (DAY,)
        assert found.totals.requests == Measure(0, 3, 0)
        assert kinds(found) == ["more_captured"]

    def test_a_day_without_calls_on_which_nothing_was_billed_has_zeros(self) -> None:
        bill()
        calls(10)
        nothing = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0}
        bill("", family="", day=DAY + dt.timedelta(days=1), **nothing)
        _, empty = of_openai(end=DAY + dt.timedelta(days=1), by="day").lines
        assert empty.measures.requests == empty.measures.tokens == Measure(0, 0, 0)

    def test_a_pruned_day_is_not_compared(self) -> None:
        bill()
        bill(day=DAY + dt.timedelta(days=1))
        calls(10, created_at=NOON + dt.timedelta(days=1))
        AIUsageTracking.objects.create(user=make_user(), date=DAY, logs_pruned=True)
        found = of_openai(end=DAY + dt.timedelta(days=1))
        assert found.pruned_days == (DAY,)
        assert found.totals.percent == 100

    def test_a_provider_without_a_bill_is_shown_if_it_is_asked_for(self) -> None:
        found = reconciliation(DAY, DAY, providers=["anthropic"])
        (provider,) = found.providers
        assert (provider.fetched_at, provider.missing_days) == (None, (DAY,))
        assert reconciliation(DAY, DAY).providers == ()

    def test_other_providers_are_left_out(self) -> None:
        bill()
        bill(provider="anthropic", family="messages")
        found = reconciliation(DAY, DAY, providers=["anthropic"])
        assert [each.provider for each in found.providers] == ["anthropic"]


@pytest.mark.parametrize("by", ["day", "model", "key", "project"])
def test_a_report_takes_three_statements(
    by: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    bill()
    bill(provider="anthropic", family="messages")
    calls(3)
    with override_settings(AI_USAGE_KEY_HINT=True), django_assert_num_queries(3):
        reconciliation(DAY, DAY, by=by)


def test_the_json_has_every_field_and_no_floats_for_money() -> None:
    bill()
    bill(family="costs", requests=None, prompt_tokens=None, completion_tokens=None, cost=1)
    calls(9)
    found = json.loads(json.dumps(reconciliation(DAY, DAY).as_dict()))
    (provider,) = found["providers"]
    assert (found["start"], found["end"], found["by"]) == ("2026-03-14", "2026-03-14", "model")
    assert provider["totals"]["requests"] == {
        "billed": 10,
        "captured": 9,
        "matched": 9,
        "percent": 90.0,
    }
    assert provider["totals"]["cost"]["captured"] == "0.00900000"
    assert [each["kind"] for each in provider["explanations"]] == ["price", "unexplained"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": DAY, "end": DAY - dt.timedelta(days=1)}, "before it starts"),
        ({"start": DAY, "end": DAY, "by": "user"}, "by must be one of day, model, key, project"),
    ],
)
def test_an_invalid_report_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reconciliation(**options)


_NUMBERS = st.integers(0, 50)


class TestAnyBill(TestCase):
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "gpt-4.1", "o3-2025-04-16", "o3"]),
                st.sampled_from([0, 1]),
                _NUMBERS,
                _NUMBERS,
            ),
            max_size=6,
            unique_by=lambda row: row[:2],
        ),
        st.lists(
            st.tuples(
                st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "gpt-4.1", "o3", ""]),
                st.sampled_from([0, 1]),
                _NUMBERS,
            ),
            max_size=6,
        ),
        st.sampled_from(["day", "model", "key", "project"]),
    )
    def test_the_numbers_of_any_bill_and_log_add_up(
        self, billed: list[tuple[str, int, int, int]], logged: list[tuple[str, int, int]], by: str
    ) -> None:
        for model, day, requests, tokens in billed:
            bill(
                model,
                day=DAY + dt.timedelta(days=day),
                requests=requests,
                prompt_tokens=tokens,
                completion_tokens=0,
            )
        AIUsageLog.objects.bulk_create(
            make_log(
                model_name=model,
                created_at=NOON + dt.timedelta(days=day),
                prompt_tokens=tokens,
                completion_tokens=0,
            )
            for model, day, tokens in logged
        )
        report: Reconciliation = reconciliation(DAY, DAY + dt.timedelta(days=1), by=by)
        for found in report.providers:
            days = {day.isoformat() for day in found.days}
            for name in ("requests", "tokens"):
                total: Measure = getattr(found.totals, name)
                if total.billed is None:
                    continue
                assert total.billed == sum(row[2 if name == "requests" else 3] for row in billed)
                assert total.matched is not None
                assert total.captured is not None
                assert 0 <= total.matched <= min(total.billed, total.captured)
                if total.billed:
                    assert (total.percent == 100) == (total.matched == total.billed)
            kept = [row for row in logged if str(DAY + dt.timedelta(days=row[1])) in days]
            assert (found.totals.requests.captured or 0) in (0, len(kept))
            assert [each.kind for each in found.explanations] == sorted(
                (each.kind for each in found.explanations), key=KINDS.index
            )
            if by != "day":
                assert sum(line.measures.requests.billed or 0 for line in found.lines) == (
                    found.totals.requests.billed or 0
                )
