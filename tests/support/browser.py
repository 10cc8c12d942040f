"""The driver in Playwright's wheel, the system's Chromium, and what axe-core finds on a page."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

#: From the least to the worst.
IMPACTS = ("minor", "moderate", "serious", "critical")


def lacking() -> str:
    """Return what to install before a browser can run, or an empty text."""
    if find_spec("playwright") is None:
        return "playwright is not installed: pip install -r requirements.txt"
    if chromium() is None:
        return "no Chromium here: apt-get install chromium, or name one in CHROMIUM"
    return ""


def chromium() -> str | None:
    """Return the browser that CHROMIUM names, by default the system's."""
    given = os.environ.get("CHROMIUM")
    return given or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Run Chromium. Django allows no queries in this thread while Playwright's loop runs in it."""
    from playwright.sync_api import sync_playwright

    # As root, in a container, Chromium cannot use its sandbox. It opens only our own pages.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox"] if root else []
        )
        try:
            yield launched
        finally:
            launched.close()


def is_too_wide(page: Any) -> bool:
    """Return whether the page scrolls sideways."""
    root = "document.documentElement"
    return bool(page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"))


def violations(page: Any, within: str | None = None) -> list[dict[str, Any]]:
    """Return the violations that axe-core finds, within the elements that a selector names."""
    from axe_playwright_python.sync_playwright import Axe

    found: list[dict[str, Any]] = Axe().run(page, context=within).response["violations"]
    return found


def by_impact(found: list[dict[str, Any]]) -> str:
    """Return how many elements violate a rule, by impact."""
    numbers: Counter[str] = Counter()
    for violation in found:
        numbers[violation["impact"]] += len(violation["nodes"])
    return " ".join(f"{impact} {numbers[impact]}" for impact in IMPACTS if numbers[impact]) or "-"
