"""The dashboard's panel of bills: what staff see of them, and what it costs."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver
from freezegun import freeze_time

from tests.support.builders import NOON, make_log, make_user, save_bill, save_log
from tests.test_dashboard import DAY, URL
from usage_tracking.models import AIUsageLog

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]

WEEK = {"start_date": "2026-03-08", "end_date": "2026-03-14"}
TITLE = "Captured against billed"
ACCOUNT = {"openai": {"key": "sk-admin-secret"}}


@pytest.fixture
def frozen() -> Any:
    _ = get_resolver().url_patterns  # what it imports must see the real clock
    with freeze_time(NOON):
        yield


@pytest.fixture
def viewer(client: Client) -> Client:
    user = make_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_aiusagelog"))
    client.force_login(user)
    return client


def panel(viewer: Client, **query: str) -> str:
    """Return the text of the panel as a reader sees it; "" without a panel."""
    answer = viewer.get(URL, WEEK | query)
    assert answer.status_code == 200
    found = re.search(r'<section class="ai-usage-billed".*?</section>', answer.text, re.DOTALL)
    text = unescape(re.sub(r"<[^>]*>", " ", found[0])) if found else ""
    return re.sub(r"\s+", " ", text).strip()


def save_calls(number: int, **changes: Any) -> None:
    AIUsageLog.objects.bulk_create(make_log(**changes) for _ in range(number))


class TestNumbers:
    def test_calls_that_escaped_are_seen(self, viewer: Client):
        save_calls(19, cost=Decimal("0.25"))
        save_bill(requests=20, prompt_tokens=3_000, completion_tokens=1_600, cost=Decimal(5))

        text = panel(viewer)

        assert text.startswith(f"{TITLE} ")
        assert "Days of bills are those of UTC: March 8, 2026 to March 14, 2026." in text
        assert "openai Requests captured 95.0 % 19 of 20 billed" in text
        assert "Tokens captured 95.0 % 4,370 of 4,600 billed" in text
        assert "Cost captured $4.7500 of $5.0000 billed" in text
        assert "Compared 1 day: March 14, 2026" in text
        assert "Without a bill 6 days: March 8, 2026 to March 13, 2026" in text
        assert "Fetched March 17, 2026, 12:00 UTC" in text
        assert "gpt-4o" in text.partition("billed Tokens")[2]  # where the missing call is

    def test_complete_log_has_all(self, viewer: Client):
        save_calls(2, cost=Decimal(1))
        save_bill(requests=2, prompt_tokens=300, completion_tokens=160)

        text = panel(viewer)

        assert "Requests captured 100.0 % 2 of 2 billed" in text
        assert "Tokens captured 100.0 % 460 of 460 billed" in text
        assert "Cost captured $2.0000 the provider does not say what it billed" in text

    def test_almost_complete_log_has_less_than_all(self, viewer: Client):
        save_calls(1)
        save_bill(prompt_tokens=150_000_000)

        assert "Tokens captured < 0.1 % 230 of 150,000,080 billed" in panel(viewer)

    def test_what_the_provider_does_not_say_is_not_known(self, viewer: Client):
        save_log(provider="anthropic", model_name="claude-x")
        save_bill(provider="anthropic", family="messages", model_name="claude-x", requests=None)

        text = panel(viewer)

        assert "Requests captured not known the provider does not say" in text
        assert "Tokens captured 100.0 % 230 of 230 billed" in text

    def test_days_that_may_change_are_named(self, viewer: Client):
        save_log()
        save_bill(fetched_at=NOON)

        assert "Provisional 1 day: March 14, 2026" in panel(viewer)

    def test_days_are_those_of_utc_in_any_zone(self, viewer: Client):
        with override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Auckland"):
            save_log(created_at=NOON.replace(hour=23))  # the 15th in Auckland
            save_bill()

            text = panel(viewer, start_date="2026-03-14", end_date="2026-03-14")

        assert "Requests captured 100.0 % 1 of 1 billed" in text

    def test_day_that_has_not_begun_in_utc_is_left_out(self, viewer: Client):
        save_bill()
        with override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Auckland"):
            tomorrow = str((NOON + DAY).date())

            assert "of UTC: March 14, 2026." in panel(
                viewer, start_date="2026-03-14", end_date=tomorrow
            )
            assert panel(viewer, start_date=tomorrow, end_date=tomorrow) == ""

    def test_period_without_a_call_has_its_bill(self, viewer: Client):
        save_bill()

        answer = viewer.get(URL, WEEK)

        assert "No AI calls were recorded in this period." in answer.text
        assert "Requests captured 0.0 % 0 of 1 billed" in panel(viewer)

    def test_day_on_which_nothing_was_billed_is_not_a_share(self, viewer: Client):
        save_bill(
            family="", model_name="", requests=0, prompt_tokens=0, completion_tokens=0, cost=0
        )
        save_log(provider="azure")

        text = panel(viewer)

        assert "openai Requests captured nothing billed 0 captured" in text
        assert "Cost captured $0 of $0 billed" in text

    def test_every_provider_has_its_own(self, viewer: Client):
        save_bill()
        save_bill(provider="openrouter", family="activity", requests=2)

        text = panel(viewer)

        assert "openai Requests captured 0.0 % 0 of 1 billed" in text
        assert "openrouter Requests captured 0.0 % 0 of 2 billed" in text

    def test_meter_has_the_share(self, viewer: Client):
        save_calls(3)
        save_bill(requests=4, prompt_tokens=600, completion_tokens=320)

        answer = viewer.get(URL, WEEK)

        widths = re.findall(r'<rect class="ai-usage-matched" width="([^"]*)"', answer.text)
        assert widths == ["75.00", "75.00"]
        assert " style=" not in answer.text


class TestWhenItIsShown:
    def test_bills_of_other_days_do_not_show_it(self, viewer: Client):
        save_bill(day=dt.date(2026, 3, 7))
        save_bill(day=dt.date(2026, 3, 15))

        assert panel(viewer) == ""

    def test_filters_that_bills_do_not_know_hide_it(self, viewer: Client, subtests: Any):
        save_bill()
        with override_settings(AI_USAGE_BILLING=ACCOUNT):
            for query in (
                {"section": "chat"},
                {"model_name": "gpt-4o"},
                {"user": "viewer"},
                {"user": "nobody"},
                {"provider": "openai", "section": "chat"},
                {"provider": "?"},
            ):
                with subtests.test(str(query)):
                    assert panel(viewer, **query) == ""

    def test_filter_by_provider_narrows_it(self, viewer: Client):
        save_bill()
        save_bill(provider="anthropic", family="messages", requests=None)

        text = panel(viewer, provider="openai")

        assert "openai Requests" in text
        assert "anthropic" not in text
        assert panel(viewer, provider="azure") == ""

    def test_account_whose_bill_was_never_fetched_is_named(self, viewer: Client):
        with override_settings(
            AI_USAGE_BILLING=ACCOUNT | {"anthropic": {"key": "sk-admin-secret"}}
        ):
            both = panel(viewer)
            save_bill()
            one = panel(viewer)
            answer = viewer.get(URL, WEEK)

        assert both.endswith(
            "No bill of anthropic, openai was fetched for these days. "
            "Run python manage.py reconcile_ai_usage --days 7 ."
        )
        assert one.endswith(
            "No bill of anthropic was fetched for these days. "
            "Run python manage.py reconcile_ai_usage --days 7 --provider anthropic ."
        )
        assert "sk-admin-secret" not in answer.text

    def test_command_names_the_days_of_the_past(self, viewer: Client):
        with override_settings(AI_USAGE_BILLING=ACCOUNT):
            text = panel(viewer, start_date="2026-02-01", end_date="2026-02-10")

        assert "--days 10 --until 2026-02-10 --provider openai" in text

    def test_account_of_another_provider_is_not_named(self, viewer: Client):
        with override_settings(AI_USAGE_BILLING=ACCOUNT):
            assert panel(viewer, provider="anthropic") == ""
            assert "No bill of openai" in panel(viewer, provider="openai")

    def test_long_period_asks_for_a_shorter_one(self, viewer: Client):
        long = {"start_date": "2025-12-12"}  # 93 days
        assert panel(viewer, **long) == ""

        with override_settings(AI_USAGE_BILLING=ACCOUNT):
            assert "Choose a period of at most 92 days" in panel(viewer, **long)
        save_bill()
        text = panel(viewer, **long)
        assert text.endswith(
            "Choose a period of at most 92 days to compare the log with the bills."
        )
        assert "Requests" not in text
        assert panel(viewer, provider="azure", **long) == ""
        assert "Requests captured" in panel(viewer, start_date="2025-12-13")

    def test_staff_without_the_permission_see_nothing(self, client: Client):
        save_bill()
        client.force_login(make_user("staff", is_staff=True))

        answer = client.get(URL, WEEK)

        assert answer.status_code == 403
        assert TITLE not in answer.text


def test_names_are_escaped(viewer: Client):
    text = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    save_bill(provider=text[:50], model_name=text, key_id=text, key_name=text, line_item=text)
    save_bill(model_name=text, key_id=text, key_name=text, requests=9)

    answer = viewer.get(URL, WEEK)

    assert TITLE in answer.text
    assert "&lt;script&gt;alert" in answer.text.partition(TITLE)[2]
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text


class TestStatements:
    def count(self, viewer: Client, **query: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert viewer.get(URL, WEEK | query).status_code == 200
        return len(queries)

    def test_one_finds_no_bill_and_three_compare_any(self, viewer: Client):
        save_calls(5, cost=1)
        hidden = self.count(viewer, section="chat")
        none = self.count(viewer)
        with override_settings(AI_USAGE_BILLING=ACCOUNT):
            account = self.count(viewer)
        for day in range(8, 15):
            for model in ("gpt-4o", "gpt-5"):
                save_bill(day=dt.date(2026, 3, day), model_name=model)
                save_bill(day=dt.date(2026, 3, day), provider="azure", model_name=model)

        assert none == account == hidden + 1
        assert hidden + 1 < self.count(viewer) <= hidden + 3

    def test_long_period_takes_one(self, viewer: Client):
        save_calls(1, cost=1)
        long = {"start_date": "2025-12-12"}
        hidden = self.count(viewer, section="chat", **long)
        save_bill()

        assert self.count(viewer, **long) == hidden + 1
        with override_settings(AI_USAGE_BILLING=ACCOUNT):
            assert self.count(viewer, **long) == hidden
