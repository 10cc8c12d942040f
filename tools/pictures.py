"""Take pictures of each page of the admin, and print what is wrong with it: `make pictures`.

    python -m tools.pictures DIRECTORY [--theme NAME ...] [--calls N] [--source CHECKOUT]

Fills a SQLite database with N calls of 60 days, or uses the one that --database names if it has
calls. Opens each page in Chromium at each width, in light and dark, and saves
DIRECTORY/THEME/PAGE-WIDTH-SCHEME.png. Prints for each: status, SQL statements, how many pixels the
page and the widest part in it scroll sideways, the elements that violate a rule of axe-core by
impact, and errors of scripts.
`--source` names the checkout of another revision, whose pages are opened instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

from tests.support.browser import browser, by_impact, lacking, violations
from tests.themes.serving import opened, serving
from tests.themes.site import THEMES

WIDTHS = (390, 1280, 1680)
SCHEMES = ("light", "dark")
#: Returns in pixels how far the page, and the widest part in it, can be scrolled sideways.
SIDEWAYS = """() => {
  const hidden = element => element.scrollWidth - element.clientWidth;
  const scrolls = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const parts = [...document.body.querySelectorAll("*")].filter(scrolls);
  return [hidden(document.documentElement), Math.max(0, ...parts.map(hidden))];
}"""


def main() -> int:
    """Take the pictures of the chosen themes, and return 1 if a page fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--theme", nargs="+", choices=THEMES, default=["stock"])
    parser.add_argument("--calls", type=int, default=180_000)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--source", type=Path, help="the checkout of another revision")
    parser.add_argument("--database", type=Path, help="a directory to keep the database in")
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS)
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--pages", nargs="+", default=[""], help="beginnings of the pages' names")
    # Chromium cannot draw a picture that is much higher.
    parser.add_argument("--highest", type=int, default=12_000, help="cut pictures, in pixels")
    parser.add_argument("--rules", action="store_true", help="print the violated rules too")
    options = parser.parse_args()
    if reason := lacking():
        print(reason, file=sys.stderr)
        return 2
    with ExitStack() as stack:
        database = options.database or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database.mkdir(parents=True, exist_ok=True)
        chromium = stack.enter_context(browser())
        arguments = ["--calls", str(options.calls), "--users", str(options.users)]
        if options.source:
            arguments += ["--source", str(options.source.resolve())]
        failed = False
        for theme in options.theme:
            with serving(theme, database, *arguments) as site:
                failed |= visit(chromium, site, options.directory / theme, options)
    return int(failed)


def visit(chromium: Any, site: dict[str, Any], directory: Path, options: Any) -> bool:
    """Open each page at each width in light and dark, and return whether one fails."""
    directory.mkdir(parents=True, exist_ok=True)
    failed = False
    print(f"{directory}\n{'page':34} status  SQL  wide:page part  axe")
    for width, scheme in product(options.widths, options.schemes):
        with opened(chromium, site, width, scheme) as (page, troubles):
            for name, path in site["pages"].items():
                if not name.startswith(tuple(options.pages)):
                    continue
                answer = page.goto(site["url"] + path)
                failed |= answer.status != 200
                label = f"{name}-{width}-{scheme}"
                take(page, directory / f"{label}.png", options.highest)
                statements = answer.headers.get("x-statements", "?")
                wide = " ".join(f"{pixels:5}" for pixels in page.evaluate(SIDEWAYS))
                found = violations(page)
                impacts = by_impact(found)
                print(f"{label:34} {answer.status:6} {statements:>4}    {wide}  {impacts}")
                if options.rules:
                    print_rules(found)
                while troubles:
                    print(f"    {troubles.pop()}")
                sys.stdout.flush()
    return failed


def take(page: Any, path: Path, highest: int) -> None:
    """Save a picture of the page, at most `highest` pixels of it."""
    height = page.evaluate("document.documentElement.scrollHeight")
    width = page.viewport_size["width"]
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, highest)}
    page.screenshot(path=path, full_page=True, clip=clip)


def print_rules(found: list[dict[str, Any]]) -> None:
    """Print each violated rule with its first elements."""
    for violation in found:
        elements = [" ".join(map(str, node["target"])) for node in violation["nodes"]]
        shown = ", ".join(elements[:3])
        print(f"    {violation['impact']} {violation['id']} ({len(elements)}): {shown}")


if __name__ == "__main__":
    sys.exit(main())
