"""The column values of an event's row."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.utils import timezone

from ..events import UsageEvent


def of_event(event: UsageEvent, cost: Decimal | None, day: dt.date) -> dict[str, Any]:
    """Return the values of an event's row by field of AIUsageLog, without the id and the user.

    `cost` is the price of the call in USD, None if it is unknown; `day` is `day_of` the call.
    """
    return {
        "section": event.section,
        "provider": event.provider,
        "model_name": event.model_name,
        "operation": event.operation,
        "prompt_tokens": event.prompt_tokens,
        "completion_tokens": event.completion_tokens,
        "cached_tokens": event.cached_tokens,
        "reasoning_tokens": event.reasoning_tokens,
        "usage_source": event.usage_source,
        "cost": cost,
        "response_time_ms": event.response_time_ms,
        "success": event.success,
        "error_message": event.error_message or None,
        "metadata": _metadata(event),
        "day": day,
        "created_at": began_at(event),
    }


def began_at(event: UsageEvent) -> dt.datetime:
    """Return when the call began: aware with USE_TZ, else naive, like the site's datetimes."""
    if settings.USE_TZ:
        return event.created_at
    return timezone.make_naive(event.created_at, timezone.get_default_timezone())


def _metadata(event: UsageEvent) -> dict[str, Any]:
    """Return the metadata of the event, with values that have no column."""
    metadata = dict(event.metadata)
    if event.cache_write_tokens:
        metadata["cache_write_tokens"] = event.cache_write_tokens
    if event.extra:
        metadata["extra"] = event.extra
    return metadata
