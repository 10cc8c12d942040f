"""Measure the memory of capture during a stream of 10 MB.

python -m benchmarks.stream
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator

from benchmarks.site import web_site
from benchmarks.table import FULL, Row, print_rows

SIZE = 10_000_000
#: kB for the current chunk, and kB that a stream of twice the size may add, because its chunks may
#: be larger.
TARGET, GROWTH = 256, 64


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    with web_site():
        from usage_tracking import outbox

        outbox.listener = None  # no delivery thread in the measurement
        words = int(SIZE * part) // length_of_event()
        once, twice = added(words), added(2 * words)
    yield Row(
        "memory that capture adds during a stream of 10 MB, of 20 MB (peak with, minus peak "
        "without)",
        f"≤ {TARGET} kB, about the same for both",
        f"{once:+.0f} kB, {twice:+.0f} kB",
        met=max(once, twice) <= TARGET and twice - once <= GROWTH,
    )


def added(words: int) -> float:
    """Return the peak memory that capture adds, in kB."""
    from usage_tracking import ai_usage, capture

    capture.uninstall()
    peak(words)
    without, _ = peak(words)
    capture.install(list(capture.TRANSPORTS))
    with ai_usage(section="chat") as handle:
        with_us, _ = peak(words)
    if handle.total_tokens < words:
        raise RuntimeError("the stream was not captured")
    return (with_us - without) / 1000


def length_of_event() -> int:
    """Return the bytes of an event with one word."""
    _, ten = peak(10)
    _, thousand = peak(1000)
    return (thousand - ten) // 990


def peak(words: int) -> tuple[int, int]:
    """Return Python's peak memory while reading a stream, and the stream's length, in bytes."""
    import httpx2

    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": f"hello [stub words={words}]"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    passed = 0
    with httpx2.Client(timeout=60) as client:
        tracemalloc.start()
        with client.stream(
            "POST", f"http://{os.environ['STUB']}/openai/v1/chat/completions", json=body
        ) as response:
            for chunk in response.iter_raw():
                passed += len(chunk)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most, passed


if __name__ == "__main__":
    print_rows(measure())
