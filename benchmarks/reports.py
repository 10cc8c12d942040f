"""Commands that read, on a large log: seconds and SQL statements.

    DATABASE_URL=postgresql://... python -m benchmarks.reports [--rows N]

Fills the tables with N calls of the past 30 days by 500 users, in 8 sections, of 6 models, and runs
each command. Without DATABASE_URL it uses SQLite. Use a database without data to keep: the tables
are emptied first.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import time
from contextlib import suppress
from io import StringIO
from typing import Any

from benchmarks.site import site

USERS = 500
DAYS = 30
#: The command lines to measure.
COMMANDS = (
    ("usage_today",),
    ("usage_today", "--section", "chat"),
    ("usage_today", "--user", "user2"),
    ("usage_today", "--json"),
    ("reconcile_ai_usage", "--offline", "--days", "31", "--by", "day"),
    ("reconcile_ai_usage", "--offline", "--days", "31", "--by", "key"),
    # Makes a call through every transport, and follows one from the outbox into the database.
    ("diagnose_ai_usage", "--skip-sdks"),
)

# Numbers that look random but are the same every time and on both databases. `n` is the number of
# the call; multiples of primes spread the calls over users, sections and minutes. User 1 makes each
# fortieth call.
PICK = """
SELECT
    {id} AS id,
    CASE WHEN n % 50 = 0 THEN NULL WHEN n % 40 = 7 THEN 1 ELSE 1 + n * 7919 % {users} END
        AS user_id,
    CASE n * 31 % 8 WHEN 0 THEN 'chat' WHEN 1 THEN 'rag_pipeline' WHEN 2 THEN 'knowledge_qa'
        WHEN 3 THEN 'web_knowledge' WHEN 4 THEN 'session_memory' WHEN 5 THEN 'intent_detection'
        WHEN 6 THEN 'embedding_generation' ELSE 'other' END AS section,
    'openai' AS provider,
    'model-' || (n * 37 % 6) AS model_name,
    'chat' AS operation,
    CASE WHEN n % 40 = 0 THEN NULL ELSE n * 101 % 4000 END AS prompt_tokens,
    CASE WHEN n % 40 = 0 THEN NULL ELSE n * 103 % 900 END AS completion_tokens,
    CASE WHEN n % 40 = 0 THEN 'unknown' ELSE 'reported' END AS usage_source,
    CASE WHEN n % 20 = 0 THEN NULL ELSE (n * 107 % 90000) * 0.0000001 END AS cost,
    100 + n * 109 % 9000 AS response_time_ms,
    {success} AS success,
    CASE WHEN n % 30 = 0 THEN 'Error code: 429 - Rate limit reached for model ' || n % 7 END
        AS error_message,
    {metadata} AS metadata,
    {day} AS day,
    {created_at} AS created_at
FROM {numbers}
"""
POSTGRES = {
    "id": "gen_random_uuid()",
    "success": "n % 30 <> 0",
    "metadata": "jsonb_build_object('response_id', 'chatcmpl-' || n)",
    "day": "((now() - n * interval '{days} days' / {rows}) AT TIME ZONE 'UTC')::date",
    "created_at": "now() - n * interval '{days} days' / {rows}",
    "numbers": "generate_series(1::bigint, {rows}) AS numbers(n)",
}
SQLITE = {
    "id": "lower(hex(randomblob(16)))",
    "success": "n % 30 <> 0",
    "metadata": "'{{\"response_id\": \"chatcmpl-' || n || '\"}}'",
    "day": "date('now', '-' || (n * {days}.0 * 86400 / {rows}) || ' seconds')",
    "created_at": "datetime('now', '-' || (n * {days}.0 * 86400 / {rows}) || ' seconds')",
    "numbers": (
        "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
        "WHERE n < {rows}) SELECT n FROM numbers) AS numbers"
    ),
}
COLUMNS = (
    "id, user_id, section, provider, model_name, operation, prompt_tokens, completion_tokens, "
    "usage_source, cost, response_time_ms, success, error_message, metadata, day, created_at"
)


def main() -> None:
    """Print what each command costs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with site():
        from django.db import connection

        started = time.perf_counter()
        fill(options.rows)
        bill(options.rows)
        print(
            f"{connection.vendor}: {options.rows:,} calls of {DAYS} days, "
            f"filled in {time.perf_counter() - started:.0f} s"
        )
        for command in COMMANDS:
            statements, seconds = measure(command, options.rounds)
            print(f"{' '.join(command):40} {statements:3} SQL  {seconds * 1000:8.0f} ms")


def fill(rows: int, users: int = USERS, days: int = DAYS) -> None:
    """Replace the contents of the tables by `rows` calls of the past `days` days."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    from usage_tracking import daily

    call_command("migrate", verbosity=0)
    vendor = POSTGRES if connection.vendor == "postgresql" else SQLITE
    parts = {name: text.format(rows=rows, days=days) for name, text in vendor.items()}
    with connection.cursor() as cursor:
        # DELETE would keep the table's blocks.
        empty = "TRUNCATE" if connection.vendor == "postgresql" else "DELETE FROM"
        cursor.execute(f"{empty} ai_usage_tracking")
        cursor.execute(f"{empty} ai_usage_log")
        User.objects.bulk_create(
            (User(pk=n, username=f"user{n}") for n in range(1, users + 1)), ignore_conflicts=True
        )
        cursor.execute(f"INSERT INTO ai_usage_log ({COLUMNS}) {PICK.format(users=users, **parts)}")
        daily.rebuild()
        # As autovacuum does later.
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def bill(rows: int, days: int = DAYS) -> None:
    """Replace the stored bills by one of the past `days` days, for each model and key."""
    from django.utils import timezone

    from usage_tracking.models import AIProviderBill

    AIProviderBill.objects.all().delete()
    today = timezone.now().date()
    AIProviderBill.objects.bulk_create(
        AIProviderBill(
            provider="openai",
            day=today - dt.timedelta(days=day),
            family="completions",
            model_name=f"model-{model}",
            key_id=f"key_{key}",
            key_hint=f"abc{key}",
            requests=rows // days // 18,
            prompt_tokens=rows // days // 18 * 2000,
            completion_tokens=rows // days // 18 * 450,
        )
        for day in range(days + 1)
        for model in range(6)
        for key in range(3)
    )


def measure(command: tuple[str, ...], rounds: int) -> tuple[int, float]:
    """Return the statements of a run and the median seconds."""
    timed = sorted(run(command) for _ in range(rounds))
    return timed[0][0], statistics.median(seconds for _, seconds in timed)


def run(command: tuple[str, ...]) -> tuple[int, float]:
    """Return the statements and seconds of one run."""
    from django.core.management import CommandError, call_command
    from django.db import connection

    statements = 0

    def count(execute: Any, *arguments: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*arguments)

    started = time.perf_counter()
    # diagnose_ai_usage exits with 1: the benchmark's site has no middleware.
    with connection.execute_wrapper(count), suppress(CommandError):
        call_command(*command, stdout=StringIO(), stderr=StringIO())
    return statements, time.perf_counter() - started


if __name__ == "__main__":
    main()
