"""Ten thousand calls to three providers over three days, and what the providers billed for them.

On SQLite, two thousand calls in the same proportions.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import aiohttp
import pytest
from django.db import connection
from django.db.models import Count
from freezegun import freeze_time

from project.stub import ADMIN_KEYS, StubProvider
from tests.support.commands import run_command
from usage_tracking import outbox, recorder, reports
from usage_tracking.capture import exchange
from usage_tracking.events import UsageEvent
from usage_tracking.models import AIProviderBill, AIUsageLog, AIUsageTracking

pytestmark = [pytest.mark.costly, pytest.mark.server]

FIRST, LAST = date(2026, 3, 10), date(2026, 3, 12)
#: When the bills are fetched: the provider has closed all days.
NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)
#: Around midnight in UTC, Los Angeles (07:00) and Auckland (11:00), and in between.
TIMES = ("00:01", "06:59", "07:01", "10:59", "11:01", "15:00", "20:30", "23:58")
MOMENTS = [
    datetime.combine(FIRST + timedelta(days=day), time.fromisoformat(moment), UTC)
    for day in range(3)
    for moment in TIMES
]
#: How many of ten calls a provider gets.
CALLS = {"openai": 4, "anthropic": 3, "openrouter": 3}
#: One of so many calls is another service's.
ESCAPED_OF = 20
#: The models of each provider. The site does not use the last one.
MODELS = {
    "openai": ("gpt-4o-mini", "gpt-4.1-mini", "gpt-5-nano", "o4-mini"),
    "anthropic": (
        "claude-haiku-4-5",
        "claude-sonnet-4-5",
        "claude-3-5-haiku-latest",
        "claude-opus-4-5",
    ),
    "openrouter": (
        "openai/gpt-4.1",
        "mistralai/mistral-small",
        "meta-llama/llama-3.3-70b-instruct",
        "qwen/qwen3-32b",
    ),
}
#: The models of the other service, as bills name them.
OTHERS = {
    "openai": "o4-mini-2025-04-16",
    "anthropic": "claude-opus-4-5-20251101",
    "openrouter": "qwen/qwen3-32b",
}
#: Models of the site whose price the bill doubles.
DEARER = {
    "openai": "gpt-4.1-mini-2025-04-14",
    "anthropic": "claude-sonnet-4-5-20250929",
    "openrouter": "mistralai/mistral-small",
}
PATHS = {
    "openai": "/openai/v1/chat/completions",
    "anthropic": "/anthropic/v1/messages",
    "openrouter": "/openrouter/api/v1/chat/completions",
}
HINT = "Zk9q"
KEY_OF_OTHER = f"nightly job (…{HINT})"
ZONES = ("Pacific/Auckland", "UTC", "America/Los_Angeles")


class Call(NamedTuple):
    """One request."""

    moment: datetime
    provider: str
    model: str
    key: str
    tokens: tuple[int, int]


def keys_of(provider: str) -> list[str]:
    """Return the keys of the site."""
    return [f"sk-{provider}-0123456789-key{number}" for number in range(3)]


def key_of_other(provider: str) -> str:
    return f"sk-{provider}-0123456789-{HINT}"


def calls(total: int) -> tuple[list[Call], list[Call]]:
    """Return the calls of the site and of the other service, each in the order of time."""
    chance = random.Random(18)
    site, other = [], []
    for provider, of_ten in CALLS.items():
        models, keys = MODELS[provider], keys_of(provider)
        for n in range(of_ten * total // 10):
            # Alike for all calls between two of the other service, which so has the same share of
            # the tokens as of the calls.
            step = n // ESCAPED_OF
            tokens = (100 + 10 * (step % 10), 20 + step % 10)
            moment = chance.choice(MOMENTS)
            if n % ESCAPED_OF:
                site.append(Call(moment, provider, models[n % 3], keys[n // 3 % 3], tokens))
            else:
                model = models[0] if step % 2 else models[-1]
                other.append(Call(moment, provider, model, key_of_other(provider), tokens))
    return sorted(site), sorted(other)


def request_of(call: Call) -> tuple[str, dict[str, str], bytes]:
    """Return path, headers and body."""
    prompt = "[stub usage={}/{}]".format(*call.tokens)
    body: dict[str, Any] = {
        "model": call.model,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"Content-Type": "application/json"}
    if call.provider == "anthropic":
        body["max_tokens"] = 100
        headers |= {"x-api-key": call.key, "anthropic-version": "2023-06-01"}
    else:
        headers["Authorization"] = f"Bearer {call.key}"
    return PATHS[call.provider], headers, json.dumps(body).encode()


class Clock:
    """The clock of the providers and of captured calls; to freeze all time costs more per call."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(exchange, "utc_now", clock)
    return clock


@pytest.fixture
def stub(clock: Clock, settings: Any) -> Iterator[StubProvider]:
    """Three providers, the site's gateways and billing accounts at once."""
    with StubProvider(clock=clock) as provider:
        for name in CALLS:
            for secret in keys_of(name):
                provider.bill.register(name, secret, name="site")
            provider.bill.register(name, key_of_other(name), name="nightly job")
        settings.AI_USAGE_GATEWAYS = provider.gateways
        settings.AI_USAGE_KEY_HINT = True
        urls = (provider.openai_url, provider.anthropic_url, provider.openrouter_url)
        settings.AI_USAGE_BILLING = {
            name: {"key": ADMIN_KEYS[name], "base_url": url}
            for name, url in zip(CALLS, urls, strict=True)
        }
        yield provider


def make_calls(site: list[Call], stub: StubProvider, clock: Clock) -> None:
    """Make the calls of the site, which are captured."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:  # takes the least CPU of all clients
            for call in site:
                clock.now = call.moment
                path, headers, body = request_of(call)
                async with session.post(stub.url + path, data=body, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()

    asyncio.run(main())
    clock.now = NOW


def make_other_calls(other: list[Call], stub: StubProvider, clock: Clock) -> None:
    """Make the calls of the other service, by a client that the app does not see."""
    connection = http.client.HTTPConnection(stub.host_port)
    for call in other:
        clock.now = call.moment
        path, headers, body = request_of(call)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    connection.close()
    clock.now = NOW


def reconcile(*arguments: str) -> dict[str, Any]:
    """Return the providers in the output of the command."""
    ended = run_command("reconcile_ai_usage", "--days=3", f"--until={LAST}", "--json", *arguments)
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert found["errors"] == []
    return {each["provider"]: each for each in found["providers"]}


def shares(found: dict[str, Any]) -> dict[str, tuple[float | None, float | None]]:
    """Return the percentages of requests and tokens of each provider."""
    return {
        name: (each["totals"]["requests"]["percent"], each["totals"]["tokens"]["percent"])
        for name, each in found.items()
    }


def everywhere(percent: float) -> dict[str, tuple[Any, Any]]:
    """Return the expected shares. Anthropic does not count requests."""
    about = pytest.approx(percent, abs=0.1)
    return {name: (None if name == "anthropic" else about, about) for name in CALLS}


def explained(provider: dict[str, Any], kind: str) -> list[Any]:
    return [each for each in provider["explanations"] if each["kind"] == kind]


@pytest.mark.django_db
def test_another_service_is_what_the_log_lacks(stub, clock, settings):
    settings.AI_USAGE_DAY_TIMEZONE = ZONES[0]
    total = 10_000 if connection.vendor == "postgresql" else 2_000
    site, other = calls(total)
    assert (len(site), len(other)) == (total * 95 // 100, total * 5 // 100)
    events: list[UsageEvent] = []
    recorder.listeners.append(events.append)
    try:
        make_calls(site, stub, clock)
    finally:
        recorder.listeners.remove(events.append)
    with freeze_time(NOW):
        deliver()
        assert AIUsageLog.objects.count() == len(site)
        check_late_data(stub)
        check_a_complete_log()
        make_other_calls(other, stub, clock)
        check_another_service()
        check_its_keys(stub, settings)
        check_zones(settings, events)
        check_a_wrong_price(stub)


def check_late_data(stub: StubProvider) -> None:
    """The bill of the last day grows after it was fetched."""
    stub.bill.hidden_from = datetime(2026, 3, 12, 12, tzinfo=UTC)
    early = reconcile()
    for each in early.values():
        tokens = each["totals"]["tokens"]
        assert tokens["billed"] < tokens["captured"]
        assert {e["kind"] for e in each["explanations"]} == {"more_captured"}

    stub.bill.release()
    for name, each in reconcile().items():
        tokens = each["totals"]["tokens"]
        assert early[name]["totals"]["tokens"]["billed"] < tokens["billed"]
        assert tokens["billed"] == tokens["captured"]
    assert_no_row_doubles()


def check_a_complete_log() -> None:
    """All calls are the site's."""
    found = reconcile()
    assert shares(found) == everywhere(100.0)
    for each in found.values():
        assert each["settled"]["tokens"]["percent"] == 100.0
        assert each["totals"]["cost"]["percent"] == pytest.approx(100.0, abs=0.1)
        assert each["explanations"] == []


def check_another_service() -> None:
    """Some calls are another service's, half of them of a model that the site uses too."""
    found = reconcile("--by=model")
    assert shares(found) == everywhere(95.0)
    for name, each in found.items():
        (model,) = explained(each, "model_without_rows")
        assert model["models"] == [OTHERS[name]]
        assert OTHERS[name] in model["text"]
        assert explained(each, "price") == []
        (line,) = [line for line in each["lines"] if line["key"] == OTHERS[name]]
        assert (line["tokens"]["captured"], line["tokens"]["percent"]) == (0, 0.0)
        if name != "openrouter":  # it does not say whose key made the calls
            (key,) = explained(each, "key_without_rows")
            assert KEY_OF_OTHER in key["text"]
            assert key["keys"] == [KEY_OF_OTHER]
            assert len(key["models"]) == 2
            assert explained(each, "unexplained") == []
    assert_no_row_doubles()


def check_its_keys(stub: StubProvider, settings: Any) -> None:
    """The other service has a line among the keys, and can be left out of the bill."""
    for name, each in reconcile("--offline", "--by=key").items():
        if name != "openrouter":
            by_key = {line["label"]: line["tokens"]["percent"] for line in each["lines"]}
            assert by_key.pop(KEY_OF_OTHER) == 0.0
            assert {share for label, share in by_key.items() if "…key" in label} == {100.0}

    accounts = settings.AI_USAGE_BILLING
    settings.AI_USAGE_BILLING = {
        name: account | {"api_key_ids": ids_of_site(stub, name)}
        for name, account in accounts.items()
    }
    assert shares(reconcile()) == everywhere(100.0)
    settings.AI_USAGE_BILLING = accounts
    assert shares(reconcile()) == everywhere(95.0)
    assert_no_row_doubles()


def check_zones(settings: Any, events: list[UsageEvent]) -> None:
    """The days of a bill begin in UTC, wherever the site is. Its first zone is Auckland's."""
    expected = reconcile("--offline", "--by=day")
    assert shares(expected) == everywhere(95.0)
    for zone in ZONES[1:]:
        local_days = days_of_rows()
        settings.AI_USAGE_DAY_TIMEZONE = zone
        for model in (AIUsageLog, AIUsageTracking):
            model.objects.all()._raw_delete(connection.alias)  # signals would take minutes
        for event in events:
            outbox.put(event)
        deliver()
        assert AIUsageLog.objects.count() == len(events)
        assert days_of_rows() != local_days
        assert reconcile("--offline", "--by=day") == expected, zone
    for each in reports.reconciliation(FIRST, LAST, by="day").providers:
        assert each.days == (FIRST, FIRST + timedelta(days=1), LAST)


def check_a_wrong_price(stub: StubProvider) -> None:
    """A provider asks twice the price that the site expects."""
    stub.bill.price_factors = dict.fromkeys(DEARER.values(), Decimal(2))
    found = reconcile("--by=model")
    assert shares(found) == everywhere(95.0)
    for name, each in found.items():
        (price,) = explained(each, "price")
        assert price["models"] == [DEARER[name]]
        assert (price["requests"], price["tokens"]) == (None, None)
        (line,) = [line for line in each["lines"] if line["key"] == DEARER[name]]
        assert line["price_ratio"] == pytest.approx(0.5, abs=0.01)
        assert line["tokens"]["percent"] == 100.0
        others = [e for e in each["explanations"] if e["kind"] != "price"]
        assert not any(DEARER[name] in e["models"] for e in others)
    assert_no_row_doubles()


def days_of_rows() -> dict[date, int]:
    """Return the days of the site and their calls."""
    counted = AIUsageLog.objects.values_list("day").annotate(number=Count("pk"))
    return dict(counted)


def deliver() -> None:
    ended = run_command("flush_ai_usage")
    assert ended.code == 0, ended.err


def ids_of_site(stub: StubProvider, provider: str) -> list[str]:
    return [key.id for key in stub.bill.keys(provider) if key.name == "site"]


def assert_no_row_doubles() -> None:
    """Assert that each part of the bill is stored once, and is what the providers said last."""
    names = ("provider", "day", "family", "model_name", "project", "key_id")
    rows = AIProviderBill.objects.values(*names, "service_tier", "line_item")
    assert not rows.annotate(number=Count("pk")).filter(number__gt=1).exists()
    assert AIProviderBill.objects.values("fetched_at").distinct().count() == 1
