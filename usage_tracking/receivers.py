"""Signal receivers that update the tables when rows or users are deleted.

They also prevent deliveries from making the deletion of a user fail. Deleted rows are handled with
`AI_USAGE_ENABLED = False` too: a site that records nothing may still delete old rows, and the daily
rows must stay the sums of the rows.

`AIUsageLog._save_table` handles saves, the queryset handles bulk writes. Values are read from the
database, because an instance may be stale, hold expressions, or be saved in part.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models.signals import post_delete, pre_delete

from . import conf, daily, places, related_users
from .errors import contained
from .fields import is_beside_users
from .models import AIUsageLog, AIUsageTracking
from .system import forks

_BEFORE = "_ai_usage_before"


def connect() -> None:
    """Connect the receivers."""
    user = get_user_model()._meta.concrete_model
    for model in apps.get_models():
        # A proxy sends signals as itself; a child with its own table also sends its parent's.
        if model._meta.concrete_model is AIUsageLog:
            pre_delete.connect(remember, sender=model, dispatch_uid="usage_tracking")
            post_delete.connect(subtract, sender=model, dispatch_uid="usage_tracking")
        elif model._meta.concrete_model is user:
            post_delete.connect(
                user_deleted, sender=model, dispatch_uid="usage_tracking.related_users"
            )


def user_deleted(instance: Any, using: str, **_: Any) -> None:
    """Remove the remaining references to a deleted user from the usage tables."""
    if not places.users_are_apart():
        _remove_late_rows(instance, using)
        return
    deleted = _deleted_users(using)
    if deleted.is_beside_usage:
        _remove_late_rows(instance, using)
    is_own = places.identity(using) == places.identity(places.own_users())
    # Elsewhere the key of a tenant's user belongs to another user.
    if is_own and places.here().users == places.NOWHERE.users:
        deleted.keys.append(instance.pk)


class _DeletedUsers:
    """The users that a transaction deletes; their rows in another database go after its commit.

    Not before the commit, because a rollback does not reach the other database.
    """

    def __init__(self, using: str) -> None:
        self.is_beside_usage = is_beside_users(AIUsageLog, using)
        self.keys: list[Any] = []

    @contained
    def __call__(self) -> None:
        if forks.is_inherited(connections[places.own()]):
            raise RuntimeError("this is a forked process, whose connection belongs to its parent")
        related_users.remove(self.keys, using=places.own())


def _deleted_users(using: str) -> _DeletedUsers:
    """Return the users deleted in the open transaction, within the same savepoints."""
    connection: Any = connections[using]
    for savepoints, function, *_ in reversed(connection.run_on_commit):
        if isinstance(function, _DeletedUsers) and savepoints == set(connection.savepoint_ids):
            return function
    deleted = _DeletedUsers(using)
    transaction.on_commit(deleted, using=using)
    return deleted


def _remove_late_rows(instance: Any, using: str) -> None:
    """Remove rows that were written for a deleted user after Django collected the related rows.

    Django deletes the daily rows, updates the rows, and then deletes the user. If a delivery
    commits in between, the foreign keys make the site's COMMIT fail. After the DELETE no delivery
    can write for the user: the user's row is locked until the COMMIT, and deliveries skip locked
    users.

    There is deliberately no lock before the DELETE: it could deadlock with a transaction of the
    site that has changed a row of this user and inserts another. SQLite has one writer, and with
    AI_USAGE_ENABLED = False there are no deliveries.
    """
    connection: Any = connections[using]
    is_ours = places.users_are_apart() or using == router.db_for_write(
        AIUsageLog, instance=instance
    )
    if not conf.enabled() or connection.vendor != "postgresql" or not is_ours:
        return
    log, tracking = (
        connection.ops.quote_name(model._meta.db_table) for model in (AIUsageLog, AIUsageTracking)
    )
    pk = instance._meta.pk.get_db_prep_value(instance.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH days AS (DELETE FROM {tracking} WHERE user_id = %s) "
            f"UPDATE {log} SET user_id = NULL WHERE user_id = %s",
            [pk, pk],
        )


def remember(instance: AIUsageLog, using: str, **_: Any) -> None:
    """Lock the row and remember its contribution to the daily row before it is deleted."""
    daily.begin_write(using)
    row = AIUsageLog.objects.using(using).filter(pk=instance.pk)
    list(row.select_for_update().values_list("pk"))
    setattr(instance, _BEFORE, daily.of_logs(row))


def subtract(instance: AIUsageLog, using: str, **_: Any) -> None:
    """Subtract a deleted row from its daily row."""
    before = instance.__dict__.pop(_BEFORE, {})
    daily.add(daily.difference(before, {}), using=using)
