"""Callers whom something may befall, and what of theirs is found afterwards."""

from __future__ import annotations

import functools
import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

FORK: Any = multiprocessing.get_context("fork")


def ready() -> None:
    """Does at once what each caller's process does once; no connection may come along."""
    from django.db import connections
    from openai import OpenAI

    from usage_tracking import pricing

    _ = OpenAI(api_key="none").chat.completions  # imported only now
    pricing.warm_up()
    connections.close_all()


def call(user: object) -> str:
    """One call in a block of its own; gives the answer's id when the block is over."""
    from tests.views import ask
    from usage_tracking import ai_usage

    with ai_usage(section="chat", user=user):
        answer = ask()
    return str(answer.id)


def found() -> list[str]:
    """The answers that became rows, after all that waits is delivered."""
    from usage_tracking.delivery import delivery
    from usage_tracking.models import AIUsageLog

    delivery.deliver()
    return list(AIUsageLog.objects.values_list("metadata__response_id", flat=True))


class Holdups:
    """How long our code held each caller up, in ms, at every place where it is called."""

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
        """What `work` was held up in all."""
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
