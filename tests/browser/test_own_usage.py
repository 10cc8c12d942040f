"""A user's own usage in a browser: the page, and the summary in a page of the site."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import ModuleType

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path
from django.utils import timezone
from pytest_django import Settings

from tests.browser.conftest import DESKTOP, PHONE, Browse
from tests.support.browser import is_too_wide, violations
from tests.support.builders import make_user, save_log
from tests.support.samples import save_season

pytestmark = pytest.mark.django_db(transaction=True)

#: A page of a site, which leaves its colours to the browser.
HOST = """<!doctype html><html lang="en"><head><title>Account</title>
<meta name="viewport" content="width=device-width, initial-scale=1">%s</head>
<body><main><h1>Account</h1><h2>Plan</h2>
{%% load ai_usage %%}{%% ai_usage_summary heading=3 %%}
{%% ai_usage_summary month="%s" show_cost=False heading=3 limit=2 %%}
</main></body></html>"""
BOTH = '<meta name="color-scheme" content="light dark">'
SIZES = {"phone": PHONE, "desktop": DESKTOP}
#: Controls that a finger has to hit; links in text are as high as their line.
CONTROLS = ".ai-usage-months :is(a, select, button)"


@pytest.fixture
def urls(settings: Settings) -> None:
    month = f"{timezone.now() - dt.timedelta(days=31):%Y-%m}"

    def host(head: str) -> Callable[[HttpRequest], HttpResponse]:
        page = Template(HOST % (head, month))
        return lambda request: HttpResponse(page.render(RequestContext(request)))

    site = ModuleType("site_with_own_usage")
    site.urlpatterns = [
        path("usage/", include("usage_tracking.urls")),
        path("free/", include("usage_tracking.urls"), {"show_cost": False, "limit": 3}),
        path("account/", host(BOTH)),
        path("light-account/", host("")),
    ]
    settings.ROOT_URLCONF = site


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible_and_fit(
    browse: Browse, urls: None, subtests: pytest.Subtests, scheme: str, size: str
):
    save_season(timezone.now() + dt.timedelta(days=10), days=60, calls=40)
    ada = User.objects.get(username="ada")
    save_log(user=ada, section="x" * 50, created_at=timezone.now())  # no space to break it at
    pages = ["usage", "usage/?month=2026-01", "free", "account", "light-account"]
    make_user("eve")
    with browse(scheme=scheme, size=SIZES[size]) as tab:
        tab.log_in("ada")
        for name in pages:
            with subtests.test(name):
                tab.open(f"/{name}/" if "?" not in name else f"/{name}")
                tab.picture(f"{name.partition('/')[0]}{'-empty' * ('?' in name)}-{size}-{scheme}")

                assert violations(tab.page) == []
                assert not is_too_wide(tab.page)
                heights = tab.page.locator(CONTROLS).evaluate_all(
                    "all => all.map(each => each.getBoundingClientRect().height)"
                )
                assert [height for height in heights if height < 44] == []
        with subtests.test("new user"):
            tab.log_in("eve")
            tab.open("/usage/")
            tab.picture(f"new-{size}-{scheme}")

            assert "You made no AI calls" in tab.page.inner_text("main")
            assert violations(tab.page) == []
            assert tab.page.locator(".ai-usage-months").count() == 0


def test_months_are_chosen_on_a_phone(browse: Browse, urls: None):
    now = timezone.now()
    ada = make_user("ada")
    months = [(now.replace(day=15) - dt.timedelta(days=30 * age)) for age in range(4)]
    for age, moment in enumerate(months):
        for _ in range(age + 1):
            save_log(user=ada, created_at=min(moment, now))
    save_log(user=make_user("grace"), section="secret", created_at=now - dt.timedelta(days=300))
    with browse(size=PHONE) as tab:
        tab.log_in("ada")
        tab.open("/usage/")
        calls = tab.page.locator(".ai-usage-card strong").first

        tab.page.select_option("select", f"{months[3]:%Y-%m}")
        tab.page.click("text=Show")
        assert calls.inner_text() == "4"
        assert tab.page.locator("[rel=prev]").count() == 0  # the first month of this user
        tab.page.click("[rel=next]")
        assert calls.inner_text() == "3"
        tab.page.click("[rel=prev]")
        assert calls.inner_text() == "4"
        assert tab.page.locator("option").count() == 4
        assert "secret" not in tab.page.inner_text("main")


def test_table_is_scrolled_with_the_keyboard(browse: Browse, urls: None):
    save_log(user=make_user("ada"), section="x" * 50, created_at=timezone.now())
    with browse(size=(320, 600)) as tab:
        tab.log_in("ada")
        tab.open("/usage/")
        box = tab.page.get_by_role("region", name="Sections in")

        assert not is_too_wide(tab.page)
        box.focus()
        tab.page.keyboard.press("ArrowRight")
        tab.page.wait_for_function("() => document.activeElement.scrollLeft > 0", timeout=10_000)
