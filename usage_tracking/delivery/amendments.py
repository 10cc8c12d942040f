"""Changes rows that exist already: later revisions of their events, and what completes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple
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

#: The fields that the end of a call changes, its beginning, and any other amendment.
_ENDING = (*(name for name in ENDING if hasattr(AIUsageLog, name)), "metadata")
_BEGINNING = ("section", "provider", "response_time_ms", "metadata")
_AMENDED = (*_ENDING, *_BEGINNING[:-1])


class _Known(NamedTuple):
    """What the row of a call has already."""

    metadata: Any
    user_id: Any
    day: Any
    model_name: str


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
    there = {log_id: _Known(*rest) for log_id, *rest in locked.values_list("pk", *_Known._fields)}
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


def _changes(row: Row, known: _Known) -> dict[str, Any]:
    """Return the new values of an existing row, without its user; {} if nothing changes."""
    event, price = row.event, row.quote
    metadata = known.metadata if isinstance(known.metadata, dict) else {}  # or changed by SQL
    names = _AMENDED
    if event.completes:
        names = _ENDING
        event = replace(event, metadata=event.completing(metadata))
        if not event.model_name and known.model_name:
            # The answer to a poll may not name it.
            event = replace(event, model_name=known.model_name)
            price = quote(event)
    elif event.begins and not event.is_known:
        if not event.revision and UNSEEN not in metadata:
            return {}  # the same event again
        names = _BEGINNING
        if UNSEEN in metadata:
            # What the row says of its beginning is that of the poll which made it.
            names = (*names, "created_at", "day", "user_id")
    elif not event.revision:
        return {}
    values = row_values.of_event(event, price, row.day)
    if names[:4] == _BEGINNING:
        values |= {"metadata": event.beginning(metadata), "user_id": None}
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
