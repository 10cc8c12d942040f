"""Code that makes calls during a fault, and reads what was recorded."""

from __future__ import annotations

import functools
import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

FORK: Any = multiprocessing.get_context("fork")


def ready() -> None:
    """Run the one-time work of a caller's process, before it is forked without connections."""
    from django.db import connections
    from openai import OpenAI

    from usage_tracking import pricing

    _ = OpenAI(api_key="none").chat.completions  # imports it, too
    pricing.warm_up()
    connections.close_all()


def call(user: object) -> str:
    """Make one call in a block, and return the id of the answer."""
    from tests.views import ask
    from usage_tracking import ai_usage

    with ai_usage(section="chat", user=user):
        answer = ask()
    return str(answer.id)


def found() -> list[str]:
    """Deliver all events, and return the ids of the answers that have rows."""
    from usage_tracking.delivery import delivery
    from usage_tracking.models import AIUsageLog

    delivery.deliver()
    return list(AIUsageLog.objects.values_list("metadata__response_id", flat=True))


class Holdups:
    """Measures the ms that callers spend in this package."""

    def __init__(self) -> None:
        from usage_tracking import ai_usage, middleware, outbox
        from usage_tracking.delivery import delivery

        self._mine = threading.local()
        self._watch(outbox, "put")
        self._watch(ai_usage, "__enter__")
        self._watch(ai_usage, "__exit__")
        self._watch(middleware, "_open")
        self._watch(middleware, "_finish")
        self._watch(delivery, "wake")

    def of(self, work: Callable[[], object]) -> float:
        """Return the ms that `work` spent in this package."""
        self._mine.ms = 0.0
        work()
        return float(self._mine.ms)

    def _watch(self, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._mine, "inside", False):
                return function(*args, **kwargs)
            self._mine.inside = True
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                passed = (time.perf_counter() - started) * 1000
                self._mine.ms = getattr(self._mine, "ms", 0.0) + passed
                self._mine.inside = False

        setattr(owner, name, timed)
