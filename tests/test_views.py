"""A user's own page and summary."""

from __future__ import annotations

import datetime as dt
import re
from types import ModuleType

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import Http404
from django.template import Context, Template
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import include, path
from freezegun import freeze_time

from tests.support.builders import NOON, make_user, save_log

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("march")]

URL = "/usage/"
DAY = dt.timedelta(days=1)
TAG = Template("{% load ai_usage %}{% ai_usage_summary %}")
FREE = ModuleType("site_that_shows_no_costs")
FREE.urlpatterns = [  # type: ignore[attr-defined]
    path("usage/", include("usage_tracking.urls"), {"show_cost": False, "limit": 2}),
]


def tag(options):
    return Template(f"{{% load ai_usage %}}{{% ai_usage_summary {options} %}}")


@pytest.fixture
def march():
    with freeze_time(NOON):
        yield


def values(answer):
    return {card.label: card.value for card in answer.context["cards"]}


class TestOwnPage:
    def test_shows_the_users_own_month(self, client):
        ada = make_user("ada")
        save_log(user=ada, cost=0.25)
        save_log(user=ada, section="rag_pipeline", created_at=NOON - 3 * DAY, success=False)
        save_log(user=ada, created_at=NOON - 20 * DAY)  # in February
        client.force_login(ada)

        answer = client.get(URL)

        assert values(answer) == {
            "Calls": "2",
            "Tokens": "460",
            "Cost": "$0.2500",
            "Failures": "1",
        }
        assert "Your AI usage in March 2026" in answer.text
        assert "RAG Pipeline" in answer.text
        assert answer.text.count('role="img"') == 3
        assert answer["Cache-Control"].startswith("max-age=0")

    def test_shows_nothing_of_other_users(self, client):
        save_log(user=make_user("grace"), section="secret", model_name="secret")
        save_log(section="secret")
        client.force_login(make_user("ada"))

        answer = client.get(URL)

        assert values(answer)["Calls"] == "0"
        assert "secret" not in answer.text
        assert "grace" not in answer.text
        assert "You made no AI calls in this month." in answer.text

    def test_no_parameter_changes_whose_page_it_is(self, client, subtests):
        grace = make_user("grace")
        save_log(user=grace, section="secret")
        client.force_login(make_user("ada"))

        for query in (f"?user={grace.pk}", f"?user_id={grace.pk}", "?section=secret"):
            with subtests.test(query):
                assert values(client.get(URL + query))["Calls"] == "0"

    def test_visitors_are_sent_to_the_login(self, client):
        assert client.get(URL).status_code == 302

    def test_other_months_are_linked(self, client):
        ada = make_user("ada")
        save_log(user=ada, created_at=NOON - 20 * DAY)
        client.force_login(ada)

        assert 'href="?month=2026-02"' in client.get(URL).text
        answer = client.get(f"{URL}?month=2026-02")
        assert values(answer)["Calls"] == "1"
        assert 'href="?month=2026-03"' in answer.text
        assert "month=2026-04" not in client.get(URL).text

    def test_months_end_with_the_first_call(self, client):
        ada = make_user("ada")
        save_log(user=ada, created_at=NOON - 70 * DAY)  # in January
        save_log(user=make_user("grace"), created_at=NOON - 200 * DAY)
        client.force_login(ada)

        links = {}
        for month in ("2026-03", "2026-02", "2026-01", "2024-06"):
            context = client.get(URL, {"month": month}).context
            links[month] = (context["month_before"], context["month_after"])

        assert links == {
            "2026-03": ("2026-02", ""),
            "2026-02": ("2026-01", "2026-03"),
            "2026-01": ("", "2026-02"),
            "2024-06": ("", "2026-01"),
        }

    def test_every_month_since_the_first_call_can_be_chosen(self, client):
        ada = make_user("ada")
        save_log(user=ada, created_at=NOON - 120 * DAY)  # in November
        client.force_login(ada)

        page = client.get(f"{URL}?month=2026-01").text
        found = re.findall(r'<option value="(.+)"( selected)?>(.+)</option>', page)

        assert found == [
            ("2026-03", "", "March 2026"),
            ("2026-02", "", "February 2026"),
            ("2026-01", " selected", "January 2026"),
            ("2025-12", "", "December 2025"),
            ("2025-11", "", "November 2025"),
        ]

    def test_new_user_has_no_months_to_choose(self, client):
        client.force_login(make_user("ada"))

        page = client.get(URL).text

        assert "<select" not in page
        assert "?month=" not in page

    def test_calls_of_long_ago_and_of_the_future_leave_the_page_usable(self, client):
        ada = make_user("ada")
        save_log(user=ada, created_at=dt.datetime(1800, 1, 1, tzinfo=dt.UTC))
        client.force_login(ada)
        assert client.get(URL).text.count("<option") == (2026 - 1970) * 12 + 3

        eve = make_user("eve")
        save_log(user=eve, created_at=NOON + 200 * DAY)
        client.force_login(eve)
        assert client.get(URL).context["month_after"] == ""

    def test_costs_three_statements_beside_those_of_the_login(self, client):
        ada = make_user("ada")
        for n in range(0, 200, 10):
            save_log(user=ada, created_at=NOON - n * DAY)
        client.force_login(ada)

        with CaptureQueriesContext(connection) as queries:
            client.get(URL)

        assert len([q for q in queries if "ai_usage_" in q["sql"]]) <= 2
        assert len(queries) <= 5

    @override_settings(ROOT_URLCONF=FREE)
    def test_costs_are_hidden_and_sections_limited_by_the_url_configuration(self, client):
        ada = make_user("ada")
        for n, code in enumerate(("chat", "rag_pipeline", "other", "other", "mine")):
            save_log(user=ada, section=code, cost=0.25, prompt_tokens=1000 - 100 * n)
        client.force_login(ada)

        answer = client.get(URL)

        assert not re.search(r"cost|\$|0\.25|1\.25", answer.text, re.IGNORECASE)
        assert list(values(answer)) == ["Calls", "Tokens", "Failures"]
        assert answer.text.count('role="img"') == 2
        rows = re.findall(r'<th scope="row">(.+?)</th><td>(\d)', answer.text)
        assert rows[-3:] == [("Other", "2"), ("Customer Chat", "1"), ("2 more sections", "2")]
        assert [item.label for item in answer.context["drawn"].legend] == [
            name for name, _ in rows[-3:]
        ]

    def test_invalid_month_is_not_found(self, client):
        client.force_login(make_user("ada"))
        # "0001-01" has no previous month to link to.
        months = ("2026-04", "March", "0000-00", "2026-3-14", "\x00", "0001-01")

        found = {month: client.get(URL, {"month": month}).status_code for month in months}

        assert found == dict.fromkeys(months, 404)

    def test_bars_have_no_links(self, client):
        ada = make_user("ada")
        save_log(user=ada)
        client.force_login(ada)

        assert "/admin/" not in client.get(URL).text

    def test_complies_with_a_strict_content_security_policy(self, client):
        ada = make_user("ada")
        save_log(user=ada, section="<script>alert(1)</script>")
        client.force_login(ada)

        content = client.get(URL).text

        assert not re.search(r" style=|<style|<script|\bon\w+=", content)
        assert "&lt;script&gt;" in content


class TestSummary:
    def render(self, **context):
        return TAG.render(Context(context))

    def request(self, user):
        request = RequestFactory().get("/")
        request.user = user
        return request

    def test_shows_the_user_of_the_request(self):
        ada = make_user("ada")
        save_log(user=ada)

        page = self.render(request=self.request(ada))

        assert "Your AI usage in March 2026" in page
        assert "usage_tracking/usage.css" in page
        assert "Customer Chat" in page

    def test_shows_the_user_of_the_context_without_a_request(self):
        ada = make_user("ada")
        save_log(user=ada)

        assert "Customer Chat" in self.render(user=ada)

    def test_prefers_the_user_of_the_request(self):
        grace = make_user("grace")
        save_log(user=grace)

        page = self.render(request=self.request(make_user("ada")), user=grace)

        assert "You made no AI calls" in page

    def test_visitor_sees_nothing_and_costs_nothing(self):
        with CaptureQueriesContext(connection) as queries:
            assert self.render(request=self.request(AnonymousUser())).strip() == ""
            assert self.render().strip() == ""
        assert len(queries) == 0

    def test_heading_has_the_level_of_the_page(self):
        ada = make_user("ada")
        save_log(user=ada)
        context = Context({"user": ada})

        assert re.findall(r"<h(\d)", TAG.render(context)) == ["2"]
        assert re.findall(r"<h(\d).*</h\1>", tag("heading=4").render(context)) == ["4"]
        assert re.findall(r"<h(\d)", tag('heading="5"').render(context)) == ["5"]

    @pytest.mark.parametrize(
        "month",
        ["2026-01", dt.date(2026, 1, 20), dt.datetime(2026, 1, 31, 23, 30, tzinfo=dt.UTC)],
        ids=str,
    )
    def test_shows_the_month_that_is_named(self, month):
        ada = make_user("ada")
        save_log(user=ada, created_at=NOON - 60 * DAY)

        page = tag("month=month").render(Context({"user": ada, "month": month}))

        assert "Your AI usage in January 2026" in page
        assert "Customer Chat" in page

    @pytest.mark.parametrize("month", ["", None])
    def test_shows_the_current_month_if_none_is_named(self, month):
        page = tag("month=month").render(Context({"user": make_user("ada"), "month": month}))

        assert "March 2026" in page

    @pytest.mark.parametrize("month", ["March", "2026-04", dt.date(2026, 4, 1), "'", "0001-01"])
    def test_month_from_a_query_string_that_is_invalid_is_not_found(self, month):
        """Visitors write it, so it must not be an error of the site."""
        with pytest.raises(Http404, match=r"^The month (must be written as YYYY-MM|is in the fu)"):
            tag("month=month").render(Context({"user": make_user("ada"), "month": month}))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("heading=7", "heading must be a level from 1 to 6, not 7."),
            ("heading=0", "heading must be a level from 1 to 6, not 0."),
            ('heading="h3"', "heading must be a whole number, not 'h3'."),
            ("limit=0", "limit must be 1 or more sections, or None for all, not 0."),
            ("limit=-1", "limit must be 1 or more sections, or None for all, not -1."),
            ("limit=2.5", "limit must be a whole number, not 2.5."),
            ("limit=True", "limit must be a whole number, not True."),
        ],
    )
    def test_invalid_option_is_explained(self, options, message):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            tag(options).render(Context({"user": make_user("ada")}))

    def test_cost_is_hidden(self):
        ada = make_user("ada")
        save_log(user=ada, cost=0.25)

        page = tag("show_cost=False").render(Context({"user": ada}))

        assert "Customer Chat" in page
        assert not re.search(r"cost|\$|0\.25", page, re.IGNORECASE)

    def test_two_months_on_a_page_share_no_id(self):
        ada = make_user("ada")
        save_log(user=ada)
        save_log(user=ada, created_at=NOON - 30 * DAY)
        context = Context({"user": ada})

        page = TAG.render(context) + tag('month="2026-02"').render(context)
        ids = re.findall(r' id="(.+?)"', page)

        assert len(ids) > 10
        assert len(ids) == len(set(ids))
        named = re.findall(r'aria-labelledby="(.+?)"', page)
        assert {name for names in named for name in names.split()} <= set(ids)

    def test_costs_two_statements_at_most(self):
        ada = make_user("ada")
        for n in range(10):
            save_log(user=ada, created_at=NOON - n * DAY)

        with CaptureQueriesContext(connection) as queries:
            self.render(request=self.request(ada))

        assert len(queries) <= 2
