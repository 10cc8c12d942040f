"""Any counts of any model, from the answer to the row and back: genai-prices' price, or none."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data import providers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pricing.test_table import Call, counts_of, is_added, right_cost
from tests.support.builders import NOON
from usage_tracking import units
from usage_tracking.delivery.row_values import event_of
from usage_tracking.delivery.writer import store
from usage_tracking.events import UsageEvent, uuid7
from usage_tracking.models import AIUsageLog
from usage_tracking.pricing import facts_of, quote
from usage_tracking.usage import Usage

MODELS = sorted((each.id, model.id) for each in providers for model in each.models)
ANY_COUNT = st.none() | st.integers(-1, 10) | st.sampled_from([0, 1.0, 1.5, "7", True, 10**9 + 1])
FACTS: list[dict[str, str]] = [
    {},
    {"service_tier": "flex"},
    {"service_tier": "priority"},
    {"processing": "batch"},
    {"speed": "fast"},
    {"inference_geo": "us"},
]


@st.composite
def counted(draw: st.DrawFn) -> dict[str, Any]:
    """Counts that agree, or that have one part or more that does not."""
    own = draw(st.dictionaries(st.sampled_from(units.NAMES), st.integers(0, 50_000), max_size=3))
    agreed: dict[str, Any] = dict(counts_of(own))
    if draw(st.booleans()):
        agreed |= draw(st.dictionaries(st.sampled_from(units.NAMES), ANY_COUNT, max_size=2))
    if draw(st.booleans()):
        agreed["audio_seconds"] = draw(st.floats(0, 10_000))
    return agreed


@pytest.mark.slow
@pytest.mark.django_db
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    model=st.sampled_from(MODELS),
    counts=counted(),
    facts=st.sampled_from(FACTS),
)
def test_every_call_costs_what_genai_prices_says_or_nothing_is_said(model, counts, facts):
    provider, name = model
    event = UsageEvent.create(
        id=uuid7(NOON),
        created_at=NOON,
        provider=provider,
        model_name=name,
        usage=Usage.of(counts),
        price_context=facts,
    )
    line = UsageEvent.from_json(event.to_json())
    store([line], using="default", patience=dt.timedelta.min)
    row = AIUsageLog.objects.get(pk=event.id)
    quoted = quote(event)

    assert line == event
    assert (quote(line), quote(event_of(row))) == (quoted, quoted)
    assert row.cost == quoted.cost
    assert row.metadata.get("unpriced_reason", quoted.reason) == quoted.reason
    if not event.is_known:
        assert quoted.cost is None
    elif quoted.cost is None:
        assert quoted.reason
    else:
        assert not event.metadata.get("clamped")
        call = Call(provider, event.model_name, event.units, NOON, facts_of(event))
        right = right_cost(call)
        if not is_added(call):
            assert isinstance(right, Decimal), right
            assert abs(right - quoted.cost) <= Decimal("1e-10")
