"""The pages under each admin theme that the package supports, in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE
from tests.support.browser import is_too_wide, violations
from tests.support.waiting import PATIENCE
from tests.themes.serving import opened, serving
from tests.themes.site import DAILY, LOGS, THEMES

CALLS = 450
#: Of the pages that the site prints, those with everything of ours. Their lists are short, because
#: axe-core takes a second for a hundred rows.
PAGES = ["list-filtered", "daily-filtered", "call-failure", "call-unpriced", "dashboard-day"]
#: What is ours on a page that is otherwise the theme's.
OURS = ".ai-usage, .ai-usage-tools, .ai-usage-calendar, .ai-usage-dates, .ai-usage-period-filter, "
OURS += ".ai-usage-sums, .paginator, .ai-usage-badge, .ai-usage-unknown, .ai-usage-provider"
#: Where each theme keeps what its switch of light and dark chose, as it writes "dark" there.
SWITCHES = {
    "stock": ("theme", "dark"),
    "unfold": ("adminTheme", '"dark"'),
    "jazzmin": ("jazzmin-theme-mode", "dark"),
    "grappelli": ("theme", "dark"),
}

Open = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, Any]]]:
    """One server for each theme, started when a test first needs it; all have the same calls."""
    directory: Path = tmp_path_factory.mktemp("themes")
    running: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:

        def site(theme: str) -> dict[str, Any]:
            if theme not in running:
                served = serving(theme, directory, "--calls", str(CALLS), "--users", "40")
                running[theme] = stack.enter_context(served)
            return running[theme]

        yield site


@pytest.fixture
def site(sites: Callable[[str], dict[str, Any]], theme: str) -> dict[str, Any]:
    return sites(theme)


@pytest.fixture
def tab(chromium: Any, site: dict[str, Any]) -> Open:
    """Open a tab of a superuser on the site."""

    @contextmanager
    def tab(*, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> Iterator[Any]:
        with opened(chromium, site, size[0], scheme) as (page, troubles):
            page.set_default_timeout(1_000 * PATIENCE)
            yield page
            assert troubles == []

    return tab


def go(page: Any, site: dict[str, Any], path: str) -> None:
    answer = page.goto(site["url"] + path)
    assert answer.status == 200, f"{path}: {answer.status}"


def rows(page: Any) -> int:
    return int(page.locator("#result_list tbody tr, .grp-changelist-results tbody tr").count())


def faults(page: Any, within: str) -> list[str]:
    return [
        f"{violation['id']}: {node['target']}"
        for violation in violations(page, within)
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("theme", THEMES)
def test_every_page_opens_and_is_accessible(
    tab: Open, site: dict[str, Any], theme: str, scheme: str
):
    with tab(scheme=scheme) as page:
        for name in PAGES:
            go(page, site, site["pages"][name])
            if directory := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=f"{directory}/{theme}-{name}-{scheme}.png")
            assert not is_too_wide(page), name
            assert faults(page, "#content" if theme == "stock" else OURS) == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("theme", ["stock"])
def test_pages_are_accessible_on_a_phone(tab: Open, site: dict[str, Any], scheme: str):
    with tab(size=PHONE, scheme=scheme) as page:
        for name in [*PAGES, "call-success", "daily-row"]:
            go(page, site, site["pages"][name])
            assert not is_too_wide(page), name
            assert faults(page, "#content") == [], name


@pytest.mark.parametrize("theme", THEMES)
def test_switch_of_the_theme_decides_about_light_and_dark(
    tab: Open, site: dict[str, Any], theme: str
):
    """The theme's switch says dark, the operating system light. Unfold's script decides late."""
    with tab(scheme="light") as page:
        key, value = SWITCHES[theme]
        page.add_init_script(f"localStorage.setItem('{key}', '{value}')")
        go(page, site, site["pages"]["dashboard"])
        page.wait_for_function("getComputedStyle(document.documentElement).colorScheme == 'dark'")
        assert faults(page, ".ai-usage") == []
        go(page, site, LOGS)
        assert faults(page, ".ai-usage-badge") == []


@pytest.mark.parametrize("path", [LOGS, DAILY])
@pytest.mark.parametrize("theme", THEMES)
def test_period_is_chosen_by_a_click_and_by_dates(
    tab: Open, site: dict[str, Any], theme: str, path: str
):
    with tab() as page:
        go(page, site, path)
        assert rows(page) == 100
        show_filters(page, theme)
        if theme == "grappelli":
            with page.expect_navigation():
                page.locator(".grp-filter select").first.select_option(label="Past 7 days")
        else:
            with page.expect_navigation():
                page.click("a:text-is('Past 7 days')")
        assert "start_date=" in page.url
        week = rows(page)
        assert 0 < week < 100

        show_filters(page, theme)
        day = page.input_value("input[type=date][name=end_date]")
        page.fill("input[type=date][name=start_date]", day)
        page.fill("input[type=date][name=end_date]", day)
        with page.expect_navigation():
            page.press("input[type=date][name=end_date]", "Enter")
        assert f"start_date={day}" in page.url
        assert f"end_date={day}" in page.url
        assert 0 < rows(page) < week


@pytest.mark.parametrize("theme", THEMES)
def test_search_keeps_the_period(tab: Open, site: dict[str, Any], theme: str):
    with tab() as page:
        go(page, site, site["pages"]["dashboard-day"].replace("dashboard/", ""))
        shown = rows(page)
        page.fill("[name=q]", "gpt-4o")
        with page.expect_navigation():
            page.press("[name=q]", "Enter")
        assert "start_date=" in page.url
        assert "end_date=" in page.url
        assert 0 < rows(page) < shown


@pytest.mark.parametrize("theme", THEMES)
def test_other_filters_have_choices(tab: Open, site: dict[str, Any], theme: str):
    with tab() as page:
        go(page, site, LOGS)
        show_filters(page, theme)
        if theme in ("jazzmin", "grappelli"):
            choices = page.locator("option").all_text_contents()
        else:
            choices = page.locator("#changelist-filter a").all_text_contents()
        choices = [choice.strip() for choice in choices]
        assert {"Customer Chat", "anthropic", "gpt-4o-mini", "Unpriced (no cost)"} <= {*choices}


@pytest.mark.parametrize("theme", THEMES)
def test_pages_and_tools_of_the_list(tab: Open, site: dict[str, Any], theme: str):
    with tab() as page:
        go(page, site, LOGS)
        with page.expect_navigation():
            page.locator(".paginator a:text-is('2')").first.click()
        assert "p=2" in page.url
        assert "101 to 200" in page.locator(".paginator").first.inner_text()
        tools = page.locator(".ai-usage-tools a")
        assert tools.count() > 1
        for number in range(tools.count()):
            box = tools.nth(number).bounding_box()
            assert box["y"] >= 0
            assert 0 <= box["x"] <= DESKTOP[0] - box["width"]
        with page.expect_navigation():
            tools.filter(has_text="Dashboard").click()
        assert page.locator(".ai-usage svg[role=img]").count() > 1


def show_filters(page: Any, theme: str) -> None:
    if theme == "unfold":
        page.click("a:has-text('Filters')")
    elif theme == "grappelli":
        page.click(".grp-pulldown-handler")
