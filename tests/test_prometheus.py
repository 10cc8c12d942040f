"""The gauges for Prometheus, scraped as Prometheus does."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.request import urlopen

import pytest
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.utils import timezone
from prometheus_client import CollectorRegistry, Gauge, generate_latest, start_http_server
from prometheus_client.asgi import make_asgi_app
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoAssertNumQueries, Settings

from tests.support.builders import save_log
from tests.support.providers import join
from usage_tracking import errors
from usage_tracking.contrib import prometheus
from usage_tracking.contrib.prometheus import AIUsageCollector
from usage_tracking.models import AIProviderBill, AIUsageLog

pytestmark = pytest.mark.django_db

RATIO, FETCHED = "ai_usage_captured_ratio", "ai_usage_bill_fetched_timestamp_seconds"
LABELS = ("provider", "measure")
MODEL = "gpt-4o-2024-08-06"


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)  # like the registry of the process
    registry.register(AIUsageCollector())
    return registry


def scraped(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    return parsed(generate_latest(registry).decode())


def parsed(text: str) -> dict[tuple[str, ...], float]:
    """Return (name, provider, measure) → value."""
    return {
        (
            sample.name,
            *(sample.labels[name] for name in LABELS if name in sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def bill(*, days_ago: int = 3, **changes: Any) -> AIProviderBill:
    values: dict[str, Any] = {
        "provider": "openai",
        "day": dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days_ago),
        "family": "completions",
        "model_name": MODEL,
        "requests": 10,
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "fetched_at": timezone.now(),
    }
    return AIProviderBill.objects.create(**values | changes)


def calls(number: int, of: AIProviderBill, **changes: Any) -> None:
    noon = dt.datetime.combine(of.day, dt.time(12), dt.UTC)
    for _ in range(number):
        save_log(
            provider=of.provider,
            model_name=of.model_name,
            created_at=noon,
            prompt_tokens=100,
            completion_tokens=50,
            cost=Decimal("0.001"),
            **changes,
        )


def test_gauges_say_how_much_of_the_bill_the_log_has(registry: CollectorRegistry) -> None:
    billed = bill()
    calls(9, billed)

    assert scraped(registry) == {
        (RATIO, "openai", "requests"): 0.9,
        (RATIO, "openai", "tokens"): 0.9,
        (FETCHED, "openai"): billed.fetched_at.timestamp(),
    }


def test_only_a_complete_log_has_one(registry: CollectorRegistry) -> None:
    billed = bill(requests=100_001, prompt_tokens=100, completion_tokens=50)
    bill(model_name="gpt-4o-mini", requests=0, prompt_tokens=10_000_000, completion_tokens=0)
    calls(1, billed, operation="chat")
    save_log(
        provider="openai",
        model_name="gpt-4o-mini",
        created_at=dt.datetime.combine(billed.day, dt.time(12), dt.UTC),
        prompt_tokens=9_999_999,
        completion_tokens=0,
    )

    assert scraped(registry)[RATIO, "openai", "tokens"] == 0.9999


def test_what_is_not_known_has_no_value(registry: CollectorRegistry) -> None:
    of_anthropic = bill(
        provider="anthropic", family="messages", model_name="claude-haiku-4-5", requests=None
    )
    calls(10, of_anthropic)
    provisional = bill(days_ago=1)
    calls(10, provisional)
    save_log(provider="mistral")

    assert scraped(registry) == {
        (RATIO, "anthropic", "tokens"): 1.0,
        (FETCHED, "anthropic"): of_anthropic.fetched_at.timestamp(),
        (FETCHED, "openai"): provisional.fetched_at.timestamp(),
    }


def test_days_before_the_last_seven_do_not_count(registry: CollectorRegistry) -> None:
    bill(days_ago=7)
    calls(10, bill(days_ago=6))

    assert scraped(registry)[RATIO, "openai", "requests"] == 1.0


def test_without_a_bill_there_are_only_names(registry: CollectorRegistry) -> None:
    text = generate_latest(registry).decode()

    assert f"# TYPE {RATIO} gauge" in text
    assert f"# TYPE {FETCHED} gauge" in text
    assert parsed(text) == {}


def test_registering_reads_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    registry = CollectorRegistry(auto_describe=True)
    with django_assert_num_queries(0):
        registry.register(AIUsageCollector())
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            registry.register(AIUsageCollector())


def test_values_are_kept_for_five_minutes(
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    now = 1000.0
    monkeypatch.setattr(prometheus.time, "monotonic", lambda: now)
    billed = bill()
    calls(9, billed)
    first = scraped(registry)
    calls(1, billed)

    now += 299
    with django_assert_num_queries(0):
        assert scraped(registry) == first
    now += 1
    assert scraped(registry)[RATIO, "openai", "requests"] == 1.0


def test_max_age_of_the_site(django_assert_max_num_queries: Any) -> None:
    registry = CollectorRegistry()
    registry.register(AIUsageCollector(max_age=0))
    billed = bill()
    calls(9, billed)
    scraped(registry)
    calls(1, billed)

    with django_assert_max_num_queries(3 + 2):  # around them, the savepoint in a transaction
        assert scraped(registry)[RATIO, "openai", "requests"] == 1.0


def test_nothing_is_read_if_tracking_is_off(
    registry: CollectorRegistry,
    settings: Settings,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    bill()
    settings.AI_USAGE_ENABLED = False
    with django_assert_num_queries(0):
        assert scraped(registry) == {}


class TestFaults:
    @pytest.fixture(autouse=True)
    def contained(self, settings: Settings) -> Iterator[None]:
        settings.AI_USAGE_RAISE_ERRORS = False
        yield
        errors.failures.clear()

    def test_error_of_the_database_leaves_the_gauges_out(
        self, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        Gauge("site_visitors", "Of the site.", registry=registry).set(7)
        bill()

        def without_tables(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            return execute(sql.replace("ai_usage_bill", "ai_usage_missing"), params, many, context)

        with transaction.atomic(), caplog.at_level(logging.ERROR, "ai_usage_tracker"):
            with connection.execute_wrapper(without_tables):
                found = scraped(registry)
            # The transaction of a request that scrapes goes on.
            assert AIProviderBill.objects.count() == 1

        assert found == {("site_visitors",): 7}
        assert "[TRACK_EXCEPTION]" in caplog.text
        assert "ai_usage_missing" in caplog.text

    def test_error_is_not_repeated_by_each_scrape(
        self, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries = []

        def fails(*args: object, **options: object) -> None:
            tries.append(args)
            raise RuntimeError("out of order")

        monkeypatch.setattr(prometheus, "reconciliation", fails)

        assert [scraped(registry) for _ in range(3)] == [{}, {}, {}]
        assert len(tries) == 1


@pytest.mark.django_db(transaction=True)
class TestThreads:
    @pytest.fixture
    def billed(self) -> AIProviderBill:
        billed = bill()
        calls(9, billed)
        return billed

    @pytest.mark.server
    def test_server_of_prometheus_client_leaves_no_connection_open(
        self, registry: CollectorRegistry, billed: AIProviderBill
    ) -> None:
        opened: list[Any] = []

        def note(connection: Any, **_: object) -> None:
            opened.append(connection)

        connection_created.connect(note)
        server, thread = start_http_server(0, "127.0.0.1", registry)
        try:
            with urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=60) as answer:
                found = parsed(answer.read().decode())
        finally:
            server.shutdown()
            server.server_close()
            join(thread)
            connection_created.disconnect(note)

        assert found[RATIO, "openai", "requests"] == 0.9
        assert opened
        # Django never closes a database of SQLite that is in memory.
        if connection.vendor != "sqlite":
            assert [one.connection for one in opened] == [None] * len(opened)

    def test_threads_that_scrape_at_once_read_once(
        self, registry: CollectorRegistry, billed: AIProviderBill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads, real = [], prometheus.reconciliation

        def counted(*args: Any, **options: Any) -> Any:
            reads.append(args)
            return real(*args, **options)

        monkeypatch.setattr(prometheus, "reconciliation", counted)
        found: list[Any] = []
        gate = threading.Barrier(8)

        def scrape() -> None:
            gate.wait(60)
            found.append(scraped(registry))

        threads = [threading.Thread(target=scrape) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            join(each)

        assert len(reads) == 1
        assert len(found) == 8
        assert all(each == found[0] for each in found)
        assert found[0][RATIO, "openai", "tokens"] == 0.9

    def test_connection_of_a_request_stays_open(
        self, registry: CollectorRegistry, billed: AIProviderBill
    ) -> None:
        AIUsageLog.objects.count()
        before = connection.connection
        scraped(registry)

        assert before is not None
        assert connection.connection is before

    def test_event_loop(self, registry: CollectorRegistry, billed: AIProviderBill) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "headers": [], "query_string": b""}
        asyncio.run(make_asgi_app(registry)(scope, receive, send))

        body = b"".join(message.get("body", b"") for message in sent)
        assert parsed(body.decode())[RATIO, "openai", "requests"] == 0.9
