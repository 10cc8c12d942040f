"""The admin's pages of a call and of a daily row."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.builders import make_user, save_log
from tests.test_admin_lists import words
from usage_tracking.fields import CALL_FIELDS
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

Open = Callable[..., str]


@pytest.fixture
def open_page(client: Client) -> Open:
    """Open the page of a row as a staff user who may view it, and what the test adds."""

    def open_page(row: Any, *permissions: str) -> str:
        name = row._meta.model_name
        staff = make_user("staff", is_staff=True)
        codenames = [f"view_{name}", *permissions]
        staff.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(staff)
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(f"/admin/usage_tracking/{name}/{row.pk}/change/")
        assert answer.status_code == 200
        assert len(queries) <= 10
        return answer.text

    return open_page


def fieldsets(page: str) -> dict[str, dict[str, str]]:
    """Return label → value of each fieldset, by its title."""
    found: dict[str, dict[str, str]] = {}
    for fieldset in re.findall(r"<fieldset.*?</fieldset>", page, re.DOTALL):
        title = re.search(r"<h2[^>]*>(.*?)</h2>", fieldset)
        assert title
        found[title[1]] = {}
        for row in fieldset.split('<div class="form-row')[1:]:
            label, _, value = row.partition('<div class="readonly">')
            (name,) = re.findall(r">([^<>]*):</\w+>", label)
            found[title[1]][name] = words(value.partition('<div class="help"')[0])
    return found


class TestCall:
    def test_has_four_fieldsets_that_begin_with_the_failure(self, open_page: Open):
        log = save_log(success=False, error_message="HTTP 529\noverloaded")
        page = fieldsets(open_page(log))

        assert list(page) == ["What happened", "Money", "Who and where", "Raw data"]
        assert next(iter(page["What happened"].items())) == (
            "Reason of the failure",
            "HTTP 529 overloaded",
        )

    def test_success_has_no_reason_of_a_failure(self, open_page: Open):
        happened = fieldsets(open_page(save_log()))["What happened"]

        assert happened == {
            "Status": "OK",
            "Model": "gpt-4o",
            "Provider": "openai",
            "Operation": "chat",
            "Created at": "2026-03-14 12:00:00.000000 UTC",
            "Response time": "0.90 s",
        }

    def test_unknown_values_are_said_to_be_unknown(self, open_page: Open):
        log = save_log(
            provider="",
            model_name="",
            operation="",
            prompt_tokens=None,
            completion_tokens=None,
            success=False,
        )
        page = fieldsets(open_page(log))

        assert page["What happened"]["Reason of the failure"] == "No error message was recorded."
        assert {page["What happened"][name] for name in ("Model", "Provider", "Operation")} == {
            "unknown"
        }
        money = page["Money"]
        assert money["Cost (USD)"] == "unpriced"
        tokens = ("Prompt", "Completion", "Total", "Cached", "Reasoning")
        assert {money[f"{name} tokens"] for name in tokens} == {"not reported"}
        assert money["Other units"] == "not reported"
        assert page["Who and where"]["User"] == "unattributed"
        assert "-" not in {value for values in page.values() for value in values.values()}

    def test_zero_is_not_unknown(self, open_page: Open):
        log = save_log(prompt_tokens=0, completion_tokens=0, cached_tokens=0, cost=Decimal(0))
        money = fieldsets(open_page(log))["Money"]

        assert (money["Prompt tokens"], money["Cached tokens"]) == ("0", "0")
        assert money["Cost (USD)"] == "$0"

    def test_money_has_the_bill(self, open_page: Open):
        log = save_log(
            cost=Decimal("0.001175"),
            usage_details={"web_searches": 1234, "iterations": [{"model": "x"}]},
            metadata={"cost_source": "site"},
        )
        money = fieldsets(open_page(log))["Money"]

        assert money["Cost (USD)"] == "$0.001175"
        assert money["Other units"] == 'iterations [{"model": "x"}] web searches 1,234'
        assert "How the cost came about" in money

    def test_batch_in_progress_says_why_its_usage_is_unknown(self, open_page: Open):
        reason = "batch in progress; its end was not seen yet"
        log = save_log(
            operation="batch",
            usage_source="unknown",
            prompt_tokens=None,
            completion_tokens=None,
            metadata={"batch": {"id": "batch_1"}, "unknown": reason},
        )
        page = fieldsets(open_page(log))

        answer = f'batch {{"id": "batch_1"}} usage is unknown because {reason}'
        assert page["What happened"]["Answer"] == answer

    def test_answer_and_task_are_shown_if_the_metadata_has_them(self, open_page: Open):
        log = save_log(
            metadata={
                "unknown": "stream abandoned",
                "partial": {"prompt_tokens": 3},
                "celery_task": "shop.tasks.sum_up",
                "order": 7,
            }
        )
        page = fieldsets(open_page(log))

        assert page["What happened"]["Answer"] == (
            "usage is unknown because stream abandoned "
            'counted before the stream was cut {"prompt_tokens": 3}'
        )
        assert page["Who and where"]["Task"] == "Celery task shop.tasks.sum_up"
        assert '"order": 7' in page["Raw data"]["Metadata"]

    @pytest.mark.parametrize("garbage", ["text", [1], 7, {"x": None}], ids=str)
    def test_any_json_is_shown(self, open_page: Open, garbage: Any):
        log = save_log(metadata=garbage, usage_details=garbage)

        assert fieldsets(open_page(log))["Raw data"]["Metadata"]

    def test_every_field_of_a_call_is_shown(self, open_page: Open):
        page = open_page(save_log(success=False))

        for name in CALL_FIELDS:
            assert f"field-{name}" in page

    @pytest.mark.parametrize("permissions", [(), ("view_user",)])
    def test_user_has_a_link_if_the_viewer_may_see_the_page(
        self, open_page: Open, permissions: tuple[str, ...]
    ):
        ada = make_user("ada")
        page = open_page(save_log(user=ada), *permissions)

        assert f'href="/admin/usage_tracking/aiusagelog/?user={ada.pk}"' in page
        assert (f'href="/admin/auth/user/{ada.pk}/change/"' in page) == bool(permissions)

    def test_section_links_to_its_calls(self, open_page: Open):
        page = open_page(save_log(section="a&b"))

        assert 'href="/admin/usage_tracking/aiusagelog/?section=a%26b"' in page


class TestDailyRow:
    @pytest.fixture
    def row(self) -> AIUsageTracking:
        ada = make_user("ada")
        save_log(user=ada, cost=Decimal("0.0125"))
        save_log(user=ada, success=False)
        return AIUsageTracking.objects.get()

    def test_is_in_fieldsets(self, open_page: Open, row: AIUsageTracking):
        page = fieldsets(open_page(row))

        assert list(page) == ["What happened", "Money", "Who", "Raw data"]
        assert page["What happened"] == {
            "Date": "March 14, 2026",
            "Calls": "2",
            "Successful": "1",
            "Failed": "1 failed",
            "Average time": "0.90 s",
        }
        assert page["Money"] == {
            "Cost": "$0.0125, without unpriced calls",
            "Prompt + completion tokens": "300 + 160",
            "Total tokens": "460",
        }

    @pytest.mark.parametrize("permissions", [(), ("view_aiusagelog",)])
    def test_links_to_the_calls_of_the_day(
        self, client: Client, open_page: Open, row: AIUsageTracking, permissions: tuple[str, ...]
    ):
        save_log(user=make_user("bob"))
        page = open_page(row, *permissions)
        link = re.search(r'href="([^"]*aiusagelog[^"]*start_date[^"]*)"', page)

        assert bool(link) == bool(permissions)
        if link:
            answer = client.get(link[1].replace("&amp;", "&"))
            assert set(answer.context["cl"].result_list) == set(
                AIUsageLog.objects.filter(user__username="ada")
            )
