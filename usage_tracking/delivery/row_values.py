"""The column values of an event's row, and the event of a row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from ..days import aware
from ..events import PRICE_FACTS, UsageEvent, clean_context, with_faults
from ..pricing import PROVIDER, Quote
from ..units import fault_of
from ..usage import Usage

if TYPE_CHECKING:
    from ..models import AIUsageLog


def of_event(event: UsageEvent, quote: Quote, day: dt.date) -> dict[str, Any]:
    """Return the values of an event's row by field of AIUsageLog, without the id and the user.

    `quote` is the price of the call; `day` is `day_of` the call.
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
        "usage_details": details_of(event),
        "usage_source": event.usage_source,
        "cost": quote.cost,
        "response_time_ms": event.response_time_ms,
        "success": event.success,
        "error_message": event.error_message or None,
        "metadata": _metadata(event, quote),
        "day": day,
        "created_at": began_at(event),
    }


def began_at(event: UsageEvent) -> dt.datetime:
    """Return when the call began: aware with USE_TZ, else naive, like the site's datetimes."""
    if settings.USE_TZ:
        return event.created_at
    return timezone.make_naive(event.created_at, timezone.get_default_timezone())


def details_of(event: UsageEvent) -> dict[str, Any] | None:
    """Return the units of an event that have no column; None if there are none."""
    details = dict(event.usage_details)
    if event.cache_write_tokens:
        details["cache_write_tokens"] = event.cache_write_tokens
    return details or None


def with_price(metadata: Mapping[str, Any], quote: Quote) -> dict[str, Any]:
    """Return the metadata of a row with what `quote` says about its cost."""
    changed = set(PRICE_FACTS) - {"price_context"}
    return {name: value for name, value in metadata.items() if name not in changed} | quote.facts


def _metadata(event: UsageEvent, quote: Quote) -> dict[str, Any]:
    """Return the metadata of the event, with values that have no column."""
    metadata = with_price(event.metadata, quote)
    if event.price_context:
        metadata["price_context"] = event.price_context
    if event.extra:
        metadata["extra"] = event.extra
    return metadata


def event_of(log: AIUsageLog) -> UsageEvent:
    """Return the event of a row, so that `quote` gives the price of the call anew.

    It reads the rows of all releases: those that have no column for further units keep the cache
    writes in the metadata, and keep what a newer release counted in `metadata["extra"]`. The event
    has a cost only if the row says that the provider reported it; `log.cost` has any other. Values
    that cannot be true are left out and named in the metadata: a site's own SQL may have written
    them.
    """
    metadata = _mapping(log.metadata)
    extra = _mapping(metadata.get("extra"))
    details = _mapping(log.usage_details) or _mapping(extra.get("usage_details"))
    written = details.pop("cache_write_tokens", None)
    if written is None:
        written = extra.get("cache_write_tokens", metadata.get("cache_write_tokens"))
        # A site may use the same key for anything else.
        written = None if fault_of("cache_write_tokens", written) else written
    usage = Usage(
        prompt_tokens=log.prompt_tokens,
        completion_tokens=log.completion_tokens,
        cached_tokens=log.cached_tokens,
        cache_write_tokens=written,
        reasoning_tokens=log.reasoning_tokens,
        details=details,
    ).cleaned()
    faults = dict(usage.faults)
    if log.usage_details and not isinstance(log.usage_details, dict):
        faults["usage_details"] = f"<{type(log.usage_details).__name__}>"
    context = metadata.get("price_context") or extra.get("price_context")
    is_providers = metadata.get("cost_source") == PROVIDER
    return UsageEvent(
        id=log.pk,
        created_at=aware(log.created_at).astimezone(dt.UTC),
        user_id=None if log.user_id is None else str(log.user_id),
        section=log.section,
        provider=log.provider,
        model_name=log.model_name,
        operation=log.operation,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        usage_details=dict(usage.details),
        usage_source=log.usage_source,
        cost=log.cost if is_providers else None,
        price_context=clean_context(context, faults),
        response_time_ms=log.response_time_ms,
        success=log.success,
        error_message=log.error_message or "",
        metadata=with_faults(metadata, faults),
    )


def _mapping(value: object) -> dict[str, Any]:
    """Return a copy of a JSON object; empty for any other value."""
    return dict(value) if isinstance(value, dict) else {}
