"""What the URL of the dashboard can ask for: filters, stacks, hours, full lists, and nonsense."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver
from freezegun import freeze_time

from tests.support.builders import NOON, make_log, make_user, save_log
from tests.support.samples import save_season
from tests.test_dashboard import DAY, ENTRY, URL, cards, lines, panel
from usage_tracking.models import AIUsageLog

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]

TODAY = {"start_date": "2026-03-14", "end_date": "2026-03-14"}
WEEK = {"start_date": "2026-03-08", "end_date": "2026-03-14"}


@pytest.fixture
def frozen() -> Any:
    _ = get_resolver().url_patterns  # what it imports must see the real clock
    with freeze_time(NOON):
        yield


@pytest.fixture
def viewer(admin_client: Client) -> Client:
    return admin_client


def messages(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


class TestFilters:
    @pytest.fixture
    def ada(self) -> User:
        ada = make_user()
        save_log(user=ada)
        save_log(section="rag")
        save_log(provider="azure")
        save_log(model_name="gpt-5")
        save_log(provider="", model_name="")
        return ada

    @pytest.mark.parametrize(
        ("query", "calls", "parameters"),
        [
            ({"section": "rag"}, 1, {"section": "rag"}),
            ({"provider": "openai"}, 3, {"provider": "openai"}),
            ({"model_name": " gpt-5 "}, 1, {"model_name": "gpt-5"}),
            # "" is a field of the form that is not filled in, and "?" stands for the unknown model.
            ({"model_name": "", "user": "", "section": ""}, 5, {}),
            ({"model_name": "?", "provider": "?"}, 1, {"model_name": "", "provider": ""}),
            ({"provider": "openai", "section": "chat"}, 2, {"provider": "openai"}),
            ({"section": "gone"}, 0, {}),
            ({"section": "?"}, 0, {}),
        ],
    )
    def test_numbers_are_those_of_the_filtered_calls(
        self, viewer: Client, ada: User, query: dict[str, str], calls: int, parameters: Any
    ):
        answer = viewer.get(URL, WEEK | query)

        assert cards(answer)["Calls"][0] == str(calls)
        listed = parse_qs(urlsplit(answer.context["cards"][0].url).query, keep_blank_values=True)
        assert parameters.items() <= {name: values[0] for name, values in listed.items()}.items()
        rows = viewer.get(answer.context["cards"][0].url).context["cl"].result_list
        assert len(rows) == calls

    def test_user_is_named_by_the_key_or_the_name(self, viewer: Client, ada: User):
        for text in (str(ada.pk), "ada"):
            answer = viewer.get(URL, WEEK | {"user": text})

            assert cards(answer)["Calls"][0] == "1"
            assert answer.context["user_text"] == "ada"
            assert f"user={ada.pk}" in answer.context["cards"][0].url

    def test_key_in_a_link_is_not_the_name_of_another_user(self, viewer: Client, ada: User):
        make_user(str(ada.pk))

        answer = viewer.get(URL, WEEK | {"user": ada.pk})

        assert cards(answer)["Calls"][0] == "1"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("adda", "There is no user “adda”. Did you mean ada?"),
            ("no\x00body", "There is no user “nobody”."),
            ("9" * 40, f"There is no user “{'9' * 40}”."),
            ("<b>", "There is no user “<b>”."),
        ],
    )
    def test_unknown_user_is_reported_instead_of_numbers(
        self, viewer: Client, ada: User, text: str, message: str
    ):
        answer = viewer.get(URL, WEEK | {"user": text})

        assert answer.status_code == 200
        assert messages(answer) == [message]
        assert "report" not in answer.context
        assert "<b>”" not in answer.text

    def test_names_are_not_suggested_to_those_who_may_not_view_users(
        self, client: Client, ada: User
    ):
        staff = make_user("staff", is_staff=True)
        staff.user_permissions.add(Permission.objects.get(codename="view_aiusagelog"))
        client.force_login(staff)

        assert messages(client.get(URL, {"user": "adda"})) == ["There is no user “adda”."]

    def test_every_link_keeps_the_filters(self, viewer: Client):
        save_season(NOON, days=3, calls=40)
        ada = User.objects.get(username="ada")
        chosen = {"section": "chat", "provider": "openai", "model_name": "gpt-4o"}
        query = {"start_date": "2026-03-12", "end_date": "2026-03-14", "stack": "model"}

        answer = viewer.get(ENTRY, query | chosen | {"user": "ada"})

        content = answer.text.partition('id="content-main"')[2]
        links = [unescape(link) for link in re.findall(r'href="([^"]*\?[^"]*)"', content)]
        unfiltered = answer.context["unfiltered_url"]
        links.remove(unfiltered)
        assert len(links) > 20
        for link in links:
            found = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
            assert chosen | {"user": str(ada.pk)} == {
                name: value for name, value in found.items() if name in {*chosen, "user"}
            }, link
            if not link.startswith("/"):
                assert found["stack"] == "model"
        assert parse_qs(unfiltered[1:]).keys() == {"start_date", "end_date", "stack"}

    def test_chosen_filters_are_shown_and_in_the_form(self, viewer: Client, ada: User):
        answer = viewer.get(URL, WEEK | {"user": ada.pk, "model_name": "gpt-4o", "section": "gone"})

        assert answer.context["chosen"] == [
            ("Section", "gone"),
            ("Model", "gpt-4o"),
            ("User", "ada"),
        ]
        assert '<option value="gone" selected>' in answer.text
        assert 'name="model_name" value="gpt-4o"' in answer.text
        assert 'name="user" value="ada"' in answer.text


class TestStack:
    @pytest.mark.parametrize(
        ("stack", "title", "labels"),
        [
            ("section", "Sections", ["Customer Chat", "rag"]),
            ("model", "Models", ["openai / gpt-4o", "azure / gpt-4o", "? / ?"]),
            ("provider", "Providers", ["openai", "azure", "?"]),
        ],
    )
    def test_legend_and_links_are_those_of_the_stack(
        self, viewer: Client, stack: str, title: str, labels: list[str]
    ):
        save_log(cost=4)
        save_log(cost=2, provider="azure")
        save_log(cost=1, provider="", model_name="", section="rag")

        answer = viewer.get(URL, WEEK | {"stack": stack})

        drawn = answer.context["drawn"]
        assert drawn.title == title
        assert drawn.caption == f"by day, stacked by {stack}"
        assert [item.label for item in drawn.legend] == labels
        bars = panel(answer, "calls").chart.bars
        assert len(bars) == len(labels)
        for bar in bars:
            number = int(bar.title.rpartition(": ")[2].split()[0])
            assert len(viewer.get(bar.url).context["cl"].result_list) == number

    def test_two_hundred_models_share_twelve_layers_of_different_colours(self, viewer: Client):
        AIUsageLog.objects.bulk_create(
            make_log(model_name=f"model-{n}", cost=n, day=NOON.date() - (n % 7) * DAY)
            for n in range(200)
        )

        answer = viewer.get(URL, WEEK | {"stack": "model"})

        legend = answer.context["drawn"].legend
        assert len({item.css_class for item in legend}) == len(legend) == 12
        assert legend[0].label == "openai / model-199"
        assert legend[-1].label == "189 more models"
        total = sum(
            Decimal(row.cells[-1].strip("$").replace(",", "")) for row in panel(answer, "cost").rows
        )
        assert total == sum(range(200))

    def test_colours_do_not_depend_on_the_page(self, viewer: Client):
        save_log(cost=1)
        save_log(cost=2, model_name="gpt-5")

        def colours(**query: str) -> dict[str, str]:
            drawn = viewer.get(URL, WEEK | {"stack": "model"} | query).context["drawn"]
            return {item.label: item.css_class for item in drawn.legend}

        assert colours(model_name="gpt-5").items() <= colours().items()


class TestHours:
    def test_one_day_is_shown_by_hour(self, viewer: Client):
        save_log()
        save_log(created_at=NOON - dt.timedelta(minutes=1))

        answer = viewer.get(URL, TODAY)

        assert answer.context["drawn"].caption == "by hour, stacked by section"
        rows = panel(answer, "calls").rows
        assert [row.label for row in rows] == ["March 14, 2026, 11:00", "March 14, 2026, 12:00"]
        assert len(viewer.get(rows[0].url).context["cl"].result_list) == 2


class TestCompared:
    def test_cards_have_the_period_before(self, viewer: Client):
        for age, cost in ((0, 3), (6, 3), (8, 4), (9, None)):
            save_log(created_at=NOON - age * DAY, cost=cost)

        answer = viewer.get(URL, WEEK)

        before = {card.label: card.before for card in answer.context["cards"]}
        assert before["Cost"] == "+50.0 % · $4.0000 before"
        assert before["Calls"] == "±0.0 % · 2 before"
        assert before["Failures"] == "0 before"
        assert answer.context["compared"] == (
            "Compared with March 1, 2026 to March 7, 2026. The last day counts until 12:00, as "
            "today is not over."
        )

    def test_month_is_compared_with_the_month_before(self, viewer: Client):
        answer = viewer.get(URL, {"start_date": "2026-02-01", "end_date": "2026-02-28"})

        text = "Compared with Jan. 1, 2026 to Jan. 31, 2026."
        assert answer.context["compared"] == text
        assert text in answer.text

    def test_cost_comes_first_and_then_its_forecast(self, viewer: Client):
        save_log(cost=1)
        save_log(cost=7, created_at=NOON - DAY)
        save_log(created_at=NOON - DAY)

        first, second, *_ = viewer.get(URL).context["cards"]

        assert (first.label, first.value) == ("Cost", "$8.0000")
        assert first.detail == "without 1 call of unknown cost"
        assert (second.label, second.value) == ("Forecast for March 2026", "$130.50")
        assert second.detail == (
            "$8.0000 so far, then $7.0000 a day as on the past day; without 1 call of unknown cost"
        )

    def test_future_is_compared_with_nothing(self, viewer: Client):
        answer = viewer.get(URL, {"start_date": "2027-01-01", "end_date": "2027-01-31"})

        assert answer.context["compared"] == ""
        assert {card.before for card in answer.context["cards"]} == {""}
        assert "No AI calls were recorded in this period." in answer.text


class TestLists:
    @pytest.fixture
    def many(self) -> None:
        User.objects.bulk_create(User(username=f"user{n}") for n in range(1_200))
        pks = User.objects.filter(username__startswith="user").values_list("pk", flat=True)
        AIUsageLog.objects.bulk_create(
            [
                make_log(user_id=pk, cost=n, section=f"section-{n % 11}", day=NOON.date())
                for n, pk in enumerate(pks)
            ]
            + [make_log(day=NOON.date())]
        )

    def test_ten_lines_are_shown_with_a_link_to_more(self, viewer: Client, many: None):
        answer = viewer.get(URL, WEEK)

        users = {table.name: table for table in answer.context["tables"]}["users"]
        assert len(users.lines) == 11
        assert users.lines[-1].label == "Unattributed"
        assert users.more == "Showing the first 10 of 1,200."
        label, url = users.link
        assert label == "Show the first 1,000"
        assert url.endswith("&all=users#ai-usage-users")
        sections = {table.name: table for table in answer.context["tables"]}["sections"]
        assert (len(sections.lines), sections.link[0]) == (10, "Show all")

    def test_full_list_takes_no_more_statements(self, viewer: Client, many: None):
        with CaptureQueriesContext(connection) as few:
            viewer.get(URL, WEEK)
        with CaptureQueriesContext(connection) as queries:
            answer = viewer.get(URL, WEEK | {"all": "users"})

        assert len(queries) == len(few) <= 10
        tables = {table.name: table for table in answer.context["tables"]}
        assert len(tables["users"].lines) == 1_001
        assert tables["users"].more.startswith("Showing the first 1,000 of 1,200.")
        assert tables["users"].link[0] == "Show the first 10"
        command = "python manage.py usage_report --by user --from 2026-03-08 --to 2026-03-14"
        assert f"For all of them, run <code>{command}</code>." in answer.text
        assert len(tables["sections"].lines) == 10
        assert answer.text.count("<tr><th") > 1_000

    def test_all_lines_are_shown_if_they_are_not_too_many(self, viewer: Client, many: None):
        tables = viewer.get(URL, WEEK | {"all": "sections"}).context["tables"]

        sections = {table.name: table for table in tables}["sections"]
        assert (len(sections.lines), sections.more) == (12, "")


class TestHostile:
    @pytest.mark.parametrize(
        ("query", "message"),
        [
            (
                {"stack": "user"},
                "“user” is not a valid choice. Choose one of: section, model, provider.",
            ),
            ({"stack": "<b>\x00"}, "“<b>” is not a valid choice."),
            ({"all": "calls"}, "Choose one of: sections, models, users, errors."),
        ],
    )
    def test_unknown_choice_is_reported(self, viewer: Client, query: dict[str, str], message: str):
        save_log()

        answer = viewer.get(URL, query)

        assert message in messages(answer)[0]
        assert answer.context["query"].stack == "section"
        assert cards(answer)["Calls"][0] == "1"

    def test_nul_is_left_out(self, viewer: Client):
        for name in ("section", "provider", "model_name", "stack", "all", "start_date"):
            assert viewer.get(URL, {name: "\x00"}).status_code == 200

    @pytest.mark.parametrize("date", ["1970-01-01", "9998-12-31"])
    def test_ends_of_the_calendar_are_shown(self, viewer: Client, date: str):
        assert viewer.get(URL, {"start_date": date, "end_date": date}).status_code == 200

    def test_large_numbers_have_short_ticks(self, viewer: Client):
        save_log(prompt_tokens=10**15, completion_tokens=0, cost=Decimal("123456789.5"))

        answer = viewer.get(URL, WEEK)

        assert cards(answer)["Tokens"][0] == "1,000,000,000,000,000"
        assert cards(answer)["Cost"][0] == "$123,456,789.50"
        for name in ("tokens", "cost"):
            assert all(len(tick.label) < 8 for tick in panel(answer, name).chart.y_ticks)

    def test_statements_with_every_filter_are_few(self, client: Client):
        user = make_user("viewer", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename="view_aiusagelog"))
        client.force_login(user)
        save_log(user=make_user(), section="other", provider="ollama")
        query = {"section": "other", "provider": "ollama", "stack": "model", "all": "users"}

        with CaptureQueriesContext(connection) as queries:
            answer = client.get(URL, WEEK | query | {"user": "ada"})

        assert answer.context["unpriced"] is not None
        assert len(queries) <= 10


def test_rows_are_ranked_by_cost_with_their_share(viewer: Client):
    for section, cost in (("cheap", 1), ("dear", 3), ("unknown", None)):
        save_log(section=section, cost=cost)

    found = lines(viewer.get(URL, WEEK), "sections")

    assert {name: cells[:2] for name, cells in found.items()} == {
        "dear": ("$3.0000", "75.0 %"),
        "cheap": ("$1.0000", "25.0 %"),
        "unknown": ("unknown", ""),
    }
    assert [*found] == ["dear", "cheap", "unknown"]
