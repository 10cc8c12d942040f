"""Measure the seconds from the end of a call until its row is visible to other connections.

python -m benchmarks.latency
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from benchmarks.site import web_site
from benchmarks.table import FULL, Row, left_out, print_rows, scaled

BUSY = ("event → row on a busy site", "≤ 1 s")
LOOSE = ("event → row of a call outside of requests, tasks and blocks", "≤ 10 s")
ORPHAN = ("event → row of a killed process, while another process is alive", "≤ 60 s")

#: Dies after the event is in the outbox and before delivery.
KILLED = """
import os, signal, django
django.setup()
from tests.views import ask
from usage_tracking import ai_usage
with ai_usage(section="chat"):
    ask()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    with web_site():
        visit()  # connects, loads the prices, looks for orphans
        seen(1, timeout=30)
        if part < FULL:
            orphan = None
        else:
            # The worst case: this process has just looked for orphans.
            subprocess.run([sys.executable, "-c", KILLED], check=False)
            orphan = seen(1, timeout=150)[0]
        waits = busy(scaled(400, part, 10))
        yield Row(
            *BUSY,
            f"median {waits[len(waits) // 2]:.2f} s, slowest of {len(waits)}: {waits[-1]:.2f} s",
            met=waits[-1] <= 1,
        )
        if orphan is None:
            yield left_out(*LOOSE)
            yield left_out(*ORPHAN)
            return
        loose = call_without_scope()
        yield Row(*LOOSE, f"{loose:.1f} s", met=loose <= 10)
        yield Row(*ORPHAN, f"{orphan:.1f} s, right after a check for orphans", met=orphan <= 60)


def busy(requests: int) -> list[float]:
    """Return the waits of two visitors at a time, shortest first."""
    with ThreadPoolExecutor(2) as executor:
        visits = [executor.submit(visit) for _ in range(requests)]
        waits = seen(requests, timeout=120)
    for one in visits:
        one.result()
    return sorted(waits)


def visit() -> None:
    """Visit a page that makes a call."""
    from django.test import Client

    Client().get("/free/")


_known: set[object] = set()


def seen(number: int, timeout: float) -> list[float]:
    """Return the waits, in seconds, of the next `number` rows."""
    from usage_tracking.models import AIUsageLog

    waits: list[float] = []
    deadline = time.monotonic() + timeout
    while len(waits) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(waits)} of {number} rows within {timeout} s")
        rows = list(AIUsageLog.objects.values_list("id", "created_at", "response_time_ms"))
        now = datetime.now(UTC)
        for pk, began, ms in rows:
            if pk not in _known:
                _known.add(pk)
                waits.append((now - began - timedelta(milliseconds=ms)).total_seconds())
        time.sleep(0.01)
    return waits


def call_without_scope() -> float:
    """Make a call outside of every scope, and return its wait in seconds."""
    from tests.views import ask

    ask()
    return seen(1, timeout=60)[0]


if __name__ == "__main__":
    print_rows(measure())
