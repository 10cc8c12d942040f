"""Measure what it takes to price a call.

    python -m benchmarks.pricing [--rounds N]

500 events of ten models are priced, with tokens alone and with further units. The median per event
counts. Delivery prices events in batches, never in a request.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Any

import django
from django.conf import settings

MODELS = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-5-mini"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("google", "gemini-2.5-flash"),
    ("mistral", "mistral-large-latest"),
    ("groq", "llama-3.3-70b-versatile"),
    ("azure", "gpt-4o"),
    ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("deepseek", "deepseek-chat"),
)
EVENTS = 500


def main() -> None:
    """Print the median for calls with tokens alone, and for those with further units."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    for name, has_details in (("tokens alone", False), ("with further units", True)):
        print(f"{name:20} {_median(_events(has_details=has_details), rounds):6.1f} µs per event")


def _events(*, has_details: bool) -> list[Any]:
    from usage_tracking.events import UsageEvent
    from usage_tracking.usage import Usage

    chance = random.Random(1)
    events = []
    for number in range(EVENTS):
        provider, model = MODELS[number % len(MODELS)]
        prompt = chance.randrange(10, 5000)
        counts: dict[str, int] = {"input_tokens": prompt}
        if "embedding" not in model:
            counts["output_tokens"] = chance.randrange(1, 900)
            counts["cache_read_tokens"] = chance.choice([0, prompt // 2])
        if has_details and provider == "anthropic":
            counts |= {"cache_write_tokens": prompt // 4, "cache_write_1h_tokens": prompt // 4}
        if has_details and provider == "google":
            counts |= {"input_audio_tokens": prompt // 4, "cache_read_tokens": 0}
        usage = Usage.of(counts)
        events.append(UsageEvent.manual(usage=usage, provider=provider, model_name=model))
    return events


def _median(events: list[Any], rounds: int) -> float:
    from usage_tracking.pricing import price

    for event in events:  # fill the caches of names and plans
        assert price(event) is not None, event
    spent = []
    for _ in range(rounds):
        for event in events:
            start = time.perf_counter()
            price(event)
            spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1e6


if __name__ == "__main__":
    main()
