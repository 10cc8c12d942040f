"""Gauges for prometheus_client: how much of the providers' bills the log has.

    from prometheus_client import REGISTRY
    from usage_tracking.contrib.prometheus import AIUsageCollector

    REGISTRY.register(AIUsageCollector())

They come from the stored bills, which `reconcile_ai_usage` fetches, and from the log. A scrape
fetches no bill. https://prometheus.github.io/client_python/collector/custom/
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock

from django.db import connections, router
from django.db.transaction import atomic
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .. import conf
from ..days import DayRange, utc_today
from ..errors import contained
from ..models import AIUsageLog
from ..reports import Reconciliation, reconciliation

#: Days that a scrape compares, the last of them today in UTC.
_DAYS = 7


class AIUsageCollector(Collector):
    """Yields how much of each provider's bill the log has, and when the bill was fetched.

    What is not known is left out. So is everything if it cannot be read: the error is logged.

    Args:
        max_age: The seconds for which the values are kept. A scrape may come every few seconds, and
            reading the log takes longer than a scrape should.
    """

    def __init__(self, max_age: float = 300.0) -> None:
        self._max_age = max_age
        self._lock = Lock()
        self._values: Reconciliation | None = None
        self._read_at: float | None = None

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the gauges without values; prometheus_client would collect them to register."""
        return _gauges(None)

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the gauges with their values."""
        return _gauges(self._current()) if conf.enabled() else []

    def _current(self) -> Reconciliation | None:
        # One thread reads the log, and others wait for it.
        with self._lock:
            if self._read_at is None or time.monotonic() - self._read_at >= self._max_age:
                self._values = _read()
                self._read_at = time.monotonic()
            return self._values


def _gauges(values: Reconciliation | None) -> list[GaugeMetricFamily]:
    captured = GaugeMetricFamily(
        "ai_usage_captured_ratio",
        "Part of the provider's bill that the log has, of the settled days of the last 7 (UTC).",
        labels=("provider", "measure"),
    )
    fetched = GaugeMetricFamily(
        "ai_usage_bill_fetched_timestamp_seconds",
        "When the bill of the last 7 days (UTC) was fetched; of several fetches, the earliest.",
        labels=("provider",),
    )
    for each in values.providers if values is not None else ():
        for name, measure in (("requests", each.settled.requests), ("tokens", each.settled.tokens)):
            if measure.percent is not None:
                captured.add_metric((each.provider, name), float(measure.percent / 100))
        if each.fetched_at is not None:
            fetched.add_metric((each.provider,), each.fetched_at.timestamp())
    return [captured, fetched]


@contained
def _read() -> Reconciliation | None:
    if asyncio._get_running_loop() is None:
        return _reconciled()
    # Django refuses queries in the thread of an event loop, where `make_asgi_app` collects.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_reconciled).result()


def _reconciled() -> Reconciliation:
    days = DayRange.until(utc_today(), _DAYS)
    with _own_connections(), _savepoint():
        return reconciliation(*days.ends(), by="day")


@contextmanager
def _own_connections() -> Iterator[None]:
    """Close the connections that are opened inside.

    prometheus_client's server makes a thread for each scrape, in which nothing else closes them.
    Those of a request stay as they are.
    """
    before = {each.alias for each in connections.all(initialized_only=True) if each.connection}
    try:
        yield
    finally:
        for each in connections.all(initialized_only=True):
            if each.alias not in before:
                each.close()


def _savepoint() -> AbstractContextManager[None]:
    """Protect the transaction of a request from an error here."""
    using = router.db_for_read(AIUsageLog)
    return atomic(using=using) if connections[using].in_atomic_block else nullcontext()
