"""Changes rows that exist already: later revisions of their events, and what completes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import QuerySet

from .. import daily, places
from ..events import ENDING, UNSEEN, UsageEvent
from ..models import AIUsageLog
from ..pricing import quote
from . import locks, row_values
from .rows import Row, known_username

#: The fields that the end of a call changes, a later revision of its beginning, and any other
#: revision of its event.
_ENDING = (*(name for name in ENDING if hasattr(AIUsageLog, name)), "metadata")
_BEGINNING = ("section", "provider", "response_time_ms", "metadata")
_AMENDED = (*_ENDING, *_BEGINNING[:-1])


def amend_or_defer(
    rows: list[Row], using: str, *, locking: bool
) -> tuple[list[UsageEvent], dict[daily.Key, daily.Sums]]:
    """Amend existing rows, and defer the events of the others, which were not inserted.

    An amendment is deferred too while its user does not exist, and while another transaction has
    locked the row, or a user or a daily row that it would change. Return the deferred events, and
    the sums to add to the daily rows.
    """
    # Not the manager's queryset, whose `update` also changes the daily rows.
    logs: QuerySet[AIUsageLog] = QuerySet(AIUsageLog, using=using)
    locked = logs.filter(pk__in=[row.event.id for row in rows]).select_for_update(
        skip_locked=True, no_key=True
    )
    there = {log.pk: log for log in locked}
    deferred = []
    amendments: dict[UUID, dict[str, Any]] = {}
    for row in rows:
        known = there.get(row.event.id)
        if known is None:
            deferred.append(row.event)
        elif changes := _changes(row, known):
            if row.user_id is not None and not row.event.completes:
                if _exists(row, using):
                    changes["user_id"] = row.user_id
                elif not row.give_up:
                    deferred.append(row.event)
                    continue
            owners = {known.user_id, changes.get("user_id")} - {None}
            days = {known.day, changes.get("day", known.day)}
            keys = {(owner, day) for owner in owners for day in days}
            if locking and keys and locks.lock(keys, using) != keys:
                deferred.append(row.event)
                continue
            amendments[row.event.id] = changes
    amended = logs.filter(pk__in=amendments)
    before = daily.of_logs(amended)
    for log_id, changes in amendments.items():
        logs.filter(pk=log_id).update(**changes)
    return deferred, daily.difference(before, daily.of_logs(amended))


def _changes(row: Row, known: AIUsageLog) -> dict[str, Any]:
    """Return the new values of an existing row, without its user; {} if nothing changes."""
    event = row.event
    metadata = known.metadata if isinstance(known.metadata, dict) else {}  # or changed by SQL
    if event.completes:
        if event.detail < row_values.event_of(known).detail:
            return {}
        event = replace(event, metadata=event.completing(metadata))
        if not event.model_name and known.model_name:  # a poll may not name it
            event = replace(event, model_name=known.model_name)
            row = row._replace(quote=quote(event))
        return _values(row, event, _ENDING)
    if metadata.items() >= UNSEEN.items():
        # A poll made the row. What it says of the beginning is not true.
        event = event.completed(row_values.event_of(known))
        row = row._replace(quote=quote(event))
        return _values(row, event, (*_AMENDED, "created_at", "day")) | {"user_id": None}
    if not event.revision:
        return {}  # the same event again
    if event.begins and event.success and not event.is_known:
        event = replace(event, metadata=event.beginning(metadata))
        return {name: getattr(event, name) for name in _BEGINNING}
    return _values(row, event, _AMENDED)


def _values(row: Row, event: UsageEvent, names: Iterable[str]) -> dict[str, Any]:
    values = row_values.of_event(event, row.quote, row.day)
    return {name: values[name] for name in names}


def _exists(row: Row, using: str) -> bool:
    if places.users_are_apart():
        return True  # see `writer._of_known_users`
    user = get_user_model()
    found = user._base_manager.using(using).filter(pk=row.user_id)
    username = known_username(row.event)
    if connections[using].vendor == "sqlite" and username is not None:
        found = found.filter(**{user.USERNAME_FIELD: username})
    return found.exists()
