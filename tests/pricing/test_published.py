"""What the pages of the providers say, compared with what is recorded.

Each line of `published.jsonl` is an answer as it stands on the wire and its published price. `null`
says why the cost may be unknown although a page names a price; it may never be another figure.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from tests.support.ledger import assert_in_step
from tests.support.wire import recorded
from tools import published_prices
from usage_tracking.delivery.row_values import details_of
from usage_tracking.models import AIUsageLog
from usage_tracking.units import FIELDS

CASES = published_prices.cases()
#: Nothing is rounded, apart from the tenth decimal place of the column.
STEP = Decimal("1e-10")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cost_is_the_published_one_or_unknown(case: dict[str, Any]):
    with override_settings(**case.get("settings", {})):
        event, quote = recorded(case)

    if case["cost"] is None:
        assert quote.cost is None
    elif "null" not in case:
        assert quote.cost == Decimal(case["cost"]).quantize(STEP), quote.reason
    else:
        assert quote.cost in (None, Decimal(case["cost"]).quantize(STEP))
    if quote.cost is None and event.is_known:
        assert quote.reason
    assert [event.prompt_tokens, event.completion_tokens] == case["tokens"]
    assert (event.provider, event.model_name) == (case["provider"], case["model"])
    counted = {unit: number for unit, number in event.units.items() if number}
    details = details_of(event) or {}
    beside = {u: number for u, number in counted.items() if u not in FIELDS or u in details}
    assert beside == case.get("units", {})


@pytest.mark.django_db
def test_rows_have_the_published_costs():
    found = {}
    for case in CASES:
        if "at" not in case:  # the rows have the time of the test
            with override_settings(**case.get("settings", {})):
                event, quote = recorded(case)
                found[event.id] = quote.cost
                assert AIUsageLog.objects.filter(pk=event.id).exists()  # delivers the event

    assert found == dict(AIUsageLog.objects.values_list("pk", "cost"))
    assert_in_step()


def test_every_large_provider_has_cases():
    counts = Counter(case["provider"] for case in CASES)
    large = {"openai", "anthropic", "google", "aws", "azure", "mistral", "cohere", "perplexity"}

    assert counts.keys() >= large | {"openrouter", "x-ai", "groq", "deepseek", "litellm"}
    assert len({case["name"] for case in CASES}) == len(CASES) > 200


def test_page_is_up_to_date():
    assert published_prices.PAGE.read_text() == published_prices.page(), "Run `make docs-prices`."
