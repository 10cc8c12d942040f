"""Write a batch of events into both tables: one transaction, two statements, exactly once.

The ids make it idempotent: writing a batch again changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections, transaction

from .. import daily, places, related_users, sql
from ..days import day_of
from ..errors import contained
from ..events import UNSEEN, UsageEvent, utc_now
from ..models import AIUsageLog
from ..pricing import quote
from ..related_users import LOCK_TIMEOUT
from . import locks, row_values
from .amendments import amend_or_defer
from .rows import Row, known_username, username_field

#: Time for which an event is deferred if its user is not in the database yet; afterwards its row is
#: written without a user.
PATIENCE = dt.timedelta(minutes=10)


@dataclass(slots=True)
class Stored:
    """The result of a batch."""

    rows: list[Row] = field(default_factory=list)
    totals: dict[daily.Key, daily.Totals] = field(default_factory=dict)
    #: Events to retry, because their user is not in the database or is locked.
    deferred: list[UsageEvent] = field(default_factory=list)


def store(events: Iterable[UsageEvent], *, using: str, patience: dt.timedelta = PATIENCE) -> Stored:
    """Insert the rows that do not exist yet, and add exactly those to the daily rows.

    Args:
        events: The events, of which several may have the same id.
        using: The alias of the database.
        patience: An event whose user does not exist is deferred until it is older than this, and
            then written without its user. An event whose user is locked is deferred until the lock
            is released.

    Raises:
        DatabaseError: Any error of the database; nothing is written then.
    """
    rows = _without_pruned(_prepare(events, patience), using)
    stored = Stored()
    if apart := places.users_are_apart():
        rows, stored.deferred = _of_known_users(rows, using)
    # Inside a transaction of the site, our locks and settings would outlast the delivery.
    locking = connections[using].vendor == "postgresql" and not connections[using].in_atomic_block
    with transaction.atomic(using=using):
        inserted = _insert(rows, using, locking=locking)
        stored.rows = [
            row._replace(user_id=inserted[row.event.id]) for row in rows if row.event.id in inserted
        ]
        amended: dict[daily.Key, daily.Sums] = {}
        if len(inserted) < len(rows):
            rest = [row for row in rows if row.event.id not in inserted]
            deferred, amended = amend_or_defer(rest, using, locking=locking)
            stored.deferred += deferred
        inserts = daily.merge(
            (
                (row.user_id, row.day),
                daily.of_event(row.event, row.cost),
            )
            for row in stored.rows
            if row.user_id is not None
        )
        # In one call, because daily rows are locked in one order.
        totals = daily.add(daily.merge([*amended.items(), *inserts.items()]), using=using)
        stored.totals = {key: row for key, row in totals.items() if key in inserts}
    if apart and not connections[using].in_atomic_block:
        _remove_deleted(rows, using)
    return stored


def _prepare(events: Iterable[UsageEvent], patience: dt.timedelta) -> list[Row]:
    newest: dict[UUID, UsageEvent] = {}
    ends: dict[UUID, UsageEvent] = {}
    for event in events:
        latest = ends if event.completes else newest
        seen = latest.get(event.id)
        if seen is None or _rank(event) > _rank(seen):
            latest[event.id] = event
    for key, end in ends.items():
        if key in newest:
            newest[key] = newest[key].completed(end)
        else:
            newest[key] = replace(end, metadata=end.metadata | UNSEEN)
    to_python = get_user_model()._meta.pk.to_python
    rows = []
    for event in sorted(newest.values(), key=lambda event: event.id):
        try:
            user_id = None if event.user_id is None else to_python(event.user_id)
        except ValidationError:  # the site has changed its user model
            user_id = None
        give_up = utc_now() - event.created_at > patience
        rows.append(Row(event, user_id, quote(event), day_of(event.created_at), give_up))
    return rows


def _rank(event: UsageEvent) -> tuple[int, int]:
    return event.detail if event.completes else 0, event.revision


def _without_pruned(rows: list[Row], using: str) -> list[Row]:
    """Return the rows without the ends of calls whose rows were pruned."""
    ends = [row for row in rows if row.event.completes]
    if not ends or (pruned := daily.horizon(using)) is None:
        return rows
    old = {row.event.id for row in ends if row.day <= pruned}
    if old:
        there = AIUsageLog.objects.using(using).filter(pk__in=old)
        old -= set(there.values_list("pk", flat=True))
    return [row for row in rows if row.event.id not in old]


def _of_known_users(rows: list[Row], using: str) -> tuple[list[Row], list[UsageEvent]]:
    """Split the rows by whether their user exists in another database, by key and username.

    Return the rows to write (without the user if it is given up) and the events to defer.
    """
    names = related_users.usernames({row.user_id for row in rows} - {None}, using=using)
    known, deferred = [], []
    for row in rows:
        username = known_username(row.event)
        is_there = row.user_id in names and username in (None, names[row.user_id])
        if row.user_id is None or is_there:
            known.append(row)
        elif row.give_up:
            known.append(row._replace(user_id=None))
        else:
            deferred.append(row.event)
    return known, deferred


@contained
def _remove_deleted(rows: Iterable[Row], using: str) -> None:
    """Remove users who were deleted in another database while the rows were written.

    The earlier look-up took no lock there. A later deletion finds the rows. They are committed, so
    an error must not make the caller write them again.
    """
    keys = {row.user_id for row in rows} - {None}
    if keys and (deleted := keys - related_users.usernames(keys, using=using).keys()):
        related_users.remove(deleted, using=using)


#: The INSERT in a transaction of the site, and on SQLite. It takes no lock: a lock would last as
#: long as the site's transaction, and SQLite has one writer.
_INSERT = """
INSERT INTO {log} (id, user_id, {columns})
SELECT e.id, {user_id}, {values}
FROM {events} {join_users}
WHERE {has_user}
ORDER BY e.id
ON CONFLICT (id) DO NOTHING
RETURNING id, user_id
"""

#: The INSERT in a transaction of our own on PostgreSQL: users and daily rows are locked first.
#: `settings` sets the lock timeout of this transaction without a separate statement. Without NOT
#: EXISTS, the ON CONFLICT would wait for a transaction that has changed this row.
_LOCKING_INSERT = """
INSERT INTO {log} (id, user_id, {columns})
WITH {free}
SELECT e.id, f.user_id, {values}
FROM (SELECT set_config('lock_timeout', '{lock_timeout}', true) AS value) AS settings,
    e LEFT JOIN free AS f ON f.user_id = e.user_id AND f.day = e.day
WHERE settings.value IS NOT NULL
    AND (e.user_id IS NULL OR f.user_id IS NOT NULL OR {is_given_up})
    AND NOT EXISTS (SELECT FROM {log} AS l WHERE l.id = e.id)
ORDER BY e.id
ON CONFLICT (id) DO NOTHING
RETURNING id, user_id
"""


def _insert(rows: Sequence[Row], using: str, *, locking: bool) -> dict[UUID, Any]:
    """Insert rows in one statement; return the user id, or None, of each that was inserted.

    The statement itself looks up the user, so that a deleted user cannot fail the COMMIT.
    """
    connection: Any = connections[using]
    user_field: Any = get_user_model()._meta.pk
    columns = {
        "id": "uuid",
        "user_id": str(user_field.rel_db_type(connection)),
        "username": "text",
        "give_up": "boolean",
        **_COLUMNS,
    }
    events = sql.relation(columns, connection, "e")
    names = {
        "log": connection.ops.quote_name(AIUsageLog._meta.db_table),
        "columns": ", ".join(_COLUMNS),
        "values": ", ".join(f"e.{name}" for name in _COLUMNS),
    }
    if locking:
        statement = _locking_insert(events, names, connection)
    else:
        statement = _INSERT.format(events=events, **names, **_looked_up_users(connection))
    with connection.cursor() as cursor:
        cursor.execute(statement, [sql.parameter(_record(row, connection) for row in rows)])
        returned = cursor.fetchall()
    pk = AIUsageLog._meta.pk
    return {
        pk.to_python(log_id): None if user_id is None else user_field.to_python(user_id)
        for log_id, user_id in returned
    }


def _looked_up_users(connection: Any) -> dict[str, str]:
    """Return the parts of `_INSERT` that look up the users."""
    if places.users_are_apart():
        return {"user_id": "e.user_id", "join_users": "", "has_user": "true"}
    quote = connection.ops.quote_name
    user = get_user_model()._meta
    user_pk = f"u.{quote(user.pk.column)}"
    same_name = ""
    if connection.vendor == "sqlite":
        # SQLite gives the key of a rolled-back signup to the next user, so a known name must match.
        username = username_field()
        named: Any = username.model._meta  # of a user model with a parent it is the parent's
        same_name = (
            f"AND (e.username IS NULL OR (SELECT n.{quote(username.column)} "
            f"FROM {quote(named.db_table)} AS n "
            f"WHERE n.{quote(named.pk.column)} = e.user_id) = e.username)"
        )
    return {
        "user_id": user_pk,
        "join_users": f"LEFT JOIN {quote(user.db_table)} AS u ON {user_pk} = e.user_id {same_name}",
        "has_user": f"(e.user_id IS NULL OR {user_pk} IS NOT NULL OR e.give_up)",
    }


def _locking_insert(events: str, names: dict[str, str], connection: Any) -> str:
    is_given_up = "false"  # `_of_known_users` has removed the keys of users that are given up
    if not places.users_are_apart():
        quote = connection.ops.quote_name
        user = get_user_model()._meta
        user_pk = f"u.{quote(user.pk.column)}"
        is_given_up = (
            f"e.give_up AND (SELECT {user_pk} FROM {quote(user.db_table)} AS u "
            f"WHERE {user_pk} = e.user_id) IS NULL"
        )
    return _LOCKING_INSERT.format(
        free=locks.free(events, connection),
        is_given_up=is_given_up,
        lock_timeout=LOCK_TIMEOUT,
        **names,
    )


_COLUMNS = {
    "section": "text",
    "provider": "text",
    "model_name": "text",
    "operation": "text",
    "prompt_tokens": "bigint",
    "completion_tokens": "bigint",
    "cached_tokens": "bigint",
    "reasoning_tokens": "bigint",
    "usage_details": "jsonb",
    "usage_source": "text",
    "cost": "numeric",
    "response_time_ms": "bigint",
    "success": "boolean",
    "error_message": "text",
    "metadata": "jsonb",
    "day": "date",
    "created_at": "timestamptz",
}


def _record(row: Row, connection: Any) -> dict[str, Any]:
    """Return a row as a dict that JSON can encode."""
    event = row.event
    return {
        **row_values.of_event(event, row.quote, row.day),
        "id": event.id.hex,
        "user_id": sql.key(get_user_model()._meta.pk, row.user_id, connection),
        "username": sql.key(username_field(), known_username(event), connection),
        "give_up": row.give_up,
        "cost": None if row.cost is None else format(row.cost, "f"),
        "day": row.day.isoformat(),
        "created_at": sql.moment(row_values.began_at(event), connection),
    }
