"""Measure the time of `outbox.put` in one process, and in eight at once.

python -m benchmarks.put
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator

from benchmarks.site import site
from benchmarks.table import FULL, Row, print_rows, scaled


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    number = scaled(5000, part, 50)
    with site():
        alone = statistics.median(puts(number))
        yield Row("outbox.put, median", "≤ 20 µs", f"{alone:.1f} µs", met=alone <= 20)
        with multiprocessing.get_context("fork").Pool(8) as pool:
            parts = pool.map(puts, [number] * 8, chunksize=1)
        times = sorted(t for of_one in parts for t in of_one)
        p99 = times[int(len(times) * 0.99)]
        yield Row(
            "outbox.put in 8 processes at once, 99th percentile",
            "≤ 1000 µs",
            f"{p99:.1f} µs (median {statistics.median(times):.1f})",
            met=p99 <= 1000,
        )


def puts(number: int) -> list[float]:
    """Return the µs of each `put`."""
    from usage_tracking import outbox
    from usage_tracking.events import UsageEvent, utc_now, uuid7
    from usage_tracking.usage import Usage

    outbox.listener = None
    box = outbox.get()
    times = []
    for _ in range(number):
        now = utc_now()
        event = UsageEvent.create(
            id=uuid7(now),
            created_at=now,
            user_id="1",
            username="alice",
            section="chat",
            provider="openai",
            model_name="gpt-4o-mini-2024-07-18",
            operation="chat",
            usage=Usage(prompt_tokens=150, completion_tokens=80),
            response_time_ms=700,
            metadata={"response_id": "chatcmpl-0123456789abcdef"},
        )
        started = time.perf_counter()
        box.put(event)
        times.append((time.perf_counter() - started) * 1e6)
    return times


if __name__ == "__main__":
    print_rows(measure())
