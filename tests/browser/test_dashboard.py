"""The dashboard in a browser: on a phone, with large numbers, and as the visitor uses it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Browse
from tests.support.builders import make_superuser, make_user, save_log
from tests.support.samples import save_season

pytestmark = pytest.mark.django_db(transaction=True)

LAST = dt.datetime(2026, 3, 14, 20, tzinfo=dt.UTC)
MONTH = "?start_date=2026-02-13&end_date=2026-03-14"


def test_y_axis_stays_in_sight_on_a_phone(browse: Browse):
    save_season(LAST, days=30, calls=10)
    make_superuser("root")
    with browse(size=PHONE) as tab:
        tab.log_in("root")
        tab.open(f"/admin/usage_tracking/aiusagedashboard/{MONTH}")

        found = tab.page.evaluate(
            """() => {
                const box = document.querySelector(".ai-usage-newest");
                const edge = name => box.querySelector(name).getBoundingClientRect();
                const seen = [];
                const start = box.getBoundingClientRect().left;
                const note = () => seen.push([
                    Math.round(edge(".ai-usage-axis").left - start),
                    Math.round(edge(".ai-usage-plot").left - start),
                ]);
                note();
                box.scrollLeft = -1000;
                note();
                return [seen, box.scrollWidth - box.clientWidth,
                    Math.abs(edge(".ai-usage-axis").height - edge(".ai-usage-plot").height)];
            }"""
        )

    ((at_first, scrolled), hidden, heights) = found
    assert hidden > 100
    # The newest days are shown first, and the axis covers the part that is scrolled away.
    assert at_first[0] == scrolled[0] == 0
    assert at_first[1] < 0 < scrolled[1]
    assert heights < 1  # so that the grid is beside its labels


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_numbers_of_twelve_digits_are_not_broken(browse: Browse, size: tuple[int, int]):
    save_log(
        prompt_tokens=987_654_321_012,
        completion_tokens=123_456_789_012,
        cached_tokens=900_000_000_000,
        cost=Decimal("987654321.12"),
        usage_details={"cache_write_tokens": 123_456_789_012, "web_searches": 10**11},
    )
    make_superuser("root")
    with browse(size=size) as tab:
        tab.log_in("root")
        tab.open(
            "/admin/usage_tracking/aiusagedashboard/?start_date=2026-03-14&end_date=2026-03-14"
        )

        cards = tab.page.evaluate(
            """() => [...document.querySelectorAll(".ai-usage-card")].map(card => {
                const number = card.querySelector("strong"), text = document.createRange();
                let node = number;
                while (node.firstChild) node = node.firstChild;
                text.selectNodeContents(node);
                const inner = text.getBoundingClientRect(), outer = card.getBoundingClientRect();
                return [number.textContent, text.getClientRects().length,
                    inner.right <= outer.right && inner.left >= outer.left];
            })"""
        )
        cells = tab.page.evaluate(
            """() => [...document.querySelectorAll(".ai-usage-lines td")].every(
                cell => getComputedStyle(cell).whiteSpace === "nowrap")"""
        )
        too_wide = tab.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    assert "987,654,321,012" in {number for number, *_ in cards}
    assert [(number, lines, fits) for number, lines, fits in cards if lines > 1 or not fits] == []
    assert cells
    assert too_wide <= 0


def test_from_the_index_to_the_calls_of_a_user(browse: Browse):
    ada = make_user()
    save_log(user=ada, created_at=LAST)
    save_log(created_at=LAST)
    make_superuser("root")
    with browse() as tab:
        tab.log_in("root")
        tab.open("/admin/")
        tab.page.click("#content >> text=Users")
        tab.page.click("text=ada")
        tab.page.click(".object-tools >> text=AI usage")
        tab.page.wait_for_selector(".ai-usage-chosen")
        assert "User: ada" in tab.page.inner_text(".ai-usage-chosen")

        tab.page.click("#nav-sidebar >> text=AI usage dashboard")
        tab.page.fill("[name=start_date]", "2026-03-14")
        tab.page.fill("[name=end_date]", "2026-03-14")
        tab.page.fill("[name=user]", "ada")
        tab.page.select_option("[name=stack]", "model")
        tab.page.click(".ai-usage-form [type=submit]")
        tab.page.wait_for_selector(".ai-usage-panel")
        assert "by hour, stacked by model" in tab.page.inner_text("figcaption >> nth=1")
        tab.page.locator("rect.ai-usage-bar").last.click()

        tab.page.wait_for_selector("#changelist")
        assert tab.page.locator("#result_list .action-select").count() == 1
