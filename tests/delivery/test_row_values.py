"""The event of a row gives the price of the call anew."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from tests.support.builders import NOON, make_event, make_log, make_user
from usage_tracking.delivery.row_values import event_of
from usage_tracking.delivery.writer import store
from usage_tracking.events import UsageEvent, uuid7
from usage_tracking.models import AIUsageLog
from usage_tracking.pricing import quote

CLAUDE: dict[str, Any] = {"provider": "anthropic", "model_name": "claude-sonnet-4-5"}

CALLS: dict[str, dict[str, Any]] = {
    "tokens": {},
    "cache and reasoning": {
        **CLAUDE,
        "prompt_tokens": 2_000,
        "cached_tokens": 1_000,
        "cache_write_tokens": 500,
        "reasoning_tokens": 40,
    },
    "cache writes of an hour": {
        **CLAUDE,
        "prompt_tokens": 2_000,
        "cache_write_tokens": 500,
        "usage_details": {"cache_write_1h_tokens": 500, "web_searches": 2},
    },
    "iterations": {
        **CLAUDE,
        "usage_details": {
            "iterations": [
                {"input_tokens": 50, "output_tokens": 20},
                {"input_tokens": 100, "output_tokens": 60, "model": "claude-opus-4-5"},
            ]
        },
    },
    "tier": {"price_context": {"service_tier": "flex"}, "model_name": "gpt-5"},
    "batch": {"price_context": {"processing": "batch"}},
    "unknown fact": {"price_context": {"service_tier": "platinum"}},
    "former tier": {"metadata": {"service_tier": "priority"}, "model_name": "gpt-5"},
    "unknown model": {"model_name": "nothing-1"},
    "unpriced unit": {"usage_details": {"input_pixels": 10_000}},
    "provider's figure": {"cost": Decimal("0.0123456789"), "provider": "openrouter"},
    "cost 0": {"cost": Decimal(0)},
    "clamped": {"prompt_tokens": None, "metadata": {"clamped": {"prompt_tokens": "negative"}}},
    "unknown usage": {"prompt_tokens": None, "completion_tokens": None},
    "failed": {"success": False, "error_message": "timed out"},
    "further keys of a line": {"extra": {"colour": "blue"}},
}


@pytest.mark.django_db
@pytest.mark.parametrize("zones", [True, False])
@pytest.mark.parametrize("changes", CALLS.values(), ids=CALLS)
def test_row_of_the_writer_has_the_price_of_its_event(changes: dict[str, Any], zones: bool) -> None:
    prices = {"openai:*": {"discount": "0.1"}}
    event = make_event(user=make_user(), **changes)
    with override_settings(USE_TZ=zones, AI_USAGE_PRICES=prices):
        store([event], using="default")

        found = event_of(AIUsageLog.objects.get())

        assert quote(found) == quote(event)
    assert found.created_at == NOON
    for name in (
        *("id", "user_id", "section", "provider", "model_name", "operation", "prompt_tokens"),
        *("completion_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
        *("usage_details", "usage_source", "price_context", "success", "error_message"),
        "response_time_ms",
    ):
        assert getattr(found, name) == getattr(event, name), name


@pytest.mark.django_db
def test_line_that_an_older_release_delivered() -> None:
    """It kept what it did not know in `extra`, and cache writes in the metadata."""
    newer = make_event(
        **CLAUDE,
        prompt_tokens=2_000,
        cache_write_tokens=500,
        usage_details={"cache_write_1h_tokens": 500},
        price_context={"inference_geo": "us"},
    )
    log = make_log(
        **CLAUDE,
        prompt_tokens=2_000,
        metadata={
            "cache_write_tokens": 500,
            "extra": {
                "usage_details": newer.usage_details,
                "price_context": newer.price_context,
            },
        },
    )

    assert quote(event_of(log)) == quote(newer)
    assert event_of(log).usage == newer.usage


def test_row_of_an_older_release() -> None:
    log = make_log(
        **CLAUDE,
        prompt_tokens=2_000,
        metadata={"cache_write_tokens": 500, "service_tier": "batch"},
        cost=Decimal("0.5"),
    )

    event = event_of(log)

    assert event.cache_write_tokens == 500
    assert event.cost is None  # the row does not say that the provider reported it
    assert quote(event) == quote(
        make_event(
            **CLAUDE,
            prompt_tokens=2_000,
            cache_write_tokens=500,
            price_context={"processing": "batch"},
        )
    )


@pytest.mark.parametrize("metadata", [None, [], "text", {"cache_write_tokens": "many"}])
def test_metadata_of_the_site_may_be_anything(metadata: Any) -> None:
    log = make_log(metadata=metadata)

    assert quote(event_of(log)) == quote(make_event())


def test_event_of_an_unsaved_row_has_its_id() -> None:
    pk = uuid7(NOON)

    event = event_of(make_log(id=pk))

    assert isinstance(event, UsageEvent)
    assert event.id == pk


@pytest.mark.parametrize(
    ("details", "named"),
    [
        ("text", "usage_details"),
        ([1, 2], "usage_details"),
        ({"web_searches": "many", "input_audio_tokens": -1}, "input_audio_tokens, web_searches"),
        ({"No unit": 5}, "usage_details"),
        ({"input_audio_tokens": 10**9}, "input_audio_tokens"),
        ({"iterations": 7}, "iterations"),
        ({"iterations": [7, {"input_tokens": 1}]}, "iterations"),
        ({"iterations": [{"input_tokens": "x"}]}, "prompt_tokens"),
        ({"iterations": [{"input_tokens": 1, "model": 5}]}, "iterations"),
        ({"cache_write_tokens": "y"}, "cache_write_tokens"),
    ],
)
def test_garbage_of_a_site_is_named_and_never_priced(details: Any, named: str):
    """The rest of the row is as it was, but its price would be a guess."""
    event = event_of(make_log(usage_details=details))

    assert (event.prompt_tokens, event.completion_tokens) == (150, 80)
    assert quote(event).cost is None
    assert quote(event).reason == f"not a valid value: {named}"


@pytest.mark.parametrize("details", [[], {}, "", 0, None])
def test_empty_details_say_nothing(details: Any):
    log = make_log(usage_details=details)

    assert quote(event_of(log)).cost == quote(event_of(make_log())).cost


@pytest.mark.parametrize("context", ["flex", ["flex"], {"service_tier": ["flex"]}, {"speed": 5}])
def test_price_context_that_cannot_be_read_is_never_priced(context: Any):
    quoted = quote(event_of(make_log(metadata={"price_context": context})))

    assert (quoted.cost, quoted.reason) == (None, "not a valid value: price_context")


def test_unit_of_a_newer_release_is_kept_and_named():
    event = event_of(make_log(usage_details={"input_smell_tokens": 5}))

    assert event.usage_details == {"input_smell_tokens": 5}
    assert quote(event).cost is None
    assert quote(event).unpriced_units == ("input_smell_tokens",)


@pytest.mark.parametrize("count", [10**9 + 1, -1])
def test_count_that_cannot_be_true_is_never_priced(count: int):
    quoted = quote(event_of(make_log(prompt_tokens=count)))

    assert (quoted.cost, quoted.reason) == (None, "not a valid value: prompt_tokens")
