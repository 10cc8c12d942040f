"""Tabs of a real browser on a site with a strict content security policy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.support.browser import browser, lacking

#: Allows only files of the site itself: no inline scripts and no inline styles.
STRICT_CSP = "default-src 'self'; frame-ancestors 'none'"
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

    def log_in(self, username: str, password: str) -> None:
        self.open("/admin/login/?next=/admin/")
        self.page.fill("#id_username", username)
        self.page.fill("#id_password", password)
        self.page.click("[type=submit]")
        self.page.wait_for_selector("#user-tools")

    def picture(self, name: str, *, full: bool = True) -> None:
        """Take a screenshot, if the environment variable SCREENSHOTS names a directory."""
        if directory := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=f"{directory}/{name}.png", full_page=full)


Browse = Callable[..., Any]


@pytest.fixture
def browse(live_server: LiveServer) -> Browse:
    """Open a tab in which every response of the site has the strict policy.

    Run the test's own queries before and after it: Playwright's event loop runs in this thread, and
    Django allows no queries there.
    """

    @contextmanager
    def browse(*, scheme: str = "light", size: tuple[int, int] = DESKTOP) -> Iterator[Tab]:
        with browser() as chromium:
            context = chromium.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if scheme == "dark" else "light",
                accept_downloads=True,
            )
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
            tab.page.route("**/*", _with_policy)
            yield tab
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
