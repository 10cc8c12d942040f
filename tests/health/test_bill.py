"""The test of the bills: whether they are fetched, and how much of them the log has."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from freezegun import freeze_time
from pytest_django import DjangoAssertNumQueries

from tests.support.builders import make_log
from tests.support.commands import run_command
from usage_tracking.health import Thresholds, bill
from usage_tracking.health.findings import Finding
from usage_tracking.models import AIProviderBill, AIUsageLog

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 3, 14, 12, 0, tzinfo=dt.UTC)
KEY = "sk-admin-Qz7pL0vXeW3nT5yBkM9c"
COMMAND = "python manage.py reconcile_ai_usage"


@pytest.fixture(scope="module", autouse=True)  # freezing the time takes a while
def noon() -> Iterator[None]:
    with freeze_time(NOW):
        yield


@pytest.fixture(autouse=True)
def accounts(settings: Any) -> dict[str, Any]:
    settings.AI_USAGE_BILLING = {"openai": {"key": KEY}}
    return settings.AI_USAGE_BILLING


def store(days_ago: int = 3, *, fetched_days_ago: float = 0, **changes: Any) -> None:
    """Store what was billed for 100 calls."""
    values: dict[str, Any] = {
        "provider": "openai",
        "day": NOW.date() - dt.timedelta(days=days_ago),
        "family": "completions",
        "model_name": "gpt-4o",
        "requests": 100,
        "prompt_tokens": 15_000,
        "completion_tokens": 8_000,
        "fetched_at": NOW - dt.timedelta(days=fetched_days_ago),
    }
    AIProviderBill.objects.create(**values | changes)


def calls(number: int, days_ago: int = 3, **changes: Any) -> None:
    at = NOW - dt.timedelta(days=days_ago)
    AIUsageLog.objects.bulk_create(make_log(created_at=at, **changes) for _ in range(number))


def found(**limits: Any) -> list[Finding]:
    result = bill.bills("default", Thresholds(**limits))
    assert result.title == "Checking the providers' bills"
    return list(result.findings)


def test_site_without_accounts_asks_no_database(
    settings: Any, django_assert_num_queries: DjangoAssertNumQueries
):
    settings.AI_USAGE_BILLING = {}
    store()

    with django_assert_num_queries(0):
        assert found() == [
            Finding(
                "note",
                "no_bills",
                "AI_USAGE_BILLING is not set: the log is not compared with bills",
            )
        ]


def test_complete_log_is_ok():
    store()
    store(4)
    calls(100)
    calls(100, 4)

    assert found() == [
        Finding(
            "ok",
            "bill_share",
            "OpenAI: the log has 100.0 % of what was billed from 2026-03-10 to 2026-03-11",
        )
    ]


def test_bill_was_never_fetched(accounts: dict[str, Any]):
    accounts["aws"] = {"regions": ["eu-central-1"]}
    store()
    calls(100)

    assert [(each.level, each.code) for each in found()] == [
        ("ok", "bill_share"),
        ("warning", "bill_never_fetched"),
    ]
    assert found()[1] == Finding(
        "warning",
        "bill_never_fetched",
        "The bill of Amazon Bedrock was never fetched; let cron fetch it every day",
        COMMAND,
    )


def test_bill_is_old():
    store(5, fetched_days_ago=3.01)
    calls(100, 5)

    old, share = found()

    assert (old.level, old.code, old.fix) == ("warning", "bill_old", COMMAND)
    assert old.text == (
        "The bill of OpenAI was last fetched at 2026-03-11 11:45 UTC, more than 3 days ago; let "
        "cron fetch it every day"
    )
    assert share.code == "bill_share"
    store(4, fetched_days_ago=2.99)  # what counts is the last fetch
    assert [each.code for each in found()] == ["bill_share"]


def test_log_lacks_too_much_of_the_settled_days():
    store()
    store(0)  # provisional: does not count
    calls(97)

    (share,) = found()

    assert share == Finding(
        "warning",
        "bill_share",
        "OpenAI: the log has 97.0 % of what was billed on 2026-03-11, less than 98 %",
        f"{COMMAND} --provider openai",
    )
    assert [each.level for each in found(min_captured=97)] == ["ok"]


def test_one_missing_call_is_not_rounded_away():
    store(requests=1, prompt_tokens=2_000_000, completion_tokens=0)
    calls(1, prompt_tokens=1_999_999, completion_tokens=0)

    assert "the log has 99.9 % of" in found()[0].text


def test_no_settled_day_is_a_note():
    store(0)

    (share,) = found()

    assert (share.level, share.text) == ("note", "OpenAI: of the last 7 days, no day is settled")


def test_settled_day_without_calls_is_a_note():
    store(requests=0, prompt_tokens=0, completion_tokens=0)

    (share,) = found()

    assert (share.level, share.text) == (
        "note",
        "OpenAI: of the last 7 days, the settled days have nothing to compare",
    )


def test_admin_key_makes_calls():
    store()
    calls(99)
    calls(1, metadata={"key_hint": KEY[-4:]})

    share, key = found()

    assert share.level == "ok"
    assert (key.level, key.code) == ("warning", "billing_key")
    assert key.text == (
        "In the last 7 days, calls were made with a key that ends like the admin key of OpenAI"
    )
    assert KEY[-4:] not in f"{key.text}{key.fix}"


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"key_hint": "abcd"}},
        {"metadata": {"key_hint": KEY[-4:]}, "provider": "anthropic"},
        {"metadata": {"key_hint": KEY[-4:]}, "days_ago": 8},
    ],
)
def test_other_keys_providers_and_old_calls_are_no_warning(changes: dict[str, Any]):
    store()
    calls(100)
    calls(1, **changes)

    assert [each.code for each in found()] == ["bill_share"]


def test_account_without_a_key_on_this_host_is_compared(accounts: dict[str, Any]):
    accounts["openai"]["key"] = ""
    store()
    calls(100, metadata={"key_hint": ""})

    assert [(each.level, each.code) for each in found()] == [("ok", "bill_share")]


def test_takes_four_statements_for_any_number_of_providers(
    accounts: dict[str, Any], django_assert_max_num_queries: Any
):
    for provider in ("openai", "anthropic", "openrouter", "aws"):
        accounts[provider] = {"key": KEY}
        for days_ago in range(7):
            store(days_ago, provider=provider)
        calls(5, provider=provider)

    with django_assert_max_num_queries(4):
        assert len(found()) == 4


@pytest.mark.server
def test_diagnose_has_the_test_and_its_threshold():
    store()
    calls(97)

    ended = run_command("diagnose_ai_usage", "--skip-sdks", "--json", "--min-captured", "99.5")

    last = json.loads(ended.out)["tests"][-1]
    assert (last["title"], last["ok"]) == ("Checking the providers' bills", True)
    assert [each["code"] for each in last["findings"]] == ["bill_share"]
    assert last["findings"][0]["text"].endswith("less than 99.5 %")
