"""The `[TRACK_*]` lines, which show operators what happens to a call."""

from __future__ import annotations

import logging

from ..days import day_of
from ..events import UsageEvent
from ..log import logger, one_line, shown_user
from .writer import Stored


def started(
    user: str, section: str, prompt_tokens: int, completion_tokens: int, *, success: bool
) -> None:
    """Log that a manual record begins."""
    logger.debug(
        "[TRACK_START] User: %s, Section: %s, Tokens: %d+%d, Success: %s",
        one_line(user),
        one_line(section),
        prompt_tokens,
        completion_tokens,
        success,
    )


def storing(events: list[UsageEvent]) -> None:
    """Log that events are about to be written."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    for event in events:
        name, section = name_of(event), one_line(event.section)
        logger.debug("[TRACK_LOG] Creating AIUsageLog - User: %s, Section: %s", name, section)
        if event.user_id is not None:
            day = day_of(event.created_at)
            logger.debug(
                "[TRACK_AGGREGATE] Adding to AIUsageTracking - User: %s, Date: %s", name, day
            )


def committed(stored: Stored) -> None:
    """Log the written rows, after the COMMIT. It costs nothing if INFO is off."""
    if not logger.isEnabledFor(logging.INFO):
        return
    for row in stored.rows:
        event = row.event
        logger.info(
            "[TRACK_LOG_SUCCESS] AIUsageLog created - ID: %s, User: %s, Section: %s, Tokens: %s",
            event.id,
            name_of(event),
            one_line(event.section),
            tokens_of(event),
            extra={"log_id": str(event.id), "user_id": row.user_id, "section": event.section},
        )
    names = {(row.user_id, row.day): name_of(row.event) for row in stored.rows}
    for (user_id, day), totals in stored.totals.items():
        name = names[user_id, day]
        if totals.created:
            logger.info(
                "[TRACK_AGGREGATE_NEW] AIUsageTracking created - User: %s, Date: %s", name, day
            )
        else:
            logger.debug("[TRACK_AGGREGATE_EXISTS] AIUsageTracking - User: %s, Date: %s", name, day)
        logger.info(
            "[TRACK_AGGREGATE_SUCCESS] AIUsageTracking updated - User: %s, Date: %s, "
            "Total Requests: %d, Total Tokens: %d",
            name,
            day,
            totals.total_requests,
            totals.total_tokens,
            extra={"user_id": user_id, "date": str(day)},
        )
    for row in stored.rows:
        event = row.event
        logger.info(
            "[TRACK_COMPLETE] ✅ Successfully tracked AI usage - User: %s, Section: %s, "
            "Tokens: %s, Status: %s",
            name_of(event),
            one_line(event.section),
            tokens_of(event),
            "SUCCESS" if event.success else "FAILED",
            extra={
                "log_id": str(event.id),
                "user_id": row.user_id,
                "section": event.section,
                "model": event.model_name,
                "provider": event.provider,
                "tokens": event.total_tokens if event.usage.known else None,
                "cost": None if row.cost is None else str(row.cost),
                "success": event.success,
            },
        )


def tokens_of(event: UsageEvent) -> str:
    """Return the tokens of an event for a log line; unknown ones are never shown as 0."""
    return str(event.total_tokens) if event.usage.known else "unknown"


def name_of(event: UsageEvent) -> str:
    """Return the name of an event's user for a log line."""
    return shown_user(event.user_id, event.username)
