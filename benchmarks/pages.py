"""The pages of the API on a big log: SQL statements and the blocks they read.

    DATABASE_URL=postgresql://... python -m benchmarks.pages [--rows N N ...]

Fills the tables with N calls of 90 days and 1,000 users, asks for each page over HTTP, and has
PostgreSQL explain the statements it ran (EXPLAIN (ANALYZE, BUFFERS): blocks found in memory or
read). A page that adds up is held against one grouped query over the same rows. The tables are
emptied first, so the database must be one that may be.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.reports import fill
from benchmarks.site import site

USERS = 1_000
DAYS = 90
#: Makes as many calls as most; and one call of forty.
TYPICAL, HEAVY = 2, 1
TARGET = 2.0


@dataclass(frozen=True)
class Page:
    name: str
    path: str
    user: int
    #: The rows that one grouped query is to add up; None if the page adds nothing up.
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
                statements, seconds = ask(page)
                blocks = sum(read(sql, parameters) for sql, parameters in statements)
                line = f"{page.name:42} {len(statements):3} {seconds * 1000:6.0f} {blocks:8,}"
                if page.days is not None:
                    grouped = read(*grouped_query(page))
                    line += f"  {grouped:8,}  {blocks / grouped:.2f} x"
                    if blocks > TARGET * grouped:
                        over.append(page.name)
                print(line)
    if over:
        raise SystemExit(f"More than {TARGET} x: {', '.join(over)}")


def ask(page: Page) -> tuple[list[tuple[str, Any]], float]:
    """The statements of the page, and the seconds it took at its second time."""
    from django.contrib.auth.models import User
    from django.db import connection
    from rest_framework.test import APIClient

    User.objects.filter(pk=page.user).update(is_superuser=True)
    client = APIClient()
    client.force_authenticate(User.objects.get(pk=page.user))
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        statements.append((sql, parameters))
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(note):
        answer = client.get(f"/usage/{page.path}")
    assert answer.status_code == 200, answer.content
    started = time.perf_counter()
    client.get(f"/usage/{page.path}")
    return statements, time.perf_counter() - started


def read(sql: str, parameters: Any) -> int:
    """How many blocks the statement takes, from memory or from the disk."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
        (found,) = cursor.fetchone()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    blocks: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return blocks


def grouped_query(page: Page) -> tuple[str, tuple[Any, ...]]:
    """The plainest way to add up the same rows by day and section."""
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
