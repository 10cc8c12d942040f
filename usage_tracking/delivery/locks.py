"""Locks the users and daily rows of a batch, so that neither can be deleted before its COMMIT."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from .. import daily, places, sql
from ..models import AIUsageTracking

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


def free(events: str, connection: Any) -> str:
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


def lock(keys: Iterable[daily.Key], using: str) -> set[daily.Key]:
    """Lock users and their daily rows as the INSERT does; return the keys that were free."""
    connection: Any = connections[using]
    user: Any = get_user_model()._meta.pk
    columns = {"user_id": str(user.rel_db_type(connection)), "day": "date"}
    wanted = (
        {"user_id": sql.key(user, user_id, connection), "day": day.isoformat()}
        for user_id, day in keys
    )
    found = free(sql.relation(columns, connection, "e"), connection)
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {found} SELECT user_id, day FROM free", [sql.parameter(wanted)])
        return {(user.to_python(user_id), day) for user_id, day in cursor.fetchall()}
