"""The dashboard: its numbers, links and permissions."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import include, path, reverse
from django.utils import translation
from freezegun import freeze_time

from tests.support.builders import NOON, make_superuser, make_user, save_log
from tests.support.samples import save_season
from usage_tracking.admin import AIUsageLogAdmin
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

URL = "/admin/usage_tracking/aiusagelog/dashboard/"
ENTRY = "/admin/usage_tracking/aiusagedashboard/"
ADMIN = "admin:usage_tracking"
DAY = dt.timedelta(days=1)
ZERO = Decimal(0)


@pytest.fixture
def viewer(client: Client) -> Client:
    user = make_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_aiusagelog"))
    client.force_login(user)
    return client


def cards(answer: Any) -> dict[str, tuple[str, str]]:
    context = answer.context
    return {
        card.label: (card.value, card.detail) for card in [*context["cards"], *context["unknown"]]
    }


def lines(answer: Any, name: str) -> dict[str, tuple[str, ...]]:
    (table,) = [table for table in answer.context["tables"] if table.name == name]
    return {line.label: line.cells for line in table.lines}


def panel(answer: Any, name: str) -> Any:
    return {panel.name: panel for panel in answer.context["drawn"].panels}[name]


class TestNumbers:
    def test_equal_what_the_raw_rows_add_up_to(self, viewer):
        save_season(NOON, days=20, calls=15)
        first, last = (NOON - 9 * DAY).date(), NOON.date()
        rows = [
            row
            for row in AIUsageLog.objects.values("user__username", *RAW)
            if first <= row["created_at"].date() <= last
        ]

        answer = viewer.get(URL, {"start_date": first, "end_date": last})

        found = cards(answer)
        cost = sum((row["cost"] for row in rows if row["cost"] is not None), ZERO)
        tokens = sum((row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0) for row in rows)
        failures = sum(not row["success"] for row in rows)
        assert found["Calls"][0] == f"{len(rows):,}"
        assert found["Tokens"][0] == f"{tokens:,}"
        assert found["Cost"][0] == f"${cost:.4f}"
        assert found["Failures"] == (f"{failures:,}", percent(failures, len(rows)))
        for label, missing in {
            "Unattributed (no user)": [row for row in rows if row["user_id"] is None],
            "Unknown usage (no tokens)": [
                row for row in rows if row["success"] and row["prompt_tokens"] is None
            ],
            "Unpriced (no cost)": [
                row
                for row in rows
                if row["success"] and row["cost"] is None and row["prompt_tokens"] is not None
            ],
        }.items():
            assert found[label][0] == percent(len(missing), len(rows))
            assert found[label][1].startswith(f"{len(missing)} of {len(rows):,} calls")
        for title, name in {
            "sections": lambda row: SECTIONS[row["section"]],
            "models": lambda row: f"{row['provider']} / {row['model_name']}",
            "users": lambda row: row["user__username"] or "Unattributed",
        }.items():
            groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for row in rows:
                groups[name(row)].append(row)
            assert lines(answer, title) == {name: figures(of, cost) for name, of in groups.items()}
            assert len(groups) > 5
        errors: dict[str, int] = defaultdict(int)
        for row in rows:
            if not row["success"]:
                errors[row["error_message"]] += 1
        assert {text: cells[0] for text, cells in lines(answer, "errors").items()} == {
            text: str(number) for text, number in errors.items()
        }

    def test_of_each_day_and_section_are_in_the_tables_and_the_bars(self, viewer):
        save_season(NOON, days=5, calls=15)
        expected: dict[tuple[str, str], int] = defaultdict(int)
        for row in AIUsageLog.objects.values("created_at", "section"):
            expected[f"{row['created_at']:%B %-d, %Y}", SECTIONS[row["section"]]] += 1

        answer = viewer.get(URL, {"start_date": "2026-03-10", "end_date": "2026-03-14"})

        drawn = answer.context["drawn"]
        names = [item.label for item in drawn.legend]
        cells = {
            (row.label, name): cell
            for row in panel(answer, "calls").rows
            for name, cell in zip(names, row.cells, strict=False)
        }
        texts = {key: f"{n} call{'' if n == 1 else 's'}" for key, n in expected.items()}
        assert {key: int(cell) for key, cell in cells.items() if cell != "0"} == expected
        assert {bar.title for bar in panel(answer, "calls").chart.bars} == {
            f"{day}\n{name}: {text}" for (day, name), text in texts.items()
        }

    def test_unknown_is_not_zero(self, viewer):
        save_log(prompt_tokens=None, completion_tokens=None)

        answer = viewer.get(URL, {"start_date": "2026-03-14", "end_date": "2026-03-14"})

        found = cards(answer)
        assert (found["Tokens"][0], found["Cost"][0]) == ("unknown", "unknown")
        assert found["Unknown usage (no tokens)"][0] == "100.0 %"
        assert found["Unpriced (no cost)"][0] == "0.0 %"
        assert "No provider reported tokens." in answer.text
        assert "No call has a known price." in answer.text

    def test_kinds_that_were_counted_are_shown(self, viewer):
        save_log(
            cached_tokens=30,
            usage_details={"input_audio_tokens": 40, "output_audio_tokens": 5, "web_searches": 2},
        )

        answer = viewer.get(URL, {"start_date": "2026-03-14", "end_date": "2026-03-14"})

        assert "By kind" in answer.text
        assert {card.label: card.value for card in answer.context["kinds"]} == {
            "Prompt tokens": "150",
            "Cached tokens": "30",
            "Audio tokens": "45",
            "Completion tokens": "80",
            "Tool calls": "2",
        }

    def test_models_without_a_price_come_with_the_setting(self, viewer):
        save_log(model_name="<b>mine</b>")
        save_log(model_name="failed", success=False)

        answer = viewer.get(URL, {"start_date": "2026-03-14", "end_date": "2026-03-14"})

        (line,) = answer.context["unpriced"].lines
        assert line.label == "openai / <b>mine</b>"
        assert line.cells == ("1", "input_tokens, output_tokens", "no price for the model")
        assert "<b>mine</b>" not in answer.text
        assert "AI_USAGE_PRICES = {&quot;openai:&lt;b&gt;mine&lt;/b&gt;&quot;" in answer.text
        assert "python manage.py reprice_ai_usage --only-unpriced" in answer.text

    def test_small_shares_and_amounts_are_not_shown_as_zero(self, viewer):
        save_log(cost=Decimal("0.00001"))
        AIUsageLog.objects.bulk_create(
            AIUsageLog(section="chat", created_at=NOON, cost=0, prompt_tokens=1, success=True)
            for _ in range(1_100)
        )
        save_log(success=False, cost=0)

        found = cards(viewer.get(URL, {"start_date": "2026-03-14", "end_date": "2026-03-14"}))

        assert found["Cost"][0] == "< $0.0001"
        assert found["Failures"] == ("1", "< 0.1 %")

    def test_days_are_those_of_the_setting(self, viewer):
        with override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Auckland"):
            save_log(created_at=NOON)  # the 15th in Auckland

            answer = viewer.get(URL, {"start_date": "2026-03-15", "end_date": "2026-03-15"})

            assert cards(answer)["Calls"][0] == "1"
            assert "days in Pacific/Auckland" in answer.text

    def test_hour_that_occurs_twice_has_the_name_of_the_zone(self, viewer):
        with override_settings(AI_USAGE_DAY_TIMEZONE="America/New_York"):
            for hour in (5, 6, 20):
                save_log(created_at=dt.datetime(2026, 11, 1, hour, 30, tzinfo=dt.UTC))

            answer = viewer.get(URL, {"start_date": "2026-11-01", "end_date": "2026-11-01"})

        assert [row.label for row in panel(answer, "calls").rows] == [
            "Nov. 1, 2026, 01:00 EDT",
            "Nov. 1, 2026, 01:00 EST",
            "Nov. 1, 2026, 15:00",
        ]


RAW = (
    "user_id",
    "section",
    "provider",
    "model_name",
    "prompt_tokens",
    "completion_tokens",
    "cost",
    "success",
    "error_message",
    "response_time_ms",
    "created_at",
)
SECTIONS = dict(AIUsageLog.SECTION_CHOICES)


def figures(rows: list[dict[str, Any]], total: Decimal) -> tuple[str, ...]:
    tokens = [row["prompt_tokens"] + row["completion_tokens"] for row in rows if row["cost"]]
    known = [
        row["prompt_tokens"] + row["completion_tokens"]
        for row in rows
        if row["prompt_tokens"] is not None
    ]
    assert len(tokens) <= len(known)
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    average = Decimal(sum(row["response_time_ms"] for row in rows)) / len(rows) / 1000
    return (
        money(sum(costs, ZERO)) if costs else "unknown",
        percent(sum(costs, ZERO), total) if costs else "",
        f"{len(rows):,}",
        f"{sum(known):,}" if known else "unknown",
        str(sum(not row["success"] for row in rows)),
        f"{average:.2f} s",
    )


def money(amount: Decimal) -> str:
    return "< $0.0001" if amount < Decimal("0.0001") else f"${amount:.4f}"


def percent(part: Decimal | int, whole: Decimal | int) -> str:
    share = Decimal(100) * part / whole
    return "< 0.1 %" if 0 < share < Decimal("0.1") else f"{share:.1f} %"


class TestLinks:
    def links(self, answer: Any) -> list[str]:
        content = answer.text.partition('id="content"')[2]
        found = re.findall(r'href="(/admin/usage_tracking/aiusagelog/\?[^"]*)"', content)
        return [unescape(link) for link in found]

    @pytest.mark.slow
    def test_every_number_links_to_as_many_rows(self, viewer):
        save_season(NOON, days=3, calls=12)
        answer = viewer.get(URL, {"start_date": "2026-03-12", "end_date": "2026-03-14"})
        context = answer.context
        expected = {
            line.url: int(line.cells[table.headings.index("Calls") - 1])
            for table in context["tables"]
            for line in table.lines
        }
        expected |= {card.url: int(card.detail.split()[0]) for card in context["unknown"]}
        expected |= {
            bar.url: int(bar.title.rpartition(": ")[2].split()[0])
            for bar in panel(answer, "calls").chart.bars
        }
        assert len(expected) > 30

        for url, number in expected.items():
            cl = viewer.get(url).context["cl"]
            assert (url, len(cl.result_list)) == (url, number)

    def test_all_keep_the_period_and_the_section(self, viewer):
        save_season(NOON, days=3, calls=12)

        answer = viewer.get(
            URL, {"start_date": "2026-03-12", "end_date": "2026-03-14", "section": "chat"}
        )

        links = self.links(answer)
        assert links
        for link in links:
            query = parse_qs(urlsplit(link).query)
            assert query["section"] == ["chat"]
            assert "2026-03-12" <= query["start_date"][0] <= query["end_date"][0] <= "2026-03-14"

    def test_dashboard_is_linked_from_the_list_the_index_and_the_sidebar(self, viewer):
        link = f'href="{ENTRY}"'
        assert f"{link}>Dashboard</a>" in viewer.get(reverse(f"{ADMIN}_aiusagelog_changelist")).text
        assert link in viewer.get(reverse("admin:app_list", args=["usage_tracking"])).text
        assert link in viewer.get(reverse("admin:index")).text
        assert link in viewer.get(URL).text.partition('id="content"')[0]


@freeze_time(NOON)
class TestPeriod:
    def test_is_closed_at_both_ends(self, viewer, subtests):
        for query, first, last in (
            ("", "2026-02-13", "2026-03-14"),
            ("start_date=2026-03-10", "2026-03-10", "2026-03-14"),
            ("end_date=2026-01-30", "2026-01-01", "2026-01-30"),
            ("start_date=2026-12-31", "2026-12-31", "2026-12-31"),
            ("start_date=2026-03-14&end_date=2026-03-14", "2026-03-14", "2026-03-14"),
        ):
            with subtests.test(query):
                report = viewer.get(f"{URL}?{query}").context["report"]

                assert (str(report.start), str(report.end)) == (first, last)

    def test_invalid_period_is_reported(self, viewer, subtests):
        for query, message in (
            (
                "start_date=yesterday",
                "“yesterday” is not a valid period. Write days as YYYY-MM-DD.",
            ),
            ("start_date=2026-03-14&end_date=2026-03-01", "is not a valid period"),
            ("end_date=%00", "is not a valid period"),
            (
                "start_date=2020-01-01",
                "A period can have at most 366 days. Only the last 366 are shown.",
            ),
        ):
            with subtests.test(query):
                answer = viewer.get(f"{URL}?{query}")

                assert answer.status_code == 200
                assert message in answer.text

    def test_more_than_a_season_is_drawn_by_week(self, viewer):
        save_season(NOON, days=120, calls=2)

        drawn = viewer.get(URL, {"start_date": "2025-11-15"}).context["drawn"]

        assert drawn.by_week
        assert drawn.column == "Week"
        assert len(drawn.panels[0].rows) == 17
        assert drawn.panels[0].rows[-1].label == "March 8, 2026 to March 14, 2026"

    def test_many_sections_share_the_last_layer(self, viewer):
        for n in range(14):
            save_log(section=f"section-{n}", prompt_tokens=1000 * n)

        answer = viewer.get(URL)

        legend = answer.context["drawn"].legend
        assert len(legend) == 12
        assert legend[-1].label == "3 more sections"
        bars = panel(answer, "calls").chart.bars
        assert bars[-1].title.endswith("3 more sections: 3 calls")

    def test_empty_period_shows_a_note(self, viewer):
        answer = viewer.get(URL)

        assert "No AI calls were recorded in this period." in answer.text
        assert "ai-usage-chart" not in answer.text

    def test_unknown_section_has_no_calls(self, viewer, subtests):
        save_log()

        for section in ("nothing", "<b>", "a\x00b"):
            with subtests.test(section):
                answer = viewer.get(URL, {"section": section})

                assert answer.status_code == 200
                assert cards(answer)["Calls"][0] == "0"
                assert "<b>" not in answer.text


class TestAccess:
    """See tests/test_admin.py for visitors and staff without any permission, on all pages."""

    def test_permission_for_daily_rows_opens_nothing(self, client):
        user = make_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename="view_aiusagetracking"))
        client.force_login(user)

        assert client.get(URL).status_code == 403
        index = client.get("/admin/usage_tracking/")
        assert URL not in index.text

    def test_users_who_are_not_staff_get_nothing(self, client):
        client.force_login(make_user("ada"))

        assert client.get(URL).status_code == 302


class TestPage:
    def test_statements_do_not_grow_with_the_rows(self, viewer):
        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert viewer.get(URL, {"start_date": "2026-03-01"}).status_code == 200
            return len(queries)

        save_log(user=make_user("first"))
        one = count()
        save_season(NOON, days=10, calls=10)

        # The last two are those of the unpriced models and of the bills.
        assert count() == one <= 9

    def test_no_statement_looks_for_unpriced_models_where_no_call_is_unpriced(self, viewer):
        save_log(user=make_user("first"), cost=Decimal(1))

        with CaptureQueriesContext(connection) as queries:
            answer = viewer.get(URL, {"start_date": "2026-03-01"})

        assert len(queries) <= 8
        assert "Models without a price" not in answer.text

    def test_complies_with_a_strict_content_security_policy(self, viewer):
        save_season(NOON, days=3, calls=12)

        content = viewer.get(URL, {"start_date": "2026-03-12", "end_date": "2026-03-14"}).text

        assert " style=" not in content
        assert "<style" not in content
        assert not re.search(r"<script(?![^>]*\bsrc=)", content)
        assert not re.search(r"\bon\w+=", content)

    def test_hostile_texts_are_escaped(self, viewer):
        text = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
        save_log(
            user=make_user(text),
            section=text[:50],
            provider=text[:50],
            model_name=text,
            error_message=text,
            success=False,
        )

        answer = viewer.get(URL, {"start_date": "2026-03-14", "end_date": "2026-03-14"})

        assert "&lt;script&gt;alert" in answer.text
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text

    def test_drawing_does_not_depend_on_the_language(self, viewer):
        save_season(NOON, days=3, calls=12)
        query = {"start_date": "2026-03-12", "end_date": "2026-03-14"}

        def drawing() -> list[str]:
            found = re.findall(r'<rect [^>]*height="[^"]*"', viewer.get(URL, query).text)
            assert found
            return found

        english = drawing()
        with override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True):
            translation.activate("de")
            assert drawing() == english
        assert not any("," in rect for rect in english)


class SecondSite(admin.AdminSite):
    site_header = "Second site"


second_site = SecondSite(name="second")
second_site.register(AIUsageLog, AIUsageLogAdmin)
second_site.register(User)
urlpatterns = [
    path("first/", admin.site.urls),
    path("second/", second_site.urls),
    path("calls/", include("tests.urls")),
]


@pytest.mark.urls(__name__)
class TestOtherAdminSite:
    def test_pages_stay_within_it(self, client):
        save_log(user=make_user("ada"))
        client.force_login(make_superuser())
        pages = [
            "/second/usage_tracking/aiusagelog/dashboard/?start_date=2026-03-14",
            "/second/usage_tracking/aiusagelog/",
            "/second/usage_tracking/",
        ]
        for page in pages:
            answer = client.get(page)

            assert answer.status_code == 200
            assert "Second site" in answer.text
            assert "/first/" not in answer.text
            assert "/second/usage_tracking/aiusagelog/" in answer.text

    def test_site_without_our_log_has_no_link_to_it(self, client):
        site = SecondSite(name="third")
        site.register(User)
        request = RequestFactory().get("/")
        request.user = make_superuser()

        assert site.index(request).status_code == 200
