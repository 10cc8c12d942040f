"""Keep the tables in step with deleted logs and users, and deliveries from failing a deletion.

Deleted logs are followed with `AI_USAGE_ENABLED = False` too: a site that records nothing may still
delete what it has recorded, and the daily rows must stay the sums of the logs.

Saves are followed in `AIUsageLog._save_table`, bulk writes in the queryset. The row is read as the
database has it: an instance may be stale, hold expressions, or have been saved in part.
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
    user = get_user_model()._meta.concrete_model
    for model in apps.get_models():
        # A proxy deletes in its own name; a child that has its own table in that of the parent too.
        if model._meta.concrete_model is AIUsageLog:
            pre_delete.connect(remember, sender=model, dispatch_uid="usage_tracking")
            post_delete.connect(subtract, sender=model, dispatch_uid="usage_tracking")
        elif model._meta.concrete_model is user:
            post_delete.connect(
                user_deleted, sender=model, dispatch_uid="usage_tracking.related_users"
            )


def user_deleted(instance: Any, using: str, **_: Any) -> None:
    """Remove what the usage tables still hold of a deleted user."""
    if not places.users_are_apart():
        _remove_late_rows(instance, using)
        return
    deleted = _deleted_users(using)
    if deleted.is_beside_usage:
        _remove_late_rows(instance, using)
    is_own = places.identity(using) == places.identity(places.own_users())
    # The key of a tenant's user is another user's elsewhere.
    if is_own and places.here().users == places.NOWHERE.users:
        deleted.keys.append(instance.pk)


class _DeletedUsers:
    """The users that a transaction deletes, removed from another database after its commit.

    Not before: one database cannot undo what was done in another.
    """

    def __init__(self, using: str) -> None:
        self.is_beside_usage = is_beside_users(AIUsageLog, using)
        self.keys: list[Any] = []

    @contained
    def __call__(self) -> None:
        if forks.is_inherited(connections[places.own()]):
            raise RuntimeError("this process was forked, and its connection is the parent's")
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
    """Removes what was written for a deleted user after Django had looked at our tables.

    Django deletes the daily rows, updates the logs, and then deletes the user. A delivery that
    commits in between would make the foreign keys fail the site's COMMIT. After the DELETE nothing
    can follow: the user's row is locked until the COMMIT, and deliveries pass over locked users.

    Deliberately no lock before the DELETE: a transaction of the site that has changed a row of this
    user, and inserts another, would deadlock with it. SQLite has one writer, and with
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
    """Notes, under lock, what the row counts for before it goes."""
    daily.begin_write(using)
    row = AIUsageLog.objects.using(using).filter(pk=instance.pk)
    list(row.select_for_update().values_list("pk"))
    setattr(instance, _BEFORE, daily.of_logs(row))


def subtract(instance: AIUsageLog, using: str, **_: Any) -> None:
    before = instance.__dict__.pop(_BEFORE, {})
    daily.add(daily.difference(before, {}), using=using)
