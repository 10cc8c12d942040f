"""The reconciliation over HTTP: the stored bills, compared with the log."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time
from rest_framework.serializers import BaseSerializer, ListSerializer
from rest_framework.test import APIClient

from tests.api.conftest import RECONCILIATION, client_of, get, raw
from tests.support.builders import NOON, make_log, save_bill, save_log
from usage_tracking.api.reconciliation import ReconciliationSerializer
from usage_tracking.models import AIUsageLog
from usage_tracking.reports import reconciliation

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)
MARCH = {"start": "2026-03-01", "end": "2026-03-31"}
SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
#: Query strings, and the parameter that is wrong.
WRONG = [
    ("start=yesterday", "start"),
    ("start=2026-02-30", "start"),
    ("start=20260301", "start"),
    ("start=0001-01-01", "start"),
    ("start=2026-03-01T00:00:00Z", "start"),
    ("start=2026-03-01%00", "start"),
    ("end=", "end"),
    ("end=2026-03-01&end=2026-03-02", "end"),
    ("start=2026-03-02&end=2026-03-01", "end"),
    ("start=2025-03-01&end=2026-03-02", "start"),
    ("start_date=2026-03-01", "start_date"),
    ("days=7", "days"),
    ("by=", "by"),
    ("by=user", "by"),
    ("by=model,day", "by"),
    ("by=model&by=day", "by"),
    ("provider=", "provider"),
    ("provider=x%00", "provider"),
    ("provider=" + "x" * 51, "provider"),
    ("section=chat", "section"),
    ("user=all", "user"),
    ("model=gpt-4o", "model"),
    ("key=sk-admin", "key"),
    ("limit=1", "limit"),
]


def answer(user: Any, /, **parameters: Any) -> Any:
    response = client_of(user).get(RECONCILIATION, MARCH | parameters)
    assert response.status_code == 200, response.content
    return response.json()


def keys(value: Any) -> Any:
    """Return the keys of `value` at every level; of a list, those of its first item."""
    if isinstance(value, dict):
        return {name: keys(item) for name, item in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value else None


def described(field: Any) -> Any:
    """Return the same keys as a serializer has them."""
    if isinstance(field, ListSerializer):
        return [described(field.child)]
    if isinstance(field, BaseSerializer):
        return {name: described(each) for name, each in field.fields.items()}
    return None


class TestAnswer:
    @pytest.fixture(autouse=True)
    def _calls(self, db: None) -> None:
        AIUsageLog.objects.bulk_create(make_log(cost=Decimal("0.25")) for _ in range(19))
        save_bill(requests=20, prompt_tokens=3_000, completion_tokens=1_600, cost=Decimal(5))

    def test_it_says_how_much_of_the_bill_the_log_has(self, auditor: User):
        found = answer(auditor)

        assert {name: found[name] for name in found if name != "providers"} == {
            "start": "2026-03-01",
            "end": "2026-03-31",
            "timezone": "UTC",
            "by": "model",
        }
        (provider,) = found["providers"]
        assert (provider["provider"], provider["days"]) == ("openai", ["2026-03-14"])
        assert len(provider["missing_days"]) == 30
        assert provider["fetched_at"].startswith("2026-03-17T12:00:00")
        assert provider["totals"] == {
            "requests": {"billed": 20, "captured": 19, "matched": 19, "percent": 95.0},
            "tokens": {"billed": 4_600, "captured": 4_370, "matched": 4_370, "percent": 95.0},
            "cost": {
                "billed": "5.00000000",
                "captured": "4.75000000",
                "matched": "4.75000000",
                "percent": 95.0,
            },
        }
        (line,) = provider["lines"]
        assert (line["key"], line["label"]) == ("gpt-4o", "gpt-4o")
        assert line["requests"] == provider["totals"]["requests"]

    def test_it_is_what_the_report_says(self, auditor: User):
        found = reconciliation(dt.date(2026, 3, 1), dt.date(2026, 3, 31), by="key")

        assert answer(auditor, by="key") == found.as_dict()

    def test_its_fields_are_those_of_the_schema(self, auditor: User):
        save_bill(day=dt.date(2026, 3, 13), model_name="gpt-5")

        found = answer(auditor)

        provider = found["providers"][0]
        assert provider["lines"]
        assert provider["explanations"]
        provider |= {f"{kind}_days": [] for kind in ("provisional", "pruned", "missing")}
        expected = described(ReconciliationSerializer())
        days = ("days", "provisional_days", "pruned_days", "missing_days")
        lists = {name: keys(provider[name]) for name in days}
        explained: Any = {"models": keys(provider["explanations"][0]["models"])}
        explained["keys"] = keys(provider["explanations"][0]["keys"])
        (described_provider,) = expected["providers"]
        described_provider |= lists
        described_provider["explanations"][0] |= explained
        assert keys(found) == expected

    @pytest.mark.parametrize(
        ("by", "line"), [("day", "2026-03-14"), ("model", "gpt-4o"), ("key", "key_1")]
    )
    def test_lines_are_what_is_asked_for(self, auditor: User, by: str, line: str):
        save_bill(key_id="key_1", requests=5)

        found = answer(auditor, by=by, start="2026-03-14", end="2026-03-14")

        assert found["by"] == by
        assert line in {each["key"] for each in found["providers"][0]["lines"]}

    def test_one_provider_can_be_asked_for(self, auditor: User):
        save_bill(provider="openrouter", family="activity")

        assert [each["provider"] for each in answer(auditor)["providers"]] == [
            "openai",
            "openrouter",
        ]
        (one,) = answer(auditor, provider="openrouter")["providers"]
        assert one["provider"] == "openrouter"
        (none,) = answer(auditor, provider="anthropic")["providers"]
        assert (none["provider"], none["fetched_at"], none["days"]) == ("anthropic", None, [])

    def test_what_the_provider_does_not_say_is_null(self, auditor: User):
        save_bill(provider="anthropic", family="messages", model_name="claude-x", requests=None)

        totals = answer(auditor, provider="anthropic")["providers"][0]["totals"]

        assert totals["requests"]["billed"] is None
        assert totals["requests"]["percent"] is None
        assert totals["cost"]["billed"] is None

    def test_names_stay_data(self, auditor: User):
        save_bill(model_name=SCRIPT, key_id=SCRIPT, key_name=SCRIPT, requests=500)

        response = get(auditor, RECONCILIATION, **MARCH)
        client = APIClient()
        client.force_login(auditor)
        page = client.get(RECONCILIATION, MARCH, HTTP_ACCEPT="text/html")

        assert response["Content-Type"] == "application/json"
        lines = response.json()["providers"][0]["lines"]
        assert SCRIPT in {line["key"] for line in lines}
        assert page.status_code == 200
        assert "<script>alert" not in page.content.decode()
        assert "<img src=x" not in page.content.decode()

    def test_it_takes_as_many_statements_as_the_report(self):
        for day in range(1, 14):
            save_bill(day=dt.date(2026, 3, day), provider=("openai", "aws")[day % 2])
        client = client_of(User.objects.create_superuser("root"))

        with CaptureQueriesContext(connection) as queries:
            assert client.get(RECONCILIATION, MARCH).status_code == 200

        assert len(queries) <= 3

    def test_it_is_sent_again_if_the_bill_or_the_log_has_changed(self, auditor: User):
        client = client_of(auditor)

        def tag(known: str = "") -> Any:
            response = client.get(RECONCILIATION, MARCH, HTTP_IF_NONE_MATCH=known)
            return response.status_code, response["ETag"]

        _, first = tag()
        assert tag(first)[0] == 304
        save_log(cost=Decimal(0))
        status, second = tag(first)
        assert status == 200
        save_bill(day=dt.date(2026, 3, 1))
        assert tag(second)[0] == 200
        response = client.get(RECONCILIATION, MARCH)
        assert {"private", "no-store"} <= set(response["Cache-Control"].split(", "))


class TestPeriod:
    @pytest.mark.parametrize(
        ("query", "days"),
        [
            ({}, ("2026-03-08", "2026-03-14")),
            ({"start": "2026-03-10"}, ("2026-03-10", "2026-03-14")),
            ({"end": "2026-03-10"}, ("2026-03-04", "2026-03-10")),
            ({"start": "2025-03-14"}, ("2025-03-14", "2026-03-14")),
        ],
    )
    @override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Auckland")
    def test_it_ends_with_today_in_utc(
        self, auditor: User, query: dict[str, str], days: tuple[str, str]
    ):
        with freeze_time(NOON):  # the 15th in Auckland
            found = get(auditor, RECONCILIATION, **query).json()

        assert (found["start"], found["end"]) == days

    @override_settings(AI_USAGE_DAY_TIMEZONE="America/Los_Angeles")
    def test_calls_count_under_their_day_in_utc(self, auditor: User):
        save_log(created_at=dt.datetime(2026, 3, 14, 0, 0, tzinfo=dt.UTC))  # the 13th there
        save_log(created_at=dt.datetime(2026, 3, 14, 23, 59, 59, tzinfo=dt.UTC))
        save_log(created_at=dt.datetime(2026, 3, 15, 0, 0, tzinfo=dt.UTC))
        save_bill(requests=2)

        (provider,) = answer(auditor, start="2026-03-14", end="2026-03-14")["providers"]

        assert provider["totals"]["requests"]["captured"] == 2


@pytest.mark.parametrize(("query", "wrong"), WRONG)
def test_wrong_parameter_is_named(auditor: User, query: str, wrong: str):
    with freeze_time(NOON):
        response = raw(auditor, RECONCILIATION, query)

    assert (response.status_code, list(response.json())) == (400, [wrong]), response.content
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("start=2026-03-01T00:00:00Z", "Give a day, such as 2026-10-01."),
        ("start=2025-03-01&end=2026-03-02", "A period can have at most 366 days."),
        ("by=user", "Give one of day, model, key, project."),
    ],
)
def test_error_says_what_to_give(auditor: User, query: str, message: str):
    (messages,) = raw(auditor, RECONCILIATION, query).json().values()

    assert messages == [message]


def test_it_fetches_nothing_and_needs_no_account(auditor: User):
    with override_settings(AI_USAGE_BILLING={"openai": {"key": "sk-admin-secret"}}):
        response = get(auditor, RECONCILIATION)

    assert (response.status_code, response.json()["providers"]) == (200, [])
    assert b"sk-admin" not in response.content
