"""Count lost and duplicate calls when a private PostgreSQL server is down for ten seconds.

python -m benchmarks.outage
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from benchmarks.callers import ready
from benchmarks.faults import HELD_UP, LOST, TARGET, callers, results
from benchmarks.site import web_site
from benchmarks.table import FULL, Row, left_out, print_rows
from tests.databases import LocalPostgres

FAULT = "database down for 10 s"


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    if part < FULL:
        yield left_out(f"{FAULT}: {LOST}", "0; 0; 0")
        yield left_out(f"{FAULT}: {HELD_UP}", f"≤ {TARGET} ms")
        return
    server = LocalPostgres()
    try:
        os.environ["DATABASE_URL"] = server.url
        with web_site() as alice:
            ready()
            with callers(alice) as those:
                time.sleep(2)
                server.stop()
                time.sleep(10)
                server.start()
                time.sleep(2)
            yield from results(FAULT, those)
    finally:
        server.remove()


if __name__ == "__main__":
    print_rows(measure())
