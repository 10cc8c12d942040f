"""A user's own page and summary."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.template import Context, Template
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from tests.support.builders import NOON, make_user, save_log

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("march")]

URL = "/usage/"
DAY = dt.timedelta(days=1)
TAG = Template("{% load ai_usage %}{% ai_usage_summary %}")


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

    def test_costs_two_statements_at_most(self):
        ada = make_user("ada")
        for n in range(10):
            save_log(user=ada, created_at=NOON - n * DAY)

        with CaptureQueriesContext(connection) as queries:
            self.render(request=self.request(ada))

        assert len(queries) <= 2
