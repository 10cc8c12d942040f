"""Start the site in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.environment import DIRECTORY_VARIABLE


@contextmanager
def serving(theme: str, directory: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """Serve the site with a theme and the SQLite database in `directory`, and yield what it prints.

    Args:
        theme: The name of the theme.
        directory: Where the database is; it is filled if it is empty.
        arguments: Further arguments of `tests.themes.site`.
    """
    command = [sys.executable, "-m", "tests.themes.site", "--theme", theme, *arguments]
    directory = directory.resolve()
    env = os.environ | {
        DIRECTORY_VARIABLE: str(directory),
        "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("the site has no pipes")
        try:
            if not (line := process.stdout.readline()):
                raise RuntimeError("The site did not start. Its error is above.")
            yield json.loads(line)
        finally:
            process.stdin.close()


@contextmanager
def opened(
    chromium: Any, site: dict[str, Any], width: int, scheme: str
) -> Iterator[tuple[Any, list[str]]]:
    """Open a tab of the site's superuser, and yield it and the list of its errors."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.add_cookies([{"name": "sessionid", "value": site["session"], "url": site["url"]}])
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda message: troubles.append(message.text) if message.type == "error" else None,
    )
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    yield page, troubles
    context.close()
