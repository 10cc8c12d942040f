"""Count missing calls and deadlocks when eight processes make calls for one user.

python -m benchmarks.processes
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.callers import FORK, call, found, ready
from benchmarks.site import web_site
from benchmarks.table import FULL, Row, print_rows, scaled

PROCESSES = 8


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    calls = scaled(200, part, 5)
    with web_site() as alice:
        from usage_tracking.models import AIUsageTracking

        before = deadlocks()
        ready()
        children = [FORK.Process(target=make_calls, args=(alice, calls)) for _ in range(PROCESSES)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        if any(child.exitcode for child in children):
            raise RuntimeError("a caller saw an error")
        rows = len(found())
        counted = sum(row.total_requests for row in AIUsageTracking.objects.filter(user=alice))
        locked = deadlocks() - before
    made = PROCESSES * calls
    yield Row(
        f"{PROCESSES} processes of 200 calls, one user: missing in the daily row; deadlocks",
        "0; 0",
        f"{made - counted} of {made:,}; {locked}",
        met=counted == rows == made and not locked,
        invariant=True,
    )


def make_calls(user: object, calls: int) -> None:
    """Make `calls` calls for `user`."""
    for _ in range(calls):
        call(user)


def deadlocks() -> int:
    """Return the deadlocks that the server counts, with a short delay; SQLite has none."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        (number,) = cursor.fetchone()
    return int(number)


if __name__ == "__main__":
    print_rows(measure())
