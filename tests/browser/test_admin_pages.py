"""The admin's pages in a browser."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission

from tests.browser.conftest import PHONE, Browse
from tests.support.builders import make_superuser, make_user, save_log
from tests.support.samples import save_season
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db(transaction=True)

LAST = dt.datetime(2026, 3, 14, 20, tzinfo=dt.UTC)
DASHBOARD = "/admin/usage_tracking/aiusagelog/dashboard/"
LOGS = "/admin/usage_tracking/aiusagelog/"
MONTH = "?start_date=2026-02-13&end_date=2026-03-14"
SEASON = "?start_date=2025-12-15&end_date=2026-03-14"


@pytest.fixture
def season() -> None:
    save_season(LAST)
    make_superuser("root")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dashboard_in_both_themes(browse: Browse, season: None, scheme: str):
    with browse(scheme=scheme, size=(1280, 1060)) as tab:
        tab.log_in("root")
        tab.open(DASHBOARD + MONTH)

        assert tab.page.locator("svg[role=img]").count() == 3
        paper, ink = tab.page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('.ai-usage-tick')).fill]"
        )
        assert (luminance(paper) > luminance(ink)) == (scheme == "light")
        tab.picture(f"dashboard-{scheme}", full=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 1060), PHONE], ids=["desktop", "phone"])
def test_page_of_a_call_shows_its_bill(browse: Browse, scheme: str, size: tuple[int, int]):
    make_superuser("root")
    log = save_log(model_name="my-model", usage_details={"web_searches": 2})
    source = {"cost_source": "site"}
    priced = save_log(cost=Decimal("0.5"), cached_tokens=20, metadata=source)
    with browse(scheme=scheme, size=size) as tab:
        tab.log_in("root")
        tab.open(f"{LOGS}{log.pk}/change/")
        assert "AI_USAGE_PRICES = {" in tab.page.inner_text(".ai-usage-setting")
        tab.open(f"{LOGS}{priced.pk}/change/")
        assert tab.page.locator(".ai-usage-lines tbody tr").count() == 3
        assert "Prices have changed" in tab.page.inner_text(".ai-usage-change")
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not tab.page.evaluate(wide)
        tab.picture(f"call-{scheme}", full=True)


def test_dashboard_links_to_the_calls_it_counts(browse: Browse, season: None):
    day = dt.date(2026, 3, 10)
    logs = AIUsageLog.objects.filter(day=day, section="marketing_workflow")
    expected = sorted(str(pk) for pk in logs.values_list("pk", flat=True))
    assert expected
    with browse() as tab:
        tab.log_in("root")
        tab.open("/admin/")
        tab.page.click("text=AI usage logs")
        tab.page.click("text=Dashboard")
        tab.page.fill("[name=start_date]", "2026-03-08")
        tab.page.fill("[name=end_date]", "2026-03-14")
        tab.page.select_option("[name=section]", "marketing_workflow")
        tab.page.click(".ai-usage-form [type=submit]")
        assert "section=marketing_workflow" in tab.page.url

        bar = tab.page.locator("svg rect", has_text="March 10, 2026").first
        assert "Marketing Workflow" in bar.locator("title").text_content()
        bar.click()

        tab.page.wait_for_selector("#changelist")
        shown = tab.page.locator("#result_list .action-select").evaluate_all(
            "boxes => boxes.map(box => box.value)"
        )
        assert sorted(shown) == expected


def test_list_is_filtered_and_exported(browse: Browse, season: None, tmp_path: Path):
    expected = AIUsageLog.objects.filter(success=False, provider="openai").count()
    with browse() as tab:
        tab.log_in("root")
        tab.open(LOGS)
        tab.picture("logs-light", full=False)
        tab.page.click("#changelist-filter a:text-is('No')")
        tab.page.click("#changelist-filter a:text-is('openai')")
        with tab.page.expect_download() as download:
            tab.page.click("text=Export CSV")
        file = tmp_path / "export.csv"
        download.value.save_as(file)

        assert download.value.suggested_filename == "ai_usage_log_all_filtered.csv"
        rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"))))
        assert len(rows) == expected
        assert {(row["success"], row["provider"]) for row in rows} == {("False", "openai")}


def test_list_and_row_in_the_dark(browse: Browse, season: None):
    with browse(scheme="dark") as tab:
        tab.log_in("root")
        tab.open(LOGS + MONTH)
        tab.picture("logs-dark", full=False)
        tab.page.click("#result_list th a")
        tab.page.wait_for_selector(".field-metadata_text")
        tab.picture("log-dark")


@pytest.mark.parametrize("size", [PHONE])
def test_pages_fit_a_phone(browse: Browse, season: None, size: tuple[int, int]):
    with browse(size=size) as tab:
        tab.log_in("root")
        for name, path in {"dashboard": DASHBOARD + SEASON, "logs": LOGS + MONTH}.items():
            tab.open(path)
            tab.picture(f"{name}-phone")
            too_wide = tab.page.evaluate(
                "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert too_wide <= 0


def test_dashboard_of_a_season_a_day_and_an_empty_period(browse: Browse, season: None):
    with browse() as tab:
        tab.log_in("root")
        tab.open(DASHBOARD + SEASON)
        tab.picture("dashboard-season")
        tab.open(f"{DASHBOARD}?start_date=2026-03-14&end_date=2026-03-14")
        tab.picture("dashboard-day")
        tab.open(f"{DASHBOARD}?start_date=2024-01-01&end_date=2024-01-31")
        assert "No AI calls were recorded" in tab.page.text_content("#content")
        tab.picture("dashboard-empty")


def test_dashboard_prints_dark_on_white(browse: Browse, season: None):
    with browse(scheme="dark", size=(800, 1100)) as tab:
        tab.log_in("root")
        tab.open(DASHBOARD + MONTH)
        tab.page.emulate_media(media="print")

        assert not tab.page.locator("#nav-sidebar").is_visible()
        assert not tab.page.locator(".ai-usage-form").is_visible()
        ink = tab.page.evaluate(
            "() => getComputedStyle(document.querySelector('.ai-usage-table td')).color"
        )
        assert luminance(ink) < 80
        tab.picture("dashboard-print")


def test_table_has_the_values_of_the_chart(browse: Browse, season: None):
    with browse() as tab:
        tab.log_in("root")
        tab.open(DASHBOARD + MONTH)
        panel = tab.page.locator("figure.ai-usage-panel").first
        panel.locator("summary").click()

        assert panel.locator("tbody tr").count() == 30
        assert panel.locator("tbody th a").first.is_visible()


def test_hostile_texts_do_nothing(browse: Browse):
    text = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    make_superuser("root")
    log = save_log(
        user=make_user(text),
        section=text[:50],
        provider=text[:50],
        model_name=text,
        success=False,
        error_message=text,
        metadata={text: text},
    )
    with browse() as tab:
        dialogs: list[str] = []
        tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        tab.log_in("root")
        for path in (DASHBOARD + MONTH, LOGS, f"{LOGS}{log.pk}/change/"):
            tab.open(path)
            assert tab.page.locator("img[src=x]").count() == 0
            assert "<script>alert(1)" in tab.page.text_content("#content")
        assert dialogs == []


def test_staff_without_permission_see_nothing(browse: Browse, season: None):
    user = make_user("clerk", password="clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_user"))
    with browse() as tab:
        tab.open("/admin/login/?next=/admin/")
        tab.page.fill("#id_username", "clerk")
        tab.page.fill("#id_password", "clerk")
        tab.page.click("[type=submit]")
        tab.page.wait_for_selector("#user-tools")

        assert "AI usage" not in tab.page.text_content("#content")
        assert tab.page.request.get(tab.site + DASHBOARD).status == 403


def luminance(color: str) -> float:
    red, green, blue = (int(part) for part in color.strip("rgba()").split(",")[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
