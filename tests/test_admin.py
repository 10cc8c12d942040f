"""The admin: rows can be viewed, but not edited."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from freezegun import freeze_time

# Imports psycopg, whose C code accepts no frozen date.
from tests import urls  # noqa: F401
from tests.support.builders import NOON, make_superuser, make_user, save_log
from tests.support.ledger import assert_in_step
from usage_tracking.admin import AIUsageLogAdmin, changelist
from usage_tracking.admin.base import ReadOnlyAdmin
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

MODELS = ["aiusagelog", "aiusagetracking"]
DAY = dt.timedelta(days=1)
#: The months of 2026 up to the last row of the test.
MONTHS = ["January 2026", "February 2026", "March 2026"]
#: Query strings, and the models of the calls that the list then shows.
FILTERS: list[tuple[str, set[str]]] = [
    ("start_date=2026-03-14&end_date=2026-03-14", {"noon", "night"}),
    ("start_date=2026-03-15", {"later"}),
    ("end_date=2026-03-13", {"earlier"}),
    ("unknown=user", {"later"}),
    ("unknown=usage", {"night"}),
    ("unknown=cost", {"earlier", "later"}),
    ("model_name=earlier", {"earlier"}),
    ("provider=nobody", set()),
    ("user=0", set()),
]


def url(model: str, page: str, *arguments: Any) -> str:
    return reverse(f"admin:usage_tracking_{model}_{page}", args=arguments)


@pytest.fixture
def rows() -> dict[str, Any]:
    """A log with a value in every field, and its daily row."""
    log = save_log(
        user=make_user("ada"),
        cost=Decimal("0.0125"),
        cached_tokens=10,
        reasoning_tokens=20,
        success=False,
        error_message="<script>timed out</script>",
        metadata={"conversation": 7},
    )
    return {"aiusagelog": log, "aiusagetracking": AIUsageTracking.objects.get()}


@pytest.fixture
def log_in(client: Client) -> Callable[..., Client]:
    def log_in(*permissions: str, superuser: bool = False) -> Client:
        user: User
        if superuser:
            user = make_superuser()
        else:
            user = make_user("staff", is_staff=True)
            user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return log_in


@pytest.mark.parametrize("model", MODELS)
class TestPages:
    def test_list_loads_for_staff_who_may_view(self, log_in, rows, model):
        answer = log_in(f"view_{model}").get(url(model, "changelist"))

        assert answer.status_code == 200
        assert "ada" in answer.text

    def test_row_loads_for_staff_who_may_view(self, log_in, rows, model):
        answer = log_in(f"view_{model}").get(url(model, "change", rows[model].pk))

        assert answer.status_code == 200
        assert "ada" in answer.text
        assert "<script>timed" not in answer.text

    def test_row_has_nothing_to_save(self, log_in, rows, model):
        answer = log_in(f"view_{model}", f"change_{model}").get(
            url(model, "change", rows[model].pk)
        )

        assert 'name="_save"' not in answer.text
        assert "deletelink" not in answer.text

    def test_nothing_can_be_added(self, log_in, model, subtests):
        for superuser in (False, True):
            client = log_in(f"add_{model}", f"view_{model}", superuser=superuser)
            with subtests.test(superuser=superuser):
                assert client.get(url(model, "add")).status_code == 403
                assert client.post(url(model, "add"), {}).status_code == 403

    def test_nothing_can_be_changed(self, log_in, rows, model, subtests):
        before = type(rows[model]).objects.values().get()
        for superuser in (False, True):
            client = log_in(f"change_{model}", f"view_{model}", superuser=superuser)
            with subtests.test(superuser=superuser):
                answer = client.post(
                    url(model, "change", rows[model].pk), {"section": "other", "total_requests": 7}
                )

                assert answer.status_code == 403
                assert type(rows[model]).objects.values().get() == before

    def test_only_superusers_delete(self, log_in, rows, model):
        client = log_in(f"delete_{model}", f"view_{model}")

        assert client.get(url(model, "delete", rows[model].pk)).status_code == 403
        answer = client.post(url(model, "delete", rows[model].pk), {"post": "yes"})
        assert answer.status_code == 403
        assert type(rows[model]).objects.count() == 1

    def test_empty_list_loads(self, log_in, model):
        assert log_in(f"view_{model}").get(url(model, "changelist")).status_code == 200


class TestAccess:
    """No page shows anything to users without permission."""

    @pytest.fixture
    def pages(self, rows) -> list[str]:
        pages = [reverse("admin:usage_tracking_dashboard")]
        for model, row in rows.items():
            pages += [url(model, page) for page in ("changelist", "add")]
            pages += [url(model, page, row.pk) for page in ("change", "history", "delete")]
            pages += [url(model, "export", name) for name in ("csv", "xlsx", "json")]
        return pages

    def test_visitors_are_sent_to_the_login_by_every_page(self, client, pages):
        for page in pages:
            answer = client.get(page)
            assert (page, answer.status_code) == (page, 302)
            assert "/login/" in answer["Location"]

    def test_staff_without_permission_are_refused_by_every_page(self, log_in, pages):
        client = log_in()
        for page in pages:
            answer = client.get(page)
            assert (page, answer.status_code) == (page, 403)
            assert "ada" not in answer.text

    def test_permission_for_one_table_opens_nothing_of_the_other(self, log_in, pages):
        client = log_in("view_aiusagetracking")
        for page in pages:
            if "aiusagelog" in page:
                assert (page, client.get(page).status_code) == (page, 403)

    def test_posts_are_refused_as_well(self, log_in, pages):
        client = log_in()
        for page in pages:
            assert (page, client.post(page, {"post": "yes"}).status_code) == (page, 403)
        assert AIUsageLog.objects.count() == 1


class TestDelete:
    def test_superuser_deletes_a_log_and_the_day_follows(self, log_in, rows):
        client = log_in(superuser=True)

        answer = client.post(url("aiusagelog", "delete", rows["aiusagelog"].pk), {"post": "yes"})

        assert answer.status_code == 302
        assert not AIUsageLog.objects.exists()
        assert_in_step()

    def test_superuser_deletes_chosen_logs_and_the_days_follow(self, log_in, rows):
        save_log(user=User.objects.get(username="ada"))
        client = log_in(superuser=True)

        answer = client.post(
            url("aiusagelog", "changelist"),
            {
                "action": "delete_selected",
                "_selected_action": [rows["aiusagelog"].pk],
                "post": "yes",
            },
        )

        assert answer.status_code == 302
        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    def test_staff_have_no_action_that_deletes(self, log_in, rows):
        client = log_in("view_aiusagelog", "delete_aiusagelog")

        client.post(
            url("aiusagelog", "changelist"),
            {
                "action": "delete_selected",
                "_selected_action": [rows["aiusagelog"].pk],
                "post": "yes",
            },
        )

        assert AIUsageLog.objects.count() == 1


class TestLists:
    @pytest.mark.parametrize("model", MODELS)
    def test_number_of_statements_does_not_grow_with_the_rows(self, log_in, model):
        client = log_in(f"view_{model}")

        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert client.get(url(model, "changelist")).status_code == 200
            return len(queries)

        save_log(user=make_user("first"))
        one = count()
        for number in range(15):
            save_log(user=make_user(f"user{number}"))

        assert count() == one

    def test_filters_work(self, log_in, rows, subtests):
        save_log(section="other", provider="anthropic", created_at=NOON)
        client = log_in("view_aiusagelog")

        for query in ("success__exact=0", "section=chat", "provider=openai"):
            with subtests.test(query):
                answer = client.get(f"{url('aiusagelog', 'changelist')}?{query}")

                assert answer.status_code == 200
                found = [log.pk for log in answer.context["cl"].result_list]
                assert found == [rows["aiusagelog"].pk]

    def test_custom_filters_work(self, log_in, subtests):
        ada = make_user("ada")
        save_log(model_name="noon", user=ada, cost=Decimal("0.1"))
        save_log(model_name="earlier", user=ada, created_at=NOON - DAY)
        save_log(
            model_name="night",
            user=ada,
            created_at=NOON.replace(hour=23, minute=59),
            prompt_tokens=None,
            completion_tokens=None,
        )
        save_log(model_name="later", created_at=NOON + DAY)

        client = log_in("view_aiusagelog")

        for query, found in FILTERS:
            with subtests.test(query):
                answer = client.get(f"{url('aiusagelog', 'changelist')}?{query}")

                assert {log.model_name for log in answer.context["cl"].result_list} == found

    def test_username_links_to_the_users_rows(self, log_in, rows):
        save_log(user=make_user("bob"))
        ada = User.objects.get(username="ada")
        client = log_in("view_aiusagelog")
        link = f"{url('aiusagelog', 'changelist')}?user={ada.pk}"

        assert f'href="{link}"' in client.get(url("aiusagelog", "changelist")).text
        answer = client.get(link)
        assert [log.user for log in answer.context["cl"].result_list] == [ada]
        assert "By user" in answer.text

    def test_key_in_the_link_may_be_any_text(self):
        row = SimpleNamespace(user_id="ada+ai@example.com", user=make_user("ada"))

        link = AIUsageLogAdmin(AIUsageLog, site).user_link(row)

        assert '?user=ada%2Bai%40example.com"' in link

    def test_no_page_lists_the_users(self, log_in, rows):
        make_user("somebody-else")

        client = log_in(*(f"view_{model}" for model in MODELS))

        for model in MODELS:
            assert "somebody-else" not in client.get(url(model, "changelist")).text

    @pytest.mark.parametrize("model", MODELS)
    def test_invalid_period_is_reported(self, log_in, rows, model, subtests):
        client = log_in(f"view_{model}")

        for query in (
            "start_date=14.3.2026",
            "start_date=2026-03-14&end_date=2026-03-13",
            "end_date=0001-01-01",
            "end_date=9999-12-31",
        ):
            with subtests.test(query):
                answer = client.get(f"{url(model, 'changelist')}?{query}", follow=True)

                assert answer.status_code == 200
                assert "is not a valid period" in answer.text

    @pytest.mark.parametrize("model", MODELS)
    def test_odd_parameters_break_nothing(self, log_in, rows, model):
        client = log_in(f"view_{model}")
        queries = (
            "user=ada",
            f"user={10**30}",
            "user=%00",
            "section=%00",
            "provider=%00",
            "model_name__contains=a%00",
            "operation=%00",
            "unknown=nothing",
            "p=0",
            "p=101",
        )

        found = {
            query: client.get(f"{url(model, 'changelist')}?{query}", follow=True).status_code
            for query in queries
        }

        assert found == dict.fromkeys(queries, 200)

    @pytest.mark.parametrize("model", MODELS)
    def test_nothing_is_counted(self, log_in, model, monkeypatch):
        monkeypatch.setattr(ReadOnlyAdmin, "list_per_page", 2)
        ada = make_user("ada")
        for number in range(5):
            save_log(user=ada, created_at=NOON + number * DAY)
        client = log_in(f"view_{model}")

        with CaptureQueriesContext(connection) as queries:
            first = client.get(url(model, "changelist"))
        assert len(queries) <= 10
        assert not [q["sql"] for q in queries if "COUNT(" in q["sql"]]
        assert "1 to 2" in first.text
        assert "and more" in first.text
        assert "?p=2" in first.text
        assert "?p=3" not in first.text
        assert "Select all" not in first.text
        last = client.get(f"{url(model, 'changelist')}?p=3")
        assert "5 to 5" in last.text
        assert "and more" not in last.text

    def test_last_page_asks_for_a_period(self, log_in, rows, monkeypatch):
        monkeypatch.setattr(ReadOnlyAdmin, "list_per_page", 1)
        monkeypatch.setattr(changelist, "MAX_PAGES", 1)
        save_log()

        answer = log_in("view_aiusagelog").get(url("aiusagelog", "changelist"))

        assert "Choose a period" in answer.text

    def test_page_past_the_end_is_empty(self, log_in, rows, monkeypatch):
        monkeypatch.setattr(ReadOnlyAdmin, "list_per_page", 1)
        client = log_in("view_aiusagelog")

        for page in (2, 3, 100):
            answer = client.get(url("aiusagelog", "changelist"), {"p": page})

            assert (page, answer.status_code) == (page, 200)
            assert "This page is empty." in answer.text

    def test_response_time_is_green_orange_or_red(self, log_in):
        for n, milliseconds in enumerate((999, 1000, 2999, 3000)):
            save_log(response_time_ms=milliseconds, created_at=NOON - n * DAY)

        answer = log_in("view_aiusagelog").get(url("aiusagelog", "changelist"))

        speeds = re.findall(r'<span class="ai-usage-(fast|medium|slow)">', answer.text)
        assert speeds == ["fast", "medium", "medium", "slow"]

    def test_unknown_is_not_shown_as_zero(self, log_in):
        save_log(prompt_tokens=None, completion_tokens=None)

        answer = log_in("view_aiusagelog").get(url("aiusagelog", "changelist"))

        assert "not reported" in answer.text
        assert "unpriced" in answer.text
        assert "unattributed" in answer.text

    def test_index_lists_both_under_their_names(self, log_in):
        answer = log_in("view_aiusagelog", "view_aiusagetracking").get(reverse("admin:index"))

        assert "AI usage logs" in answer.text
        assert "Daily AI usage" in answer.text


class TestCalendar:
    def labels(self, answer: Any) -> list[str]:
        calendar = answer.context["cl"].calendar
        back = [f"< {calendar.back.label}"] if calendar.back else []
        return back + [step.label for step in calendar.choices]

    def test_goes_from_years_to_months_to_days(self, log_in, subtests):
        save_log(created_at=NOON - 365 * DAY)
        save_log(created_at=NOON + DAY)
        client = log_in("view_aiusagelog")
        days = [f"{day} Mar" for day in range(1, 16)]

        for query, labels in (
            ("", ["2025", "2026"]),
            ("start_date=2026-01-01&end_date=2026-12-31", ["< All dates", *MONTHS]),
            ("start_date=2026-03-01&end_date=2026-03-31", ["< 2026", *days]),
            ("start_date=2026-03-14&end_date=2026-03-14", ["< March 2026", *days]),
            ("start_date=2026-03-02&end_date=2026-03-14", ["< All dates"]),
        ):
            with subtests.test(query):
                answer = client.get(f"{url('aiusagelog', 'changelist')}?{query}")

                assert self.labels(answer) == labels

    def test_table_of_one_year_begins_with_its_months(self, log_in):
        save_log(created_at=NOON - 28 * DAY)
        save_log(created_at=NOON)

        answer = log_in("view_aiusagelog").get(url("aiusagelog", "changelist"))

        assert self.labels(answer) == MONTHS[1:]

    def test_table_of_one_month_begins_with_its_days(self, log_in):
        save_log(created_at=NOON)
        save_log(created_at=NOON + DAY)

        answer = log_in("view_aiusagelog").get(url("aiusagelog", "changelist"))

        assert self.labels(answer) == ["14 Mar", "15 Mar"]

    def test_links_keep_the_filters(self, log_in, rows):
        answer = log_in("view_aiusagelog").get(f"{url('aiusagelog', 'changelist')}?section=chat")

        assert (
            'href="?end_date=2026-03-14&amp;section=chat&amp;start_date=2026-03-14"' in answer.text
        )


@freeze_time(NOON + DAY)
class TestSearch:
    def found(self, client: Client, text: str, **more: str) -> list[AIUsageLog]:
        answer = client.get(url("aiusagelog", "changelist"), {"q": text, **more})
        assert answer.status_code == 200
        return list(answer.context["cl"].result_list)

    def test_finds_by_user_model_and_error(self, log_in, subtests):
        save_log(section="other")
        log = save_log(user=make_user("ada"), model_name="gpt-turbo", error_message="rate limit")
        client = log_in("view_aiusagelog")

        for text in ("ad", "ADA", "turbo", "Rate LIMIT"):
            with subtests.test(text):
                assert self.found(client, text) == [log]

    def test_finds_an_id_however_old(self, log_in):
        save_log()
        log = save_log(created_at=NOON - 400 * DAY)
        client = log_in("view_aiusagelog")

        assert self.found(client, str(log.pk)) == [log]
        assert self.found(client, f" {log.pk.hex.upper()} ") == [log]

    def test_searches_the_past_30_days_or_the_chosen_period(self, log_in):
        old = save_log(model_name="gpt-turbo", created_at=NOON - 31 * DAY)
        client = log_in("view_aiusagelog")

        assert self.found(client, "turbo") == []
        assert self.found(client, "turbo", start_date="2026-01-01") == [old]

    def test_finds_days_by_user(self, log_in, rows):
        save_log(user=make_user("bob"))

        answer = log_in("view_aiusagetracking").get(
            url("aiusagetracking", "changelist"), {"q": "bo"}
        )

        assert [row.user.username for row in answer.context["cl"].result_list] == ["bob"]


class TestHostileTexts:
    """Texts in names, errors and metadata are shown as text."""

    SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"

    @pytest.fixture
    def log(self) -> AIUsageLog:
        return save_log(
            user=make_user(self.SCRIPT),
            section=self.SCRIPT[:50],
            provider=self.SCRIPT[:50],
            model_name=self.SCRIPT,
            operation=self.SCRIPT[:30],
            error_message=self.SCRIPT,
            success=False,
            metadata={self.SCRIPT: self.SCRIPT},
        )

    def test_are_escaped_on_every_page(self, log_in, log):
        client = log_in(superuser=True)
        day = AIUsageTracking.objects.get()
        pages = [
            url("aiusagelog", "changelist"),
            f"{url('aiusagelog', 'changelist')}?user={log.user_id}",
            f"{url('aiusagelog', 'changelist')}?q=%3Cscript%3Ealert",
            url("aiusagelog", "change", log.pk),
            url("aiusagelog", "delete", log.pk),
            url("aiusagetracking", "changelist"),
            url("aiusagetracking", "change", day.pk),
        ]
        for page in pages:
            answer = client.get(page)

            assert answer.status_code == 200
            assert "<script>alert" not in answer.text
            assert "<img src=x" not in answer.text
            assert "&lt;script&gt;alert" in answer.text
