"""What "unpriced" and "unknown usage" mean, in one place for all that counts them."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from tests.support.builders import NOON, make_log, save_log
from usage_tracking import reports
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

CALLS = [
    {
        "success": success,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "usage_details": details,
        "usage_source": source,
        "cost": cost,
    }
    for success, prompt, completion, details, source, cost in product(
        (True, False),
        (None, 0, 5),
        (None, 0, 5),
        (None, {"web_searches": 1}),
        ("reported", "manual", "unknown"),
        (None, Decimal(0), Decimal("0.5")),
    )
]


def is_counted(call: dict[str, Any]) -> bool:
    names = ("prompt_tokens", "completion_tokens", "usage_details")
    return any(call[name] is not None for name in names)


def is_unpriced(call: dict[str, Any]) -> bool:
    return call["success"] and is_counted(call) and call["cost"] is None


def is_unknown(call: dict[str, Any]) -> bool:
    return call["success"] and not is_counted(call)


@pytest.fixture
def logs() -> list[tuple[dict[str, Any], AIUsageLog]]:
    found = AIUsageLog.objects.bulk_create(
        make_log(section=f"s{number}", **call) for number, call in enumerate(CALLS)
    )
    return list(zip(CALLS, found, strict=True))


class TestDefinitions:
    def test_querysets_choose_by_counts_success_and_cost(self, logs):
        unpriced = set(AIUsageLog.objects.unpriced().values_list("pk", flat=True))
        unknown = set(AIUsageLog.objects.unknown_usage().values_list("pk", flat=True))

        assert unpriced == {log.pk for call, log in logs if is_unpriced(call)}
        assert unknown == {log.pk for call, log in logs if is_unknown(call)}

    def test_reports_count_what_the_querysets_choose(self, logs):
        lines = {line.section: line.figures for line in reports.day_report(NOON.date()).by_section}

        for call, log in logs:
            failed = not call["success"]
            totals = lines[log.section]
            assert (
                totals.unknown_usage,
                totals.failed_unknown_usage,
                totals.unpriced,
                totals.failed_unpriced,
            ) == (
                is_unknown(call),
                failed and not is_counted(call),
                is_unpriced(call),
                failed and call["cost"] is None,
            ), call


class TestSumsOfUnits:
    def test_none_is_known_if_no_call_counted_it(self):
        save_log()

        totals = reports.day_report(NOON.date()).totals.figures

        assert (totals.audio_tokens, totals.image_tokens, totals.tool_calls) == (None, None, None)
        assert (totals.cached_tokens, totals.cache_write_tokens) == (None, None)

    def test_calls_add_up(self):
        save_log(cached_tokens=3, usage_details={"input_audio_tokens": 5, "web_searches": 2})
        save_log(usage_details={"output_audio_tokens": 7, "code_executions": 1})
        save_log(reasoning_tokens=4, usage_details={"cache_write_tokens": 9})
        save_log(usage_details={"output_image_tokens": 1056})

        totals = reports.day_report(NOON.date()).totals.figures

        assert (totals.cached_tokens, totals.cache_write_tokens) == (3, 9)
        assert (totals.audio_tokens, totals.image_tokens) == (12, 1056)
        assert (totals.tool_calls, totals.reasoning_tokens) == (3, 4)

    @pytest.mark.parametrize(
        "garbage",
        [
            "web_searches",
            ["web_searches"],
            7,
            True,
            {"web_searches": "two"},
            {"web_searches": {"n": 2}},
            {"web_searches": None},
            {"web_searches": -1},
            {"web_searches": 10**9 + 1},
            {"web_searches": 1e300},
        ],
        ids=str,
    )
    def test_values_that_are_no_counts_count_for_nothing(self, garbage):
        save_log(usage_details=garbage)
        save_log(usage_details={"web_searches": 2})

        assert reports.day_report(NOON.date()).totals.figures.tool_calls == 2

    def test_name_must_be_that_of_a_unit(self):
        with pytest.raises(ValueError, match=r"units\.NAMES"):
            reports.details.DetailCount("web_search'")
