"""Tabs of a real browser on a site with a strict content security policy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from tests.support.browser import browser, lacking

#: Allows only files of the site itself: no inline scripts and no inline styles.
STRICT_CSP = "default-src 'self'; frame-ancestors 'none'"
#: Not the static files: they need no policy.
PAGES = re.compile(r"^(?!.*/static/)")
DESKTOP, PHONE = (1280, 900), (390, 844)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if reason := lacking():
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass
class Tab:
    """A page of the browser, and the errors on it."""

    page: Any
    site: str
    troubles: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        answer = self.page.goto(self.site + path)
        assert answer.status == 200, f"{path}: {answer.status}"

    def log_in(self, username: str) -> None:
        """Log in without the form, which takes as long as a test's own page."""
        client = Client()
        client.force_login(User.objects.get(username=username))
        session = client.cookies["sessionid"].value
        self.page.context.add_cookies([{"name": "sessionid", "value": session, "url": self.site}])

    def picture(self, name: str, *, full: bool = True) -> None:
        """Take a screenshot, if the environment variable SCREENSHOTS names a directory."""
        if directory := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=f"{directory}/{name}.png", full_page=full)


Browse = Callable[..., Any]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """Run one browser for all tests, because its start takes longer than most of them."""
    with pytest.MonkeyPatch.context() as patch, browser() as running:
        # Playwright's event loop runs in this thread, where Django would allow no queries.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield running


@pytest.fixture
def browse(live_server: LiveServer, chromium: Any) -> Browse:
    """Open a tab in which every page of the site has the strict policy."""

    @contextmanager
    def browse(*, scheme: str = "light", size: tuple[int, int] = DESKTOP) -> Iterator[Tab]:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            accept_downloads=True,
        )
        try:
            tab = Tab(context.new_page(), live_server.url)
            tab.page.on("pageerror", lambda error: tab.troubles.append(str(error)))
            tab.page.on(
                "console",
                lambda message: (
                    tab.troubles.append(message.text)
                    if message.type in ("error", "warning")
                    else None
                ),
            )
            tab.page.route(PAGES, _with_policy)
            yield tab
        finally:
            context.close()
        assert tab.troubles == []

    return browse


def _with_policy(route: Any) -> None:
    if route.request.url.endswith("/favicon.ico"):
        route.fulfill(status=204)
        return
    if route.request.resource_type != "document" or "/export/" in route.request.url:
        route.continue_()
        return
    answer = route.fetch(max_redirects=0)
    route.fulfill(
        response=answer, headers={**answer.headers, "content-security-policy": STRICT_CSP}
    )
