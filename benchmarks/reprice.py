"""`reprice_ai_usage` on a large log, beside processes that deliver calls of the same users.

    DATABASE_URL=postgresql://... python -m benchmarks.reprice [--rows N] [--writers N]

Fills the tables with N calls (100,000), prices them anew, and counts what was lost or doubled.
Without DATABASE_URL it uses SQLite. Use a database without data to keep: the tables are emptied
first. It exits with 1 if a count is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from typing import Any

from benchmarks.callers import FORK
from benchmarks.processes import deadlocks
from benchmarks.reports import USERS, fill
from benchmarks.site import site


def main() -> int:
    """Print the figures; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=3)
    options = parser.parse_args()
    with site():
        return measure(options.rows, options.writers)


def measure(rows: int, writers: int) -> int:
    """Fill the tables, price the rows beside writers, and return the exit code."""
    from django.db import connection, connections

    from usage_tracking import daily, pricing
    from usage_tracking.maintenance.reprice import Selection, reprice
    from usage_tracking.models import AIUsageLog

    fill(rows)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ai_usage_log SET model_name = 'gpt-4o'")
    pricing.warm_up()
    before = deadlocks()
    connections.close_all()
    is_over, results = FORK.Event(), FORK.Queue()
    children = [FORK.Process(target=deliver, args=(is_over, results)) for _ in range(writers)]
    for child in children:
        child.start()
    times = [time.perf_counter()]
    repriced = reprice(
        Selection(), using="default", advance=lambda _: times.append(time.perf_counter())
    )
    is_over.set()
    found = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    seconds = times[-1] - times[0]
    longest = max(b - a for a, b in pairwise(times))
    made, retried = (sum(column) for column in ([one[n] for one in found] for n in (0, 1)))
    slowest = max((one[2] for one in found), default=0.0)
    missing = rows + made - AIUsageLog.objects.count()
    drift, locked = len(daily.drift()), deadlocks() - before
    print(
        f"{connection.vendor}: {repriced.totals.rows:,} rows ({repriced.totals.changed:,} changed) "
        f"in {seconds:.1f} s, longest batch {longest * 1000:.0f} ms"
    )
    print(
        f"beside them {made:,} calls of {writers} processes, {retried} of them retried, slowest "
        f"{slowest * 1000:.0f} ms; missing {missing}, daily rows out of step {drift}, "
        f"deadlocks {locked}"
    )
    return int(bool(missing or drift or locked))


def deliver(is_over: Any, results: Any) -> None:
    """Deliver calls until the end; put how many, how many tries failed, and the slowest seconds."""
    from django.db import OperationalError

    from tests.support.builders import make_event
    from usage_tracking.delivery.batches import is_contention
    from usage_tracking.delivery.writer import store
    from usage_tracking.events import utc_now

    made = retried = 0
    slowest = 0.0
    while not is_over.is_set():
        event = make_event(created_at=utc_now(), user_id=str(1 + made % USERS))
        began = time.perf_counter()
        while True:
            try:
                if not store([event], using="default").deferred:
                    break
            except OperationalError as error:
                if not is_contention(error):
                    raise
            retried += 1
        slowest = max(slowest, time.perf_counter() - began)
        made += 1
        time.sleep(0.01)
    results.put((made, retried, slowest))


if __name__ == "__main__":
    sys.exit(main())
