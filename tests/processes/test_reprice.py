"""`reprice_ai_usage` beside processes that deliver and amend calls of the same users and days."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models import F

from project.stub import StubProvider
from tests.processes.conftest import Child, Start
from tests.processes.test_durability import WORKER, ask_for_call, flush, manage
from tests.support.waiting import wait_until
from usage_tracking import daily
from usage_tracking.delivery.row_values import event_of
from usage_tracking.delivery.writer import store
from usage_tracking.models import AIUsageLog, today
from usage_tracking.pricing import price

pytestmark = [pytest.mark.costly, pytest.mark.postgres]

#: `make bench-reprice` has ten times as many.
ROWS = int(os.environ.get("REPRICED_ROWS", "10000"))
USERS, DAYS, WORKERS = 40, 5, 3

#: Rows of an older release, in the order of their ids, all with the same wrong cost. The calls of
#: the last day are of today, like those that are delivered in the meantime.
INSERT = """
INSERT INTO ai_usage_log (id, user_id, section, provider, model_name, operation, prompt_tokens,
    completion_tokens, usage_source, cost, response_time_ms, success, error_message, metadata,
    day, created_at)
SELECT CAST(lpad(to_hex(1773489600000 + n), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0')
        AS uuid),
    (%s::int[])[1 + n %% %s], 'chat', 'openai', 'gpt-4o', 'chat', n %% 1000, n %% 77,
    'reported', 0.5, 900, true, '', '{}', at.day, at.day + interval '12 hours'
FROM generate_series(0, %s - 1) AS n,
    LATERAL (SELECT %s::date - (n / 7) %% %s AS day) AS at
"""


def test_nothing_is_lost_beside_live_traffic(start: Start, stub: StubProvider, user: User) -> None:
    users = [user, *(User.objects.create(username=f"u{number}") for number in range(1, USERS))]
    make_rows(users)
    before = deadlocks()
    workers = [
        start(WORKER, users[number].pk, 10**9, "--on-demand", stdin=subprocess.PIPE)
        for number in range(WORKERS)
    ]
    acknowledged = [ask_for_call(worker) for worker in workers]

    with traffic(workers, users) as calls:
        began = time.monotonic()
        output = manage(start, "reprice_ai_usage", "--json", "--to", today().isoformat())
        seconds = time.monotonic() - began
        assert all(calls.each), "no calls were made while the rows were repriced"
    acknowledged += calls.ids
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.end()
        # A warning that names a timeout is a delivery that gave way and was tried again.
        wrong = ("ERROR", "CRITICAL", "deadlock", "Traceback")
        assert [word for word in wrong if word in worker.log()] == []
    flush(start)

    totals = json.loads(output)["totals"]
    # Calls that the workers have delivered before the first batch are found, and are right.
    assert ROWS <= totals["rows"] <= ROWS + len(acknowledged)
    assert ROWS - calls.amended <= totals["changed"] <= ROWS
    found = list(
        AIUsageLog.objects.filter(metadata__has_key="response_id").values_list(
            "metadata__response_id", flat=True
        )
    )
    assert sorted(found) == sorted(acknowledged)
    assert sorted(found) == sorted(served.response_id for served in stub.journal)
    assert AIUsageLog.objects.count() == ROWS + len(acknowledged)
    assert daily.drift() == {}
    assert wrong_costs() == []
    assert deadlocks() == before
    slowest = max(calls.seconds)
    print(
        f"{ROWS:,} rows in {seconds:.1f} s beside {len(acknowledged)} calls and {calls.amended} "
        f"amendments ({calls.retried} retried); slowest call {slowest * 1000:.0f} ms"
    )


class Traffic:
    """What the site did while rows were repriced."""

    def __init__(self, workers: int) -> None:
        self.ids: list[str] = []
        self.each = [0] * workers
        self.seconds: list[float] = [0.0]
        self.amended = self.retried = 0
        self.is_over = False


@contextmanager
def traffic(workers: list[Child], users: list[User]) -> Iterator[Traffic]:
    """Make calls in all workers and amend old rows, until the end of the block."""
    done = Traffic(len(workers))

    def make_calls(number: int) -> None:
        while not done.is_over:
            began = time.monotonic()
            done.ids.append(ask_for_call(workers[number]))
            done.seconds.append(time.monotonic() - began)
            done.each[number] += 1

    def amend_rows() -> None:
        chance = random.Random(20261127)
        pks = list(AIUsageLog.objects.filter(cost=Decimal("0.5")).values_list("pk", flat=True))
        try:
            for revision in count(1):
                if done.is_over:
                    return
                log = AIUsageLog.objects.get(pk=chance.choice(pks))
                event = replace(
                    event_of(log),
                    revision=revision,
                    completion_tokens=chance.randrange(1_000),
                    user_id=str(chance.choice(users).pk),
                )
                while deliver(event):  # as the outbox does
                    done.retried += 1
                done.amended += 1
        finally:
            connection.close()

    with ThreadPoolExecutor(len(workers) + 1) as executor:
        running = [executor.submit(make_calls, number) for number in range(len(workers))]
        running.append(executor.submit(amend_rows))
        try:
            wait_until(lambda: done.amended > 0 and all(done.each), awaited="traffic")
            yield done
        finally:
            done.is_over = True
    for one in running:
        one.result()


def deliver(event: Any) -> bool:
    """Deliver an event; return whether it has to be tried again."""
    with suppress(OperationalError):  # another transaction had a lock for 0.3 s
        return bool(store([event], using="default").deferred)
    return True


def make_rows(users: list[User]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [[user.pk for user in users], len(users), ROWS, today(), DAYS])
        cursor.execute("ANALYZE ai_usage_log")
    daily.rebuild()
    assert AIUsageLog.objects.count() == ROWS
    assert AIUsageLog.objects.filter(cost=Decimal("0.5"), day=today()).exists()


def wrong_costs() -> list[Any]:
    """Return the rows whose cost is not the price of their call."""
    rows = AIUsageLog.objects.annotate(source=F("metadata__cost_source"))
    return [log.pk for log in rows.iterator() if log.cost != price(event_of(log))]


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        (number,) = cursor.fetchone()
    return int(number)
