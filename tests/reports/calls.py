"""Generated calls, and their totals, added up one call at a time."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.support.builders import make_log
from usage_tracking.models import AIUsageLog
from usage_tracking.reports import Totals

#: No deadlines, however slow the machine is.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Call:
    """A call some minutes before or after a moment of the test."""

    user: int | None
    section: str
    model: tuple[str, str]
    minutes: int
    prompt: int | None
    completion: int | None
    cost: Decimal | None
    ms: int
    success: bool
    error: str | None = None
    cached: int | None = None
    reasoning: int | None = None
    details: Any = None

    def day(self, moment: dt.datetime, zone: dt.tzinfo) -> dt.date:
        return (moment + dt.timedelta(minutes=self.minutes)).astimezone(zone).date()


TOKENS = st.none() | st.integers(0, 10**6)
#: As this app writes them, and what a site's own SQL may have written instead.
DETAILS = st.sampled_from(
    (
        None,
        {"cache_write_tokens": 12},
        {"input_audio_tokens": 20, "output_audio_tokens": 3},
        {"output_image_tokens": 1056, "input_tool_tokens": 9},
        {"web_searches": 2, "code_executions": 1, "iterations": [{"input_tokens": 5}]},
        {"input_audio_tokens": "20", "web_searches": None, "storage_searches": [1]},
        {"cache_write_tokens": 10**9 + 1, "input_image_tokens": -1, "output_image_tokens": 1e300},
        ["web_searches"],
        "web_searches",
        7,
    )
)


def calls(minutes: st.SearchStrategy[int], max_size: int = 25) -> st.SearchStrategy[list[Call]]:
    """Calls of three users and without a user."""
    return st.lists(
        st.builds(
            Call,
            user=st.sampled_from((None, 0, 1, 2)),
            section=st.sampled_from(("chat", "rag_pipeline", "undeclared")),
            model=st.sampled_from((("openai", "gpt-4o"), ("azure", "gpt-4o"), ("", ""))),
            minutes=minutes,
            prompt=TOKENS,
            completion=TOKENS,
            cost=st.none() | st.integers(0, 10**8).map(lambda n: n * Decimal("1e-6")),
            ms=st.integers(0, 10**5),
            success=st.booleans(),
            error=st.sampled_from((None, "", "429 Too Many Requests", "timed out")),
            cached=TOKENS,
            reasoning=TOKENS,
            details=DETAILS,
        ),
        max_size=max_size,
    )


def save(calls: Iterable[Call], users: Sequence[Any], moment: dt.datetime) -> None:
    AIUsageLog.objects.bulk_create(
        make_log(
            user=None if call.user is None else users[call.user],
            section=call.section,
            provider=call.model[0],
            model_name=call.model[1],
            created_at=moment + dt.timedelta(minutes=call.minutes),
            prompt_tokens=call.prompt,
            completion_tokens=call.completion,
            cost=call.cost,
            response_time_ms=call.ms,
            success=call.success,
            error_message=call.error,
            cached_tokens=call.cached,
            reasoning_tokens=call.reasoning,
            usage_details=call.details,
        )
        for call in calls
    )


def add_up(calls: Sequence[Call]) -> Totals:
    def known(values: list[Any]) -> Any:
        given = [value for value in values if value is not None]
        return sum(given) if given or not values else None

    def of_units(*units: str) -> Any:
        return known([_count(c.details, unit) for c in calls for unit in units])

    unknown = [c for c in calls if c.prompt is None and c.completion is None]
    uncounted = [c for c in unknown if c.details is None]
    uncosted = [c for c in calls if c.cost is None]
    return Totals(
        calls=len(calls),
        failures=sum(not c.success for c in calls),
        prompt_tokens=known([c.prompt for c in calls]),
        completion_tokens=known([c.completion for c in calls]),
        total_tokens=known(
            [None if c in unknown else (c.prompt or 0) + (c.completion or 0) for c in calls]
        ),
        cost=known([c.cost for c in calls]),
        response_time_ms=sum(c.ms for c in calls),
        unattributed=sum(c.user is None for c in calls),
        unknown_usage=sum(c.success for c in uncounted),
        failed_unknown_usage=sum(not c.success for c in uncounted),
        unpriced=sum(c.success and c not in uncounted for c in uncosted),
        failed_unpriced=sum(not c.success for c in uncosted),
        calls_with_tokens=len(calls) - len(unknown),
        cached_tokens=known([c.cached for c in calls]),
        cache_write_tokens=of_units("cache_write_tokens"),
        reasoning_tokens=known([c.reasoning for c in calls]),
        audio_tokens=of_units("input_audio_tokens", "output_audio_tokens"),
        image_tokens=of_units("input_image_tokens", "output_image_tokens"),
        tool_calls=of_units(
            "web_searches", "social_searches", "storage_searches", "code_executions"
        ),
    )


def _count(details: Any, unit: str) -> int | None:
    value = details.get(unit) if isinstance(details, dict) else None
    return value if isinstance(value, int) and 0 <= value <= 10**9 else None


def group(calls: Iterable[Call], *keys: str) -> dict[Any, Totals]:
    groups: dict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        values = tuple(getattr(call, key) for key in keys)
        groups[values[0] if len(values) == 1 else values].append(call)
    return {value: add_up(members) for value, members in groups.items()}
