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

    def day(self, moment: dt.datetime, zone: dt.tzinfo) -> dt.date:
        return (moment + dt.timedelta(minutes=self.minutes)).astimezone(zone).date()


TOKENS = st.none() | st.integers(0, 10**6)


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
        )
        for call in calls
    )


def add_up(calls: Sequence[Call]) -> Totals:
    def known(values: list[Any]) -> Any:
        given = [value for value in values if value is not None]
        return sum(given) if given or not values else None

    unknown = [c for c in calls if c.prompt is None and c.completion is None]
    unpriced = [c for c in calls if c.cost is None]
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
        unknown_usage=len(unknown),
        failed_unknown_usage=sum(not c.success for c in unknown),
        unpriced=len(unpriced),
        failed_unpriced=sum(not c.success for c in unpriced),
    )


def group(calls: Iterable[Call], *keys: str) -> dict[Any, Totals]:
    groups: dict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        values = tuple(getattr(call, key) for key in keys)
        groups[values[0] if len(values) == 1 else values].append(call)
    return {value: add_up(members) for value, members in groups.items()}
