"""What a batch costs: each request has the price of its own size."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from usage_tracking.events import UsageEvent
from usage_tracking.pricing import quote
from usage_tracking.usage import MIXED, REQUESTS, Usage

# USD for a million tokens, up to and above 200,000 tokens, in a batch:
# https://ai.google.dev/gemini-api/docs/pricing
LOW, HIGH = Decimal("0.625"), Decimal("1.25")


def batch(*iterations: dict[str, Any]) -> UsageEvent:
    whole = {"input_tokens": sum(each["input_tokens"] for each in iterations)}
    return UsageEvent.manual(
        usage=Usage.of(whole, iterations=iterations),
        provider="google",
        model_name="gemini-2.5-pro",
        operation="batch",
    )


def test_requests_of_like_size_have_the_price_of_their_size() -> None:
    small = {"input_tokens": 300_000, REQUESTS: 3}
    large = {"input_tokens": 600_000, REQUESTS: 2}

    assert quote(batch(small)).cost == LOW * 3 / 10
    assert quote(batch(small, large)).cost == LOW * 3 / 10 + HIGH * 6 / 10


def test_sum_has_a_price_if_all_requests_have_the_same() -> None:
    assert quote(batch({"input_tokens": 200_000, MIXED: 3})).cost == LOW * 2 / 10
    assert quote(batch({"input_tokens": 300_000, MIXED: 1})).cost == HIGH * 3 / 10

    unknown = quote(batch({"input_tokens": 300_000, MIXED: 3}))
    assert unknown.cost is None
    assert unknown.reason == (
        "the price depends on the size of each request, and only a sum is known"
    )


def test_bill_of_a_batch_adds_up_to_its_cost() -> None:
    event = batch({"input_tokens": 300_000, REQUESTS: 3}, {"input_tokens": 600_000, REQUESTS: 2})
    found = quote(event, lines=True)

    assert found.cost == sum(line.cost for line in found.lines)
    assert [line.number for line in found.lines] == [300_000, 600_000]
    assert event.created_at > dt.datetime(2026, 10, 14, tzinfo=dt.UTC)  # when the prices begin


# https://developers.openai.com/api/docs/pricing, https://groq.com/pricing,
# https://learn.microsoft.com/azure/foundry/openai/how-to/batch, https://mistral.ai/pricing,
# https://ai.google.dev/gemini-api/docs/pricing
@pytest.mark.parametrize(
    ("provider", "model", "unit"),
    [
        ("openai", "gpt-4o-2024-08-06", "output_tokens"),
        ("openai", "text-embedding-3-small", "input_tokens"),
        ("azure", "gpt-4o-2024-08-06", "output_tokens"),
        ("groq", "llama-3.3-70b-versatile", "output_tokens"),
        ("mistral", "mistral-medium-2508", "output_tokens"),
        ("mistral", "mistral-ocr-2512", "input_document_pages"),
        ("google", "gemini-embedding-001", "input_tokens"),
    ],
)
def test_batch_costs_half(provider: str, model: str, unit: str) -> None:
    def cost(operation: str) -> Decimal | None:
        usage = Usage.of({unit: 1000})
        named: Any = {"provider": provider, "model_name": model, "operation": operation}
        return quote(UsageEvent.manual(usage=usage, **named)).cost

    whole, half = cost("chat"), cost("batch")
    assert whole
    assert half == whole / 2


def test_cached_tokens_in_a_batch_of_azure_have_no_published_price() -> None:
    event = UsageEvent.manual(
        usage=Usage.of({"input_tokens": 1000, "output_tokens": 9, "cache_read_tokens": 500}),
        provider="azure",
        model_name="gpt-4o",
        operation="batch",
    )

    assert quote(event).cost is None
