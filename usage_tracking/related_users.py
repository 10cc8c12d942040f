"""The users of logs, whose table may be in another database.

No foreign key and no join can reach that database. This module does their work in Python: it looks
up which users exist, and removes deleted users from the usage tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import QuerySet

from . import daily, places
from .models import AIUsageLog, AIUsageTracking

_Row = TypeVar("_Row", AIUsageLog, AIUsageTracking)

#: Below PostgreSQL's deadlock_timeout (1 s): of two that wait for each other we give way.
LOCK_TIMEOUT = "300ms"
#: Keys in one statement.
CHUNK = 1000


def usernames(keys: Iterable[Any], *, using: str) -> dict[Any, Any]:
    """Return the usernames of the users with these primary keys, by key, without missing users.

    `using` is the database of the usage tables.
    """
    model = get_user_model()
    connection = connections[places.users_of(using)]
    # Not by a manager: any of them, the base manager too, may hide users.
    users: QuerySet[Any] = QuerySet(model, using=connection.alias)
    found: dict[Any, Any] = {}
    with _brief(connection):
        for chunk in _chunks(keys):
            named = users.filter(pk__in=chunk).values_list("pk", model.USERNAME_FIELD)
            found |= dict(named)
    return found


@contextmanager
def _brief(connection: Any) -> Iterator[None]:
    """Give up on a lock quickly, and keep the caller's transaction usable after an error."""
    if connection.in_atomic_block:
        with transaction.atomic(using=connection.alias):
            yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            yield
    else:
        yield  # a transaction of SQLite may begin with the write lock


def with_users(rows: QuerySet[_Row]) -> QuerySet[_Row]:
    """Return `rows` with their users loaded, by a join or by a second query."""
    return (
        rows.prefetch_related("user") if places.users_are_apart() else rows.select_related("user")
    )


def remove(keys: Iterable[Any], *, using: str) -> None:
    """Delete the daily rows of these users and set their logs' user to NULL, as Django would."""
    for chunk in _chunks(keys):
        with transaction.atomic(using=using):
            daily.begin_write(using)
            # Daily rows first, as Django deletes them: writers in one order do not deadlock.
            AIUsageTracking.objects.using(using).filter(user__in=chunk).delete()
            logs: QuerySet[AIUsageLog] = QuerySet(AIUsageLog, using=using)
            logs.filter(user__in=chunk).update(user=None)


def existing_and_missing(*, using: str) -> tuple[list[Any], list[Any]]:
    """Return the user keys in the tables of `using`: those of existing users, and the others.

    Keys of missing users remain if SQL deleted the user, or if the tables were unavailable.
    """
    tables: tuple[QuerySet[Any], ...] = (
        AIUsageTracking.objects.using(using).all(),
        AIUsageLog.objects.using(using).exclude(user=None),
    )
    keys = {
        key
        for rows in tables
        for key in rows.order_by().values_list("user_id", flat=True).distinct()
    }
    there = usernames(keys, using=using).keys()
    return sorted(keys & there), sorted(keys - there)


def _chunks(keys: Iterable[Any]) -> Iterator[list[Any]]:
    every = list(keys)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]
