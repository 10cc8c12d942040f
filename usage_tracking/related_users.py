"""The users of rows, whose table may be in another database.

Foreign keys and joins cannot reach that database. This module does their work in Python: it looks
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

#: Below PostgreSQL's deadlock_timeout (1 s), so that this query gives way in a deadlock.
LOCK_TIMEOUT = "300ms"
#: Number of keys in one statement.
CHUNK = 1000


def usernames(keys: Iterable[Any], *, using: str) -> dict[Any, Any]:
    """Return the usernames of the users with these primary keys, by key, without missing users.

    `using` is the database of the usage tables.
    """
    model = get_user_model()
    connection = connections[places.users_of(using)]
    # Not with a manager: any manager, even the base manager, may hide users.
    users: QuerySet[Any] = QuerySet(model, using=connection.alias)
    found: dict[Any, Any] = {}
    with _give_up_on_locks(connection):
        for chunk in _chunks(keys):
            named = users.filter(pk__in=chunk).values_list("pk", model.USERNAME_FIELD)
            found |= dict(named)
    return found


@contextmanager
def _give_up_on_locks(connection: Any) -> Iterator[None]:
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
        yield  # on SQLite a transaction may begin with the write lock


def with_users(rows: QuerySet[_Row]) -> QuerySet[_Row]:
    """Return `rows` that load their users, by a join or by a second query."""
    return (
        rows.prefetch_related("user") if places.users_are_apart() else rows.select_related("user")
    )


def remove(keys: Iterable[Any], *, using: str) -> None:
    """Delete the daily rows of these users and set the user of their rows to NULL, like Django."""
    for chunk in _chunks(keys):
        with transaction.atomic(using=using):
            daily.begin_write(using)
            # Daily rows first, like Django: writers that use one order do not deadlock.
            AIUsageTracking.objects.using(using).filter(user__in=chunk).delete()
            logs: QuerySet[AIUsageLog] = QuerySet(AIUsageLog, using=using)
            logs.filter(user__in=chunk).update(user=None)


def existing_and_missing(*, using: str) -> tuple[list[Any], list[Any]]:
    """Return two lists of user keys in the tables of `using`: of existing and of missing users.

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
