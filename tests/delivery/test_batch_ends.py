"""Of the ends of a batch that several processes see, the row has the one that says most."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests.support.builders import NOON, make_event
from tests.support.ledger import assert_in_step
from usage_tracking.delivery.writer import store
from usage_tracking.events import UsageEvent, uuid7
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

NOTHING: dict[str, Any] = {"prompt_tokens": None, "completion_tokens": None}
NAMES = ("begun", "poll", "sum", "results")


@pytest.fixture
def events() -> dict[str, UsageEvent]:
    """The events of one batch: its beginning, two polls that see its end, and its results."""
    key = uuid7(NOON)

    def end(counts: dict[str, Any], **metadata: Any) -> UsageEvent:
        return make_event(id=key, completes=True, revision=1, metadata=metadata, **counts)

    def of(unit: str) -> dict[str, Any]:
        iterations = [{"input_tokens": 100, "output_tokens": 10, unit: 3}]
        details = {"iterations": iterations}
        return {"prompt_tokens": 100, "completion_tokens": 10, "usage_details": details}

    return {
        "begun": make_event(
            id=key, begins=True, usage_source="unknown", metadata={"order": 7}, **NOTHING
        ),
        "poll": end({**NOTHING, "usage_source": "unknown"}, unknown="not read yet"),
        "sum": end(of("mixed_requests"), batch={"id": "b1"}),
        "results": end(of("requests"), batch={"id": "b1", "completed": 3}),
    }


@pytest.mark.parametrize("at_once", [1, 2, 4])
@pytest.mark.parametrize("order", list(permutations(NAMES)))
def test_order_of_delivery_does_not_matter(
    events: dict[str, UsageEvent], order: tuple[str, ...], at_once: int
) -> None:
    for first in range(0, len(order), at_once):
        store([events[name] for name in order[first : first + at_once]], using="default")

    log = AIUsageLog.objects.get()
    assert log.usage_details is not None
    assert log.usage_details["iterations"][0]["requests"] == 3
    assert (log.prompt_tokens, log.usage_source) == (100, "reported")
    assert log.metadata["batch"] == {"id": "b1", "completed": 3}
    assert log.metadata["order"] == 7
    assert "unknown" not in log.metadata
    assert_in_step()
