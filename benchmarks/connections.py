"""Count the connections that a process opens for its AI calls, and time when it closes them.

DATABASE_URL=postgresql://... python -m benchmarks.connections
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.site import web_site
from benchmarks.table import FULL, Row, left_out, print_rows

OPEN = "additional connections of a process that makes AI calls (8 threads)"
CLOSED = "seconds until an idle connection is closed, with CONN_MAX_AGE = None"
#: Thirty idle seconds, and the time until the thread checks again.
LATEST = 40


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    with web_site() as alice:
        from django.db import connection

        # With Django's default 0, delivery closes its connection after every cycle.
        connection.settings_dict["CONN_MAX_AGE"] = None
        before = backends()
        most = 0
        with ThreadPoolExecutor(8) as executor:
            done = [executor.submit(make_calls, alice) for _ in range(8)]
            while not all(one.done() for one in done):
                most = max(most, len(backends() - before))
                time.sleep(0.01)
        for one in done:
            one.result()
        most = max(most, len(backends() - before))
        yield Row(OPEN, "≤ 1", f"{most}", met=most == 1, invariant=True)
        if part < FULL:
            yield left_out(CLOSED, f"30 to {LATEST}")
            return
        started = time.monotonic()
        while backends() - before and time.monotonic() - started < 2 * LATEST:
            time.sleep(0.1)
        seconds = time.monotonic() - started
        yield Row(CLOSED, f"30 to {LATEST}", f"{seconds:.0f}", met=round(seconds) <= LATEST)


def make_calls(user: object) -> None:
    """Make ten calls for `user`."""
    from tests.views import ask
    from usage_tracking import ai_usage

    for _ in range(10):
        with ai_usage(section="chat", user=user):
            ask()


def backends() -> set[int]:
    """Return the PIDs of the server's processes, one per connection to this database."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        return {pid for (pid,) in cursor.fetchall()}


if __name__ == "__main__":
    print_rows(measure())
