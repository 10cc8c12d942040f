"""The admin's pages on a large log: SQL statements, blocks read, milliseconds.

    DATABASE_URL=postgresql://... python -m benchmarks.admin_pages [--rows N ...] [--only NAME]

Fills the tables with N calls of 90 days and 1,000 users for each N, and opens each page as a staff
user who is not a superuser. Blocks are those that EXPLAIN (ANALYZE, BUFFERS) counts for each SELECT
of the page on PostgreSQL (8 KiB each, found in memory or read). Use a database without data to
keep: the tables are emptied first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from benchmarks.pages import read
from benchmarks.reports import fill
from benchmarks.site import site, statements

USERS, DAYS = 1_000, 90
ROUNDS = 5
LOGS = "/admin/usage_tracking/aiusagelog/"
ROWS = "/admin/usage_tracking/aiusagetracking/"
#: The period that stands for all time.
EVER = "start_date=1970-01-01"


def pages() -> dict[str, str]:
    """Return the URLs of the pages by name."""
    import datetime as dt

    from usage_tracking.models import AIUsageLog, today

    day = today()
    old = day - dt.timedelta(days=80)
    pk = AIUsageLog.objects.order_by("created_at").values_list("pk", flat=True)[0]
    month = f"start_date={day - dt.timedelta(days=29)}&end_date={day}"
    return {
        "list": LOGS,
        "list, page 100": f"{LOGS}?p=100",
        "list, month": f"{LOGS}?{month}",
        "list, failures": f"{LOGS}?success__exact=0",
        "list, failures, all time": f"{LOGS}?success__exact=0&{EVER}",
        "list, section, month": f"{LOGS}?section=chat&{month}",
        "list, a day 80 days ago": f"{LOGS}?start_date={old}&end_date={old}",
        "list, a user": f"{LOGS}?user=7",
        "list, unattributed, month": f"{LOGS}?unknown=user&{month}",
        "list, provider of no call": f"{LOGS}?provider=nobody",
        "search, id": f"{LOGS}?q={pk}",
        "search, user": f"{LOGS}?q=user77",
        "search, error": f"{LOGS}?q=rate+limit",
        "search, nothing found": f"{LOGS}?q=no-such-text",
        "search, nothing found, all time": f"{LOGS}?q=no-such-text&{EVER}",
        "page of a call": f"{LOGS}{pk}/change/",
        "daily rows": ROWS,
        "daily rows, month": f"{ROWS}?{month}",
        "daily rows, user": f"{ROWS}?q=user77",
        "dashboard, 7 days": f"{LOGS}dashboard/?start_date={day - dt.timedelta(days=6)}",
        "dashboard, 30 days": f"{LOGS}dashboard/",
        "dashboard, 30 days, section": f"{LOGS}dashboard/?section=chat",
        "dashboard, 90 days": f"{LOGS}dashboard/?start_date={day - dt.timedelta(days=89)}",
        "dashboard, a day by hour": f"{LOGS}dashboard/?start_date={day}&end_date={day}",
        "dashboard, 30 days by model": f"{LOGS}dashboard/?stack=model",
        "dashboard, 30 days, a user": f"{LOGS}dashboard/?user=7",
        "dashboard, 30 days, all users": f"{LOGS}dashboard/?all=users",
        "own page": "/usage/",
    }


def main() -> None:
    """Print what each page costs for each number of rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--only", default="", help="the beginning of the pages' names")
    options = parser.parse_args()
    with site("benchmarks.admin_settings"):
        from django.db import connection

        for rows in options.rows:
            fill(rows, users=USERS, days=DAYS)
            blocks, ms = baseline()
            print(f"{connection.vendor}: {rows:,} calls, {USERS:,} users, {DAYS} days")
            print(f"{'30 days in one GROUP BY day, section':40} {blocks:9,} blocks {ms:7.0f} ms")
            named = {name: url for name, url in pages().items() if name.startswith(options.only)}
            for name, url in named.items():
                number, blocks, ms = measure(url)
                print(f"{name:40} {number:3} SQL  {blocks:9,} blocks {ms:7.0f} ms")


def baseline() -> tuple[int, float]:
    """Return the blocks and ms of one grouped query over 30 days, the least a report can cost."""
    import datetime as dt

    from django.db.models import Count, Sum

    from usage_tracking.models import AIUsageLog, today

    logs = AIUsageLog.objects.filter(day__gt=today() - dt.timedelta(days=30)).order_by()
    grouped = logs.values("day", "section").annotate(
        n=Count("pk"), tokens=Sum("total_tokens"), usd=Sum("cost")
    )
    started = time.perf_counter()
    list(grouped)
    ms = (time.perf_counter() - started) * 1000
    return blocks_of(*grouped.query.sql_with_params()), ms


def measure(url: str) -> tuple[int, int, float]:
    """Return the number of statements of the page, their blocks, and the median ms."""
    client = viewer()
    timed = [open_page(client, url) for _ in range(ROUNDS)]
    noted = timed[0][0]
    blocks = sum(blocks_of(sql, parameters) for sql, parameters in noted)
    return len(noted), blocks, statistics.median(ms for _, ms in timed)


def viewer() -> Any:
    """Return a client that is logged in as a staff user with the two view permissions."""
    from django.contrib.auth.models import Permission, User
    from django.test import Client

    # A user with calls, for the user's own page.
    user = User.objects.get(pk=7)
    user.is_staff = True
    user.save()
    user.user_permissions.set(
        Permission.objects.filter(codename__in=("view_aiusagelog", "view_aiusagetracking"))
    )
    client = Client()
    client.force_login(user)
    return client


def open_page(client: Any, url: str) -> tuple[list[tuple[str, Any]], float]:
    """Return the statements of the page and the ms it took."""
    started = time.perf_counter()
    with statements() as noted:
        answer = client.get(url)
    ms = (time.perf_counter() - started) * 1000
    if answer.status_code != 200:
        raise RuntimeError(f"{url}: {answer.status_code}")
    return noted, ms


def blocks_of(sql: str, parameters: Any) -> int:
    """Return the blocks of a query; 0 for another statement or another database."""
    from django.db import connection

    is_query = sql.lstrip("( ").upper().startswith(("SELECT", "WITH"))
    return read(sql, parameters) if is_query and connection.vendor == "postgresql" else 0


if __name__ == "__main__":
    main()
