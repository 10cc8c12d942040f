"""Measure what `AI_USAGE_WAIT` adds to a page, with real servers and a private PostgreSQL.

python -m benchmarks.wait
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from statistics import median

import httpx

from benchmarks.site import web_site
from benchmarks.table import FULL, Row, print_rows, scaled
from tests.databases import LocalPostgres
from tests.scenarios.servers import Server

WAIT = 0.25
ADDED = (f"AI_USAGE_WAIT = {WAIT}: added to a page, median", "≤ 5 ms")
#: Milliseconds that the slowest page may take longer than the slowest without the setting.
LONGEST = 1000 * WAIT + 50
AWAY = (f"AI_USAGE_WAIT = {WAIT}, database down: added to the slowest page", f"≤ {LONGEST:.0f} ms")
LOCKED = (f"AI_USAGE_WAIT = {WAIT}, log locked: added to the slowest page", f"≤ {LONGEST:.0f} ms")


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    database = LocalPostgres()
    try:
        os.environ["DATABASE_URL"] = database.url
        with web_site():
            from django.db import connection, transaction

            settings = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.scenarios.settings"}
            with (
                Server("gunicorn gthread", settings) as plain,
                Server("gunicorn gthread", settings | {"SITE_WAIT": str(WAIT)}) as waiting,
                # On a kept connection, TCP's delayed acknowledgements take most of the time.
                httpx.Client(timeout=60, headers={"Connection": "close"}) as http,
            ):

                def visits(number: int) -> tuple[list[float], list[float]]:
                    """Visit both servers alternately, and return the ms of each visit."""
                    taken: tuple[list[float], list[float]] = ([], [])
                    for _ in range(number):
                        for server, ms in zip((plain, waiting), taken, strict=True):
                            began = time.perf_counter()
                            http.get(f"{server.url}/free/", params={"q": "Hi"}).raise_for_status()
                            ms.append(1000 * (time.perf_counter() - began))
                    return taken

                visits(20)
                without, with_wait = visits(scaled(400, part, 40))
                added = median(with_wait) - median(without)
                yield Row(
                    *ADDED,
                    f"{added:.1f} ms ({median(without):.1f} → {median(with_wait):.1f} ms)",
                    met=added <= 5,
                )
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE ai_usage_log IN ACCESS EXCLUSIVE MODE")
                    yield _slowest(LOCKED, *visits(scaled(40, part, 10)))
                visits(10)
                connection.close()
                database.stop()
                yield _slowest(AWAY, *visits(scaled(100, part, 10)))
                database.start()
    finally:
        database.remove()


def _slowest(name: tuple[str, str], without: list[float], with_wait: list[float]) -> Row:
    added = max(with_wait) - max(without)
    measured = f"{added:.0f} ms ({max(without):.0f} → {max(with_wait):.0f} ms)"
    return Row(*name, measured, met=added <= LONGEST)


if __name__ == "__main__":
    print_rows(measure())
