"""The API on a large log: SQL statements and the blocks they read.

    DATABASE_URL=postgresql://... python -m benchmarks.pages [--rows N N ...]

Fills the tables with N calls of 90 days and 1,000 users, requests each page over HTTP, and counts
the blocks of its statements (EXPLAIN (ANALYZE, BUFFERS): found in memory or read). A page of totals
is compared with one grouped query over the same rows. Use a database without data to keep: the
tables are emptied first.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.reports import fill
from benchmarks.site import site, statements
from benchmarks.table import FULL, Row, scaled

USERS = 1_000
DAYS = 90
#: The keys of a user with an average number of calls, and of one with every fortieth call.
TYPICAL, HEAVY = 2, 1
STATEMENTS, TARGET = 3, 2.0


@dataclass(frozen=True)
class Page:
    """A page of the API, requested by the user with the key `user`."""

    name: str
    path: str
    user: int
    #: The days that the page adds up; None if it returns no totals.
    days: int | None = None
    of_all: bool = False


PAGES = (
    *(
        Page(f"{name}, {days} days", f"logs/{path}/?days={days}", user, days, of_all)
        for name, path, user, of_all in (
            ("stats, one user", "stats", TYPICAL, False),
            ("stats, the heaviest user", "stats", HEAVY, False),
            ("stats, global", "global", TYPICAL, True),
        )
        for days in (30, 365)
    ),
    Page("stats of one section, global, 30 days", "logs/global/?days=30&section=chat", TYPICAL),
    Page("daily rows, one user, 365 days", "stats/?days=365", TYPICAL),
    Page("daily rows, global, 365 days", "global/?days=365", TYPICAL),
    Page("log, first page", "logs/", TYPICAL),
    Page("log of the heaviest user, first page", "logs/", HEAVY),
    Page("log of the heaviest user, offset 10,000", "logs/?offset=10000", HEAVY),
)


def main() -> None:
    """Print all pages for each number of rows, and exit with an error above the target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    options = parser.parse_args()
    over = []
    with site():
        from django.db import connection

        if connection.vendor != "postgresql":
            parser.error("DATABASE_URL must name a PostgreSQL database: it counts the blocks")
        for rows in options.rows:
            fill(rows, USERS, DAYS)
            print(f"\n{rows:,} calls of {DAYS} days and {USERS:,} users")
            print(f"{'':42} SQL     ms   blocks  one grouped query")
            for page in PAGES:
                asked = ask(page)
                print(f"{page.name:42} {asked}")
                if asked.grouped and asked.ratio > TARGET:
                    over.append(page.name)
    if over:
        raise SystemExit(f"More than {TARGET} x: {', '.join(over)}")


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of the common table of results."""
    rows = scaled(1_000_000, part)
    with site():
        fill(rows, USERS, DAYS)
        asked = [ask(page) for page in PAGES if page.days == 30]
    most = max(one.statements for one in asked)
    yield Row(
        "stats pages of 1,000,000 calls, 30 days (one user, the heaviest, global): SQL",
        f"≤ {STATEMENTS}",
        f"{most}",
        met=most <= STATEMENTS,
        invariant=True,
    )
    yield Row(
        "the same: blocks read, against one grouped query",
        f"≤ {TARGET:g} x",
        f"{', '.join(f'{one.ratio:.2f}' for one in asked)} x ({rows:,} calls)",
        met=max(one.ratio for one in asked) <= TARGET,
    )


@dataclass(frozen=True)
class Asked:
    """What one page cost."""

    statements: int
    seconds: float
    blocks: int
    #: Blocks of one grouped query; None if the page returns no totals.
    grouped: int | None

    @property
    def ratio(self) -> float:
        """The blocks of the page for each block of the grouped query."""
        return self.blocks / (self.grouped or 1)

    def __str__(self) -> str:
        text = f"{self.statements:3} {self.seconds * 1000:6.0f} {self.blocks:8,}"
        return text + (f"  {self.grouped:8,}  {self.ratio:.2f} x" if self.grouped else "")


def ask(page: Page) -> Asked:
    """Request the page twice: to record its statements, and to time it with warm caches."""
    from django.contrib.auth.models import User
    from rest_framework.test import APIClient

    User.objects.filter(pk=page.user).update(is_superuser=True)
    client = APIClient()
    client.force_authenticate(User.objects.get(pk=page.user))
    with statements() as noted:
        answer = client.get(f"/usage/{page.path}")
    assert answer.status_code == 200, answer.content
    started = time.perf_counter()
    client.get(f"/usage/{page.path}")
    seconds = time.perf_counter() - started
    return Asked(
        statements=len(noted),
        seconds=seconds,
        blocks=sum(read(sql, parameters) for sql, parameters in noted),
        grouped=None if page.days is None else read(*grouped_query(page)),
    )


def read(sql: str, parameters: Any) -> int:
    """Return how many blocks the statement reads, from memory or from disk (PostgreSQL)."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
        (found,) = cursor.fetchone()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    blocks: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return blocks


def grouped_query(page: Page) -> tuple[str, tuple[Any, ...]]:
    """Return the simplest query that adds up the same rows by day and section."""
    from usage_tracking.models import today

    whose = "" if page.of_all else " AND user_id = %s"
    start = today() - dt.timedelta(days=(page.days or 1) - 1)
    return (
        "SELECT day, section, COUNT(*), SUM(total_tokens), SUM(cost), SUM(response_time_ms) "
        f"FROM ai_usage_log WHERE day BETWEEN %s AND %s{whose} GROUP BY day, section",
        (start, today()) if page.of_all else (start, today(), page.user),
    )


if __name__ == "__main__":
    main()
