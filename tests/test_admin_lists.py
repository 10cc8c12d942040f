"""The admin's lists: what a row says, the sums above the rows, the period of the search."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

# Imports psycopg, whose C code accepts no frozen date.
from tests import urls  # noqa: F401
from tests.support.builders import NOON, make_user, save_log
from usage_tracking.admin.base import ReadOnlyAdmin
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)
LOGS = "/admin/usage_tracking/aiusagelog/"
DAYS = "/admin/usage_tracking/aiusagetracking/"

Show = Callable[..., Any]


@pytest.fixture
def show(client: Client) -> Show:
    """Open a list as a staff user who may view both."""
    staff = make_user("staff", is_staff=True)
    staff.user_permissions.set(
        Permission.objects.filter(codename__in=("view_aiusagelog", "view_aiusagetracking"))
    )
    client.force_login(staff)

    def show(page: str = LOGS, **parameters: Any) -> Any:
        answer = client.get(page, parameters)
        assert answer.status_code == 200
        return answer

    return show


def cell(answer: Any, name: str) -> str:
    """Return the HTML of the first row's cell."""
    match = re.search(rf'class="field-{name}[^"]*">(.*?)</t[dh]>', answer.text, re.DOTALL)
    assert match, name
    return match[1]


def words(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", html).split()))


def sums(answer: Any) -> dict[str, str]:
    """Return the sums above the list by label."""
    above = answer.context["cl"].sums
    return {each.label: f"{each.value} {each.detail}".strip() for each in above.figures}


class TestRow:
    def test_long_texts_are_one_line_with_a_tooltip(self, show: Show, subtests: Any):
        name, model = "u" * 150, "accounts/fireworks/models/" + "m" * 70
        save_log(user=make_user(name), model_name=model, section="s" * 50)
        answer = show()

        for column, text in (
            ("user_link", name),
            ("model_and_provider", f"openai {model}"),
            ("section_badge", "s" * 50),
        ):
            with subtests.test(column):
                html = cell(answer, column)
                assert f'title="{text}"' in html
                assert "ai-usage-clip" in html

    def test_date_is_one_line_and_exact_in_the_tooltip(self, show: Show):
        save_log(created_at=NOON.replace(second=7, microsecond=89))
        html = cell(show(), "moment")

        assert words(html) == "03/14/2026 12:00"
        assert 'title="2026-03-14 12:00:07.000089 UTC"' in html

    def test_failure_shows_its_error(self, show: Show):
        error = "HTTP 429\n  Too many requests: " + "please wait " * 500
        save_log(success=False, error_message=error)
        html = cell(show(), "status")

        assert words(html).startswith("Failed HTTP 429 Too many requests: please wait")
        assert "\n" not in words(html)
        assert len(words(html)) < 320
        assert f'title="{error}"' in html

    def test_failure_without_a_message_says_so(self, show: Show):
        save_log(success=False)

        assert words(cell(show(), "status")) == "Failed No error message was recorded."

    @pytest.mark.parametrize(
        ("cost", "text", "exact"),
        [
            ("1234.5678901", "$1,234.57", "$1,234.5678901"),
            ("0.00175", "$0.0018", "$0.00175"),
            ("0.00000024", "< $0.0001", "$0.00000024"),
            ("0", "$0", "$0"),
        ],
    )
    def test_cost_is_short_and_exact_in_the_tooltip(
        self, show: Show, cost: str, text: str, exact: str
    ):
        save_log(cost=Decimal(cost), user=make_user("ada"))
        html = cell(show(), "price")

        assert words(html) == text
        assert f'title="{exact}"' in html
        assert words(cell(show(DAYS), "cost")) == text

    def test_prompt_and_completion_tokens_are_told_apart(self, show: Show):
        save_log(prompt_tokens=1_284_512, completion_tokens=None)
        answer = show()

        assert words(cell(answer, "tokens")) == "1,284,512 + ?"
        assert 'title="1,284,512 prompt + ? completion tokens"' in cell(answer, "tokens")
        assert "Prompt + completion tokens" in answer.text

    @pytest.mark.parametrize(
        ("ms", "text"),
        [(0, "0.00 s"), (900, "0.90 s"), (99_990, "99.99 s"), (1_234_567, "1,235 s")],
    )
    def test_time_is_in_seconds(self, show: Show, ms: int, text: str):
        save_log(response_time_ms=ms, user=make_user("ada"))

        assert words(cell(show(), "response_time")) == text
        assert words(cell(show(DAYS), "average_time")) == text

    def test_unknown_model_is_said(self, show: Show):
        save_log(model_name="", provider="")

        assert words(cell(show(), "model_and_provider")) == "unknown model"

    def test_page_has_no_inline_style_of_ours(self, show: Show):
        save_log(success=False, error_message="x", user=make_user("ada"))

        for page in (LOGS, DAYS):
            assert not re.search(r'style="[^"]|onclick=', show(page, q="ada").text)


class TestSums:
    @pytest.fixture(autouse=True)
    def now(self) -> Any:
        with freeze_time(NOON + DAY):
            yield

    def test_cover_all_pages_of_the_filtered_list(self, show: Show, monkeypatch: Any):
        monkeypatch.setattr(ReadOnlyAdmin, "list_per_page", 1)
        for _ in range(3):
            save_log(cost=Decimal("0.5"))
        save_log(success=False, prompt_tokens=None, completion_tokens=None)
        save_log(response_time_ms=1900)
        save_log(section="other", cost=Decimal(100))

        for page in ("1", "2"):
            assert sums(show(section="chat", p=page)) == {
                "Calls": "5",
                "Failed": "1 20.0 %",
                "Tokens": "920 600 prompt + 320 completion",
                "Cost": "$1.5000 without 1 unpriced",
                "Average time": "1.10 s",
            }

    def test_are_those_of_the_chosen_period_and_filters(self, show: Show, subtests: Any):
        ada = make_user("ada")
        save_log(user=ada, cost=Decimal(1))
        save_log(user=ada, cost=Decimal(2), created_at=NOON - 40 * DAY, success=False)
        save_log(cost=Decimal(4), created_at=NOON - 400 * DAY)

        for query, cost in (
            ({"user": ada.pk}, "$1.0000"),  # of the past 30 days
            ({"user": ada.pk, "start_date": "1970-01-01"}, "$3.0000"),
            ({"start_date": "1970-01-01"}, "$7.0000"),
            ({"start_date": "2026-01-01"}, "$3.0000"),
            ({"end_date": "2026-03-01"}, "$6.0000"),
            ({"success__exact": "0"}, "$0"),
            ({"success__exact": "0", "start_date": "1970-01-01"}, "$2.0000"),
            ({"q": "ada"}, "$1.0000"),
            ({"q": "gpt", "start_date": "1970-01-01"}, "$7.0000"),
        ):
            with subtests.test(str(query)):
                assert sums(show(**query))["Cost"] == cost

    def test_say_what_they_cover(self, show: Show):
        save_log(section="other")
        filtered = show(section="other", success__exact="1")
        text = words(filtered.text)

        assert (
            "Sums of all matching rows, Feb. 14, 2026 to March 15, 2026 · success: Yes "
            "· section: Other Sum all time" in text
        )
        url = unescape(re.search(r'href="([^"]*)">Sum all time', filtered.text)[1])  # type: ignore[index]
        everything = show(LOGS + url)
        assert "Sums of all matching rows, all time · success: Yes" in words(everything.text)
        assert "Sum all time" not in everything.text

    def test_unknown_provider_or_model_is_a_filter_like_any_other(self, show: Show):
        save_log(provider="", cost=Decimal(1))
        save_log(cost=Decimal(2))

        answer = show(provider="")

        assert sums(answer)["Cost"] == "$1.0000"
        assert answer.context["cl"].sums.filters == ("provider: (none)",)

    def test_unfiltered_list_adds_up_nothing(self, show: Show):
        save_log(user=make_user("ada"))
        for page in (LOGS, DAYS):
            for query in ({}, {"start_date": "", "end_date": ""}):
                with CaptureQueriesContext(connection) as queries:
                    answer = show(page, **query)

                assert not [q["sql"] for q in queries if "SUM(" in q["sql"]]
                assert "Show the past 30 days with their sums" in answer.text

    def test_unknown_sums_are_unknown(self, show: Show):
        save_log(prompt_tokens=None, completion_tokens=None)
        found = sums(show(section="chat"))

        assert (found["Tokens"], found["Cost"]) == ("unknown", "unknown")

    def test_daily_list_has_sums(self, show: Show):
        ada = make_user("ada")
        save_log(user=ada, cost=Decimal("0.25"))
        save_log(user=ada, cost=Decimal("0.5"), created_at=NOON - DAY, success=False)
        save_log(user=make_user("bob"), cost=Decimal(1))

        assert sums(show(DAYS, user=ada.pk)) == {
            "Calls": "2",
            "Failed": "1 50.0 %",
            "Tokens": "460 300 prompt + 160 completion",
            "Cost": "$0.7500",
            "Average time": "0.90 s",
        }

    def test_cost_one_statement_and_ten_in_all(self, show: Show, subtests: Any):
        save_log(user=make_user("ada"))
        chosen = {"start_date": "2026-01-01", "q": "ada", "user": "1"}
        for page, query in (
            (LOGS, chosen | {"section": "chat", "provider": "openai", "model_name": "gpt-4o"}),
            (LOGS, {"q": "nothing"}),
            (DAYS, chosen),
            (DAYS, {"q": "nothing"}),
        ):
            with subtests.test(page + str(query)), CaptureQueriesContext(connection) as queries:
                show(page, **query)
                assert len(queries) <= 10
                assert len([q for q in queries if "SUM(" in q["sql"]]) <= 1


@freeze_time(NOON + DAY)
class TestSearchedPeriod:
    PAST_30_DAYS = "Searched: Feb. 14, 2026 to March 15, 2026."

    def test_is_said_with_a_link_to_all_time(self, show: Show):
        old = save_log(model_name="turbo", created_at=NOON - 60 * DAY)
        answer = show(q="turbo")

        assert self.PAST_30_DAYS in answer.text
        assert "No AI usage logs found: Feb. 14, 2026 to March 15, 2026." in answer.text
        url = unescape(re.search(r'href="([^"]*)">Search all time', answer.text)[1])  # type: ignore[index]
        everything = show(LOGS + url)
        assert "Searched: all time." in everything.text
        assert "Search all time" not in everything.text
        assert list(everything.context["cl"].result_list) == [old]

    def test_is_said_when_something_is_found(self, show: Show):
        save_log(model_name="turbo")

        assert self.PAST_30_DAYS in show(q="turbo").text

    def test_is_the_chosen_one(self, show: Show):
        old = save_log(model_name="turbo", created_at=NOON - 60 * DAY)
        answer = show(q="turbo", start_date="2026-01-01", end_date="2026-01-31")

        assert "Searched: Jan. 1, 2026 to Jan. 31, 2026." in answer.text
        assert list(answer.context["cl"].result_list) == [old]

    def test_is_all_time_for_an_id(self, show: Show):
        old = save_log(created_at=NOON - 400 * DAY)
        answer = show(q=str(old.pk))

        assert "Searched: all time." in answer.text
        assert sums(answer)["Calls"] == "1"

    def test_is_all_time_for_daily_rows(self, show: Show):
        save_log(user=make_user("ada"), created_at=NOON - 400 * DAY)
        answer = show(DAYS, q="ad")

        assert "Searched: all time." in answer.text
        assert len(answer.context["cl"].result_list) == 1

    def test_is_marked_in_the_filter(self, show: Show):
        save_log()
        marked = {
            query: re.findall(r'class="selected">\s*<a[^>]*>([^<]*)', show(LOGS + query).text)[0]
            for query in ("", "?q=gpt", "?q=gpt&start_date=1970-01-01", "?start_date=1970-01-01")
        }

        assert list(marked.values()) == ["Any time", "Past 30 days", "Any time", "Any time"]

    def test_any_time_in_the_filter_searches_all_time(self, show: Show):
        save_log(model_name="turbo", created_at=NOON - 400 * DAY)
        answer = show(q="turbo")
        url = unescape(re.search(r'href="([^"]*)">Any time', answer.text)[1])  # type: ignore[index]

        assert len(show(LOGS + url).context["cl"].result_list) == 1

    def test_export_searches_the_same_period(self, show: Show):
        save_log(model_name="turbo-old", created_at=NOON - 60 * DAY)
        save_log(model_name="turbo-new")

        def exported(**query: str) -> bytes:
            return b"".join(show(f"{LOGS}export/csv/", q="turbo", **query).streaming_content)

        assert b"turbo-old" not in exported()
        assert b"turbo-old" in exported(start_date="1970-01-01")


class TestPeriodFields:
    @pytest.mark.parametrize("page", [LOGS, DAYS])
    def test_form_keeps_the_other_parameters(self, show: Show, page: str):
        answer = show(page, user="0", q='a"da', start_date="2026-03-01", p="1")
        form = re.search(r'<form id="ai-usage-period".*?</form>', answer.text, re.DOTALL)

        assert form
        assert re.findall(r'name="(\w+)" value="([^"]*)"', form[0]) == [
            ("user", "0"),
            ("q", "a&quot;da"),
        ]
        fields = re.findall(r'<input type="date" name="(\w+)" value="(.*?)" form', answer.text)
        assert fields == [("start_date", "2026-03-01"), ("end_date", "")]

    def test_empty_fields_mean_any_time(self, show: Show):
        save_log()

        assert len(show(start_date="", end_date="").context["cl"].result_list) == 1

    def test_list_without_rows_has_the_form(self, show: Show):
        assert 'id="ai-usage-period"' in show().text
        assert not AIUsageLog.objects.exists()
