"""Write a batch of events into both tables: one transaction, two statements, exactly once.

The ids make it idempotent: writing a batch again changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from django.db.models import QuerySet

from .. import daily, places, related_users, sql
from ..days import day_of
from ..errors import contained
from ..events import ENDING, MAX_USERNAME, UsageEvent, utc_now
from ..models import AIUsageLog, AIUsageTracking
from ..pricing import Quote, quote
from ..related_users import LOCK_TIMEOUT
from . import row_values

#: Time for which an event is deferred if its user is not in the database yet; afterwards its row is
#: written without a user.
PATIENCE = dt.timedelta(minutes=10)


class Row(NamedTuple):
    """An event, and the values of its row that the event does not have."""

    event: UsageEvent
    user_id: Any
    quote: Quote
    day: dt.date
    #: Whether to write the row without its user if the user does not exist.
    give_up: bool

    @property
    def cost(self) -> Decimal | None:
        """The cost of the call in USD, None if it is unknown."""
        return self.quote.cost


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
    rows = _prepare(events, patience)
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
            deferred, amended = _amend_or_defer(rest, using, locking=locking)
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
        if seen is None or event.revision > seen.revision:
            latest[event.id] = event
    for key, end in ends.items():
        newest[key] = newest[key].completed(end) if key in newest else end
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


def _of_known_users(rows: list[Row], using: str) -> tuple[list[Row], list[UsageEvent]]:
    """Split the rows by whether their user exists in another database, by key and username.

    Return the rows to write (without the user if it is given up) and the events to defer.
    """
    names = related_users.usernames({row.user_id for row in rows} - {None}, using=using)
    known, deferred = [], []
    for row in rows:
        username = _known_username(row.event)
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

#: CTEs; `free` has each (user_id, day) of `events` that no other transaction has locked.
#:
#: They lock the user and the daily row until our COMMIT, so that neither can be deleted before it.
#:
#: Why nothing deadlocks: KEY SHARE lets other transactions update both rows. SKIP LOCKED never
#: waits: it passes over rows that are being deleted or are locked by `select_for_update()`. After
#: that we wait only for other writers of the same daily row, who take those rows in one order. A
#: transaction of the site that has changed a daily row and then locks the user waits for us while
#: we wait for it; LOCK_TIMEOUT, below PostgreSQL's deadlock_timeout, makes us give way. A deletion
#: waits for us at the daily row or at the user, and holds nothing there that we wait for. It takes
#: the locks that Django takes, in Django's order: the daily rows, and the user only after the rows
#: of the log were updated (see `receivers.user_deleted`).
_FREE = """
e AS (SELECT * FROM {events}),
keys AS (SELECT DISTINCT user_id, day FROM e),
users AS ({free_users}),
days AS (
    SELECT d.user_id, d.date FROM {daily} AS d
    WHERE (d.user_id, d.date) IN (SELECT user_id, day FROM keys)
    FOR KEY SHARE OF d SKIP LOCKED
),
free AS (
    SELECT k.user_id, k.day FROM keys AS k
    JOIN users AS u ON u.id = k.user_id
    LEFT JOIN days AS l ON l.user_id = k.user_id AND l.date = k.day
    LEFT JOIN {daily} AS d ON d.user_id = k.user_id AND d.date = k.day
    WHERE l.user_id IS NOT NULL OR d.user_id IS NULL
)
"""

#: Users in the database of the usage tables, and users in another one, which are not locked.
_FREE_USERS = """
SELECT {user_pk} AS id FROM {users} AS u
WHERE {user_pk} IN (SELECT user_id FROM keys) FOR KEY SHARE OF u SKIP LOCKED
"""
_USERS_APART = "SELECT DISTINCT user_id AS id FROM keys"


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
        username = _username_field()
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
        free=_free(events, connection), is_given_up=is_given_up, lock_timeout=LOCK_TIMEOUT, **names
    )


def _free(events: str, connection: Any) -> str:
    """Return the CTEs of `_FREE` for the relation `events`."""
    quote = connection.ops.quote_name
    user: Any = get_user_model()._meta
    if places.users_are_apart():
        free_users = _USERS_APART
    else:
        free_users = _FREE_USERS.format(
            user_pk=f"u.{quote(user.pk.column)}", users=quote(user.db_table)
        )
    return _FREE.format(
        events=events, free_users=free_users, daily=quote(AIUsageTracking._meta.db_table)
    )


def _lock(keys: Iterable[daily.Key], using: str) -> set[daily.Key]:
    """Lock users and their daily rows as `_insert` does; return the keys that were free."""
    connection: Any = connections[using]
    user: Any = get_user_model()._meta.pk
    columns = {"user_id": str(user.rel_db_type(connection)), "day": "date"}
    wanted = (
        {"user_id": sql.key(user, user_id, connection), "day": day.isoformat()}
        for user_id, day in keys
    )
    free = _free(sql.relation(columns, connection, "e"), connection)
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {free} SELECT user_id, day FROM free", [sql.parameter(wanted)])
        return {(user.to_python(user_id), day) for user_id, day in cursor.fetchall()}


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
        "username": sql.key(_username_field(), _known_username(event), connection),
        "give_up": row.give_up,
        "cost": None if row.cost is None else format(row.cost, "f"),
        "day": row.day.isoformat(),
        "created_at": sql.moment(row_values.began_at(event), connection),
    }


#: The fields that the end of a call changes, and those that an amendment changes.
_ENDING = (*(name for name in ENDING if name in _COLUMNS), "metadata")
_AMENDED = (*_ENDING, "section", "provider", "response_time_ms")


def _amend_or_defer(
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
    there = {
        log_id: rest for log_id, *rest in locked.values_list("pk", "metadata", "user_id", "day")
    }
    deferred = []
    amendments: dict[UUID, dict[str, Any]] = {}
    for row in rows:
        event = row.event
        if event.id not in there:
            deferred.append(event)
        elif event.revision:
            metadata, *owners, day = there[event.id]
            names = _ENDING
            changes: dict[str, Any] = {}
            if event.completes:
                known = metadata if isinstance(metadata, dict) else {}  # or changed by SQL
                event = replace(event, metadata=event.completing(known))
            else:
                names = _AMENDED
                if row.user_id is not None:
                    if _exists(row, using):
                        changes["user_id"] = row.user_id
                        owners.append(row.user_id)
                    elif not row.give_up:
                        deferred.append(event)
                        continue
            keys = {(owner, day) for owner in owners if owner is not None}
            if locking and keys and _lock(keys, using) != keys:
                deferred.append(row.event)
                continue
            values = row_values.of_event(event, row.quote, row.day)
            amendments[event.id] = changes | {name: values[name] for name in names}
    amended = logs.filter(pk__in=amendments)
    before = daily.of_logs(amended)
    for log_id, changes in amendments.items():
        logs.filter(pk=log_id).update(**changes)
    return deferred, daily.difference(before, daily.of_logs(amended))


def _exists(row: Row, using: str) -> bool:
    if places.users_are_apart():
        return True  # see `_of_known_users`
    user = get_user_model()
    found = user._base_manager.using(using).filter(pk=row.user_id)
    username = _known_username(row.event)
    if connections[using].vendor == "sqlite" and username is not None:
        found = found.filter(**{user.USERNAME_FIELD: username})
    return found.exists()


def _known_username(event: UsageEvent) -> Any:
    """Return the value of the username field that the event names.

    It is None if the value is unknown: the user is stateless or has an empty name, the name was
    truncated, or the field cannot convert it.
    """
    if not event.username or len(event.username) >= MAX_USERNAME:
        return None
    try:
        return _username_field().to_python(event.username)
    except (ValidationError, ValueError):
        return None


def _username_field() -> Any:
    user = get_user_model()
    return user._meta.get_field(user.USERNAME_FIELD)
