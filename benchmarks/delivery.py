"""Compare the delivery of a backlog with the minimal work for PostgreSQL.

    DATABASE_URL=postgresql://... python -m benchmarks.delivery

The minimal work is psycopg2's `execute_values` of 500 rows into a table with the same indexes, and
one grouped upsert per batch, from prepared tuples. Delivery starts with the outbox file and prices
every event. On SQLite, only the statements of a batch are counted.

This needs psycopg2, and empties the usage tables of the database.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.site import site, statements
from benchmarks.table import FULL, Row, print_rows, scaled

BATCH = 500
USERS = 200


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    with site():
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        User.objects.bulk_create(
            (User(pk=n, username=f"user{n}") for n in range(1, USERS + 1)), ignore_conflicts=True
        )
        yield batch()
        if connection.vendor == "postgresql":
            yield throughput(scaled(100_000, part, BATCH), rounds=3 if part == FULL else 1)


def batch() -> Row:
    """Count the statements of a batch."""
    executed = {}
    for events in (1, BATCH):
        deliver = fill(events)
        with statements() as noted:
            deliver()
        executed[events] = sum(sql not in {"BEGIN", "COMMIT"} for sql, _ in noted)
    return Row(
        f"SQL on the delivery connection per batch of N ≤ {BATCH}",
        "2 and BEGIN, COMMIT",
        ", ".join(f"{number} for N = {events}" for events, number in executed.items()),
        met=max(executed.values()) <= 2,
        invariant=True,
    )


def throughput(events: int, rounds: int) -> Row:
    """Return the median ratio of several rounds."""
    ratios = []
    for _ in range(rounds):
        bare = timed(bare_inserts(events))
        ours = timed(fill(events))
        ratios.append((bare / ours, events / ours))
    ratio, rate = sorted(ratios)[rounds // 2]
    return Row(
        f"speed of delivering 100,000 calls, relative to execute_values of {BATCH} rows + upsert",
        "≥ 40 %",
        f"{ratio:.0%} ({rate:,.0f} rows/s, {events:,} events)",
        met=ratio >= 0.4,
    )


def timed(run: Callable[[], None]) -> float:
    """Return the seconds that `run` takes on empty tables."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE ai_usage_log, ai_usage_tracking")
        cursor.execute("CHECKPOINT")
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def fill(events: int) -> Callable[[], None]:
    """Fill the outbox, and return a function that delivers it."""
    from usage_tracking import outbox
    from usage_tracking.delivery import delivery
    from usage_tracking.events import UsageEvent, utc_now, uuid7
    from usage_tracking.usage import Usage

    chance = random.Random(1)
    outbox.listener = None
    box = outbox.get()
    for _ in range(events):
        now = utc_now()
        user = chance.randint(1, USERS)
        box.put(
            UsageEvent.create(
                id=uuid7(now),
                created_at=now,
                user_id=str(user),
                username=f"user{user}",
                section="chat",
                provider="openai",
                model_name="gpt-4o-mini-2024-07-18",
                operation="chat",
                usage=Usage(
                    prompt_tokens=chance.randint(1, 4000), completion_tokens=chance.randint(1, 900)
                ),
                response_time_ms=chance.randint(100, 9000),
                metadata={"response_id": f"chatcmpl-{chance.getrandbits(100):x}"},
            )
        )

    def run() -> None:
        written = delivery.deliver().written
        if written != events:
            raise RuntimeError(f"{written} of {events} delivered")

    return run


def bare_inserts(events: int) -> Callable[[], None]:
    """Prepare the rows, and return a function that writes them."""
    import psycopg2
    from django.db import connection

    rows = bare_rows(events)
    parameters = connection.get_connection_params()
    parameters = {k: v for k, v in parameters.items() if k in {"dbname", "user", "host", "port"}}
    raw = psycopg2.connect(**parameters)

    def run() -> None:
        write_bare(raw, rows)

    return run


def write_bare(raw: Any, rows: list[tuple[Any, ...]]) -> None:
    """Write a batch with two statements."""
    from psycopg2.extras import execute_values

    with raw, raw.cursor() as cursor:
        for at in range(0, len(rows), BATCH):
            batch = rows[at : at + BATCH]
            execute_values(
                cursor,
                "INSERT INTO ai_usage_log (id, user_id, section, provider, model_name, operation, "
                "prompt_tokens, completion_tokens, usage_source, cost, response_time_ms, success, "
                "metadata, day, created_at) VALUES %s ON CONFLICT (id) DO NOTHING RETURNING id",
                batch,
                page_size=BATCH,
                fetch=True,
            )
            sums: dict[tuple[int, dt.date], list[Any]] = {}
            for row in batch:
                total = sums.setdefault((row[1], row[13]), [0, 0, 0, 0])
                total[0] += 1
                total[1] += row[6]
                total[2] += row[7]
                total[3] += row[10]
            execute_values(
                cursor,
                "INSERT INTO ai_usage_tracking AS d (user_id, date, total_requests, "
                "total_prompt_tokens, total_completion_tokens, total_response_time_ms, "
                "total_tokens, successful_requests, failed_requests, total_cost, created_at, "
                "updated_at) VALUES %s ON CONFLICT (user_id, date) DO UPDATE SET "
                "total_requests = d.total_requests + excluded.total_requests, "
                "total_tokens = d.total_tokens + excluded.total_tokens",
                [(*key, *value) for key, value in sorted(sums.items())],
                template="(%s, %s, %s, %s, %s, %s, 0, 0, 0, 0, now(), now())",
                page_size=BATCH,
            )
            raw.commit()


def bare_rows(events: int) -> list[tuple[Any, ...]]:
    """Return rows as tuples, ready to insert."""
    chance = random.Random(1)
    now = dt.datetime.now(dt.UTC)
    first = int(now.timestamp() * 1000) << 80
    return [
        (
            str(uuid.UUID(int=first + (number << 64))),
            chance.randint(1, USERS),
            "chat",
            "openai",
            "gpt-4o-mini-2024-07-18",
            "chat",
            chance.randint(1, 4000),
            chance.randint(1, 900),
            "reported",
            "0.0001234500",
            chance.randint(100, 9000),
            True,
            json.dumps({"response_id": f"chatcmpl-{chance.getrandbits(100):x}"}),
            now.date(),
            now,
        )
        for number in range(events)
    ]


if __name__ == "__main__":
    print_rows(measure())
