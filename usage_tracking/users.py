"""The users of logs, whose table may be in another database, which no constraint and no join reach.

What PostgreSQL does there for two tables of one database is done in Python here: a log is written
for a user who is there, and a deleted user is taken off the logs.
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
    """Return the names of those users of the logs in `using` that exist, by primary key."""
    model = get_user_model()
    connection = connections[places.users_of(using)]
    # All of them: a manager, the base manager too, may hide users who have logs.
    users: QuerySet[Any] = QuerySet(model, using=connection.alias)
    found: dict[Any, Any] = {}
    with _brief(connection):
        for chunk in _chunks(keys):
            named = users.filter(pk__in=chunk).values_list("pk", model.USERNAME_FIELD)
            found |= dict(named)
    return found


@contextmanager
def _brief(connection: Any) -> Iterator[None]:
    """Wait for no lock for long, and leave no transaction of the caller's broken."""
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
    """Return `rows` that bring their users along: by a join, or by a statement more."""
    return (
        rows.prefetch_related("user") if places.users_are_apart() else rows.select_related("user")
    )


def take_off(keys: Iterable[Any], *, using: str) -> None:
    """Take users who are gone off their logs, and remove their daily rows, as Django would."""
    for chunk in _chunks(keys):
        with transaction.atomic(using=using):
            daily.begin_write(using)
            # First, as in a deletion by Django, so that two who change both do not deadlock.
            AIUsageTracking.objects.using(using).filter(user__in=chunk).delete()
            logs: QuerySet[AIUsageLog] = QuerySet(AIUsageLog, using=using)
            logs.filter(user__in=chunk).update(user=None)


def examine(*, using: str) -> tuple[list[Any], list[Any]]:
    """Return the keys in the tables of `using` that are users', and those that are nobody's.

    A deletion leaves the latter if it went past Django, or if the tables were away just then.
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
