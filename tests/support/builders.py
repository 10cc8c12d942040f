"""Test objects with neutral defaults. Each test passes the values that it depends on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from usage_tracking.attribution.resolve import attribution
from usage_tracking.events import PRICE_FACTS, REPORTED, UsageEvent, utc_now, uuid7
from usage_tracking.models import AIProviderBill, AIUsageLog
from usage_tracking.recorder import record

NOON = dt.datetime(2026, 3, 14, 12, 0, tzinfo=dt.UTC)


def make_user(username: str = "ada", **changes: Any) -> User:
    """Create a user."""
    return User.objects.create_user(username, **changes)


def make_superuser(username: str = "root", **changes: Any) -> User:
    return User.objects.create_superuser(username, **changes)


def make_log(**changes: Any) -> AIUsageLog:
    """Build an unsaved row of a call without a user."""
    values: dict[str, Any] = {
        "section": "chat",
        "provider": "openai",
        "model_name": "gpt-4o",
        "operation": "chat",
        "prompt_tokens": 150,
        "completion_tokens": 80,
        "response_time_ms": 900,
        "created_at": NOON,
    }
    return AIUsageLog(**values | changes)


def own_metadata(log: AIUsageLog) -> dict[str, Any]:
    """Return the metadata of a row without what it says about its cost."""
    return {name: value for name, value in log.metadata.items() if name not in PRICE_FACTS}


def save_log(**changes: Any) -> AIUsageLog:
    log = make_log(**changes)
    log.save()
    return log


def save_bill(**changes: Any) -> AIProviderBill:
    """Save a row of a bill of calls that a site has in its log as `save_log` makes them."""
    values: dict[str, Any] = {
        "provider": "openai",
        "day": NOON.date(),
        "family": "completions",
        "model_name": "gpt-4o",
        "requests": 1,
        "prompt_tokens": 150,
        "completion_tokens": 80,
        "fetched_at": NOON + dt.timedelta(days=3),
    }
    return AIProviderBill.objects.create(**values | changes)


def make_event(*, user: User | None = None, **changes: Any) -> UsageEvent:
    """Build the event of a finished call of `user`, as the outbox returns it."""
    values: dict[str, Any] = {
        "created_at": NOON,
        "section": "chat",
        "provider": "openai",
        "model_name": "gpt-4o",
        "operation": "chat",
        "prompt_tokens": 150,
        "completion_tokens": 80,
        "usage_source": REPORTED,
        "response_time_ms": 900,
    }
    if user is not None:
        values |= {"user_id": str(user.pk), "username": user.get_username()}
    values |= changes
    values.setdefault("id", uuid7(values["created_at"]))
    return UsageEvent(**values)


def capture(response_id: str = "", **changes: Any) -> UsageEvent:
    """Record a call in the current scope, as the hooks do."""
    attributed = attribution()
    user = attributed.user
    values: dict[str, Any] = {
        "section": attributed.section,
        "user_id": user.id if user else None,
        "username": user.username if user else "",
        "unit": attributed.unit.id if attributed.unit.open else "",
        "created_at": utc_now(),
    }
    event = make_event(**values | changes)
    record(event, attributed, response_id)
    return event


@contextmanager
def rolled_back() -> Iterator[None]:
    """Run the block in a transaction and roll it back."""
    with suppress(_RollbackError), transaction.atomic():
        yield
        raise _RollbackError


def refuse_section(section: str) -> None:
    """Make the database refuse rows of `section`, as a constraint of the site would."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f"CREATE TRIGGER refuse_{section} BEFORE INSERT ON ai_usage_log "
                f"WHEN NEW.section = '{section}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        else:
            cursor.execute(
                f"ALTER TABLE ai_usage_log ADD CONSTRAINT refuse_{section} "
                f"CHECK (section <> '{section}')"
            )


def accept_section(section: str) -> None:
    """Undo `refuse_section`."""
    connection.check_constraints()  # PostgreSQL cannot alter a table with pending checks
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"DROP TRIGGER refuse_{section}")
        else:
            cursor.execute(f"ALTER TABLE ai_usage_log DROP CONSTRAINT refuse_{section}")


class _RollbackError(Exception):
    pass
