"""Time of `outbox.put`: in one process, and in eight at once.

python -m benchmarks.put
"""

from __future__ import annotations

import multiprocessing
import statistics
import time

from benchmarks.site import site

PUTS = 5000


def main() -> None:
    with site():
        single = puts(0)
        print(f"1 process    p50 {statistics.median(single):6.1f} µs (target ≤ 20)")
        with multiprocessing.get_context("fork").Pool(8) as pool:
            times = sorted(t for part in pool.map(puts, range(8), chunksize=1) for t in part)
        p99 = times[int(len(times) * 0.99)]
        print(
            f"8 processes  p50 {statistics.median(times):6.1f} µs   "
            f"p99 {p99:6.1f} µs (target ≤ 1000)"
        )


def puts(_: int) -> list[float]:
    from usage_tracking import outbox
    from usage_tracking.events import Usage, UsageEvent, utc_now, uuid7

    outbox.listener = None
    box = outbox.get()
    times = []
    for _ in range(PUTS):
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
    main()
