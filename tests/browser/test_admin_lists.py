"""The admin's lists and the pages of rows in a browser: what fits, what prints, any period."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from tests.browser.conftest import DESKTOP, PHONE, Browse
from tests.support.builders import NOON, make_superuser, make_user, save_log
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db(transaction=True)

LOGS = "/admin/usage_tracking/aiusagelog/"
DAYS = "/admin/usage_tracking/aiusagetracking/"
#: The columns that a reader must see without scrolling.
COLUMNS = {
    LOGS: (
        *("moment", "status", "user_link", "section_badge", "model_and_provider", "tokens"),
        *("price", "response_time"),
    ),
    DAYS: ("day", "user_link", "calls", "failures", "tokens", "cost", "average_time"),
}
#: Returns the names of cells that are not all in the window, and of texts that are cut off.
HIDDEN = """([names, phrases]) => names.filter(name => {
  const cells = [...document.querySelectorAll(`#result_list tbody .field-${name}`)];
  return !cells.length || cells.some(cell => {
    const box = (cell.firstElementChild ?? cell).getBoundingClientRect();
    const cut = phrases.includes(name) ? 0 : cell.scrollWidth - cell.clientWidth;
    return box.left < 0 || box.right > innerWidth || !box.width || cut > 1;
  });
})"""
TOO_WIDE = """() => [document.documentElement, document.querySelector('.results') ?? document.body]
  .some(each => each.scrollWidth > each.clientWidth)"""


@pytest.fixture
def hostile() -> AIUsageLog:
    """Rows whose texts have any length, and whose numbers are as long as they get."""
    make_superuser("root")
    user = make_user("maximiliana." + "x" * 130)
    save_log(user=user, cost=Decimal("12345.5"), response_time_ms=3_600_000)
    save_log(
        user=user,
        model_name="accounts/fireworks/models/llama-v3p1-405b-instruct-long",
        section="s" * 50,
        prompt_tokens=1_284_512,
        completion_tokens=128_000,
    )
    return save_log(
        user=user,
        model_name="arn:aws:bedrock:us-east-1:123456789012:inference-profile/" + "y" * 40,
        provider="aws",
        success=False,
        prompt_tokens=None,
        completion_tokens=None,
        error_message="HTTP 429 too many requests " * 200,
    )


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_all_columns_are_in_the_window(
    browse: Browse, hostile: AIUsageLog, size: tuple[int, int], language: str
):
    with override_settings(LANGUAGE_CODE=language), browse(size=size) as tab:
        tab.log_in("root")
        for page, columns in COLUMNS.items():
            tab.open(page)

            phrases = ["user_link", "model_and_provider", "section_badge", "status"]
            assert tab.page.evaluate(HIDDEN, [columns, phrases]) == []
            assert not tab.page.evaluate(TOO_WIDE)
            tab.picture(f"list-{page.split('/')[-2]}-{language}-{size[0]}")


def test_a_row_is_one_line_and_a_failure_two(browse: Browse, hostile: AIUsageLog):
    with browse() as tab:
        tab.log_in("root")
        tab.open(LOGS)
        failed = tab.page.locator("#result_list tr", has=tab.page.locator(".ai-usage-error"))

        assert failed.count() == 1
        assert failed.bounding_box()["height"] < 64
        assert tab.page.locator(".ai-usage-error").bounding_box()["width"] > 400
        assert "HTTP 429" in tab.page.locator(".ai-usage-error").inner_text()
        row = tab.page.locator("#result_list tr", has_text="12,345.50")
        assert row.bounding_box()["height"] < 44


def test_pages_of_rows_fit_a_phone(browse: Browse, hostile: AIUsageLog):
    day = AIUsageTracking.objects.get()
    with browse(size=PHONE) as tab:
        tab.log_in("root")
        for path in (f"{LOGS}{hostile.pk}/change/", f"{DAYS}{day.pk}/change/"):
            tab.open(path)
            assert not tab.page.evaluate(TOO_WIDE)


def test_two_dates_choose_any_period(browse: Browse, hostile: AIUsageLog):
    old = save_log(created_at=NOON.replace(month=1), success=False, model_name="old")
    with browse() as tab:
        tab.log_in("root")
        tab.open(f"{LOGS}?success__exact=0")
        tab.page.fill("[name=start_date]", "2026-01-10")
        tab.page.fill("[name=end_date]", "2026-01-20")
        with tab.page.expect_navigation():
            tab.page.click(".ai-usage-dates [type=submit]")

        assert tab.page.locator("#result_list tbody tr").count() == 1
        assert "old" in tab.page.inner_text("#result_list")
        assert "success__exact=0" in tab.page.url
        sums = tab.page.inner_text(".ai-usage-sums")
        assert "Jan. 10, 2026 to Jan. 20, 2026" in sums
        assert "success: No" in sums
        assert tab.page.input_value("[name=start_date]") == "2026-01-10"
    assert AIUsageLog.objects.get(model_name="old") == old


def test_print_shows_the_rows_and_sums_dark_on_white(browse: Browse, hostile: AIUsageLog):
    # The width of A4 between its margins.
    with browse(scheme="dark", size=(718, 1000)) as tab:
        tab.log_in("root")
        for page, columns in COLUMNS.items():
            tab.page.emulate_media(media="screen")
            tab.open(f"{page}?start_date=2026-03-01&end_date=2026-03-31")
            tab.page.emulate_media(media="print")

            assert tab.page.evaluate(HIDDEN, [columns, ["status"]]) == []
            assert "March 1, 2026 to March 31, 2026" in tab.page.inner_text(".ai-usage-sums")
            for name in ("#changelist-filter", "#toolbar", ".object-tools", ".actions", "#header"):
                assert not tab.page.locator(name).first.is_visible(), name
            paper, ink = colors(tab.page, "#result_list tbody td:last-child")
            assert luminance(paper) > 240
            assert luminance(ink) < 160
            tab.picture(f"list-{page.split('/')[-2]}-print")


def colors(page: Any, selector: str) -> tuple[str, str]:
    found: list[str] = page.evaluate(
        "name => [getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector(name)).color]",
        selector,
    )
    return found[0], found[1]


def luminance(color: str) -> float:
    red, green, blue = (int(part) for part in color.strip("rgba()").split(",")[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
