"""Keep the tables in step with deleted logs and users, and deliveries from failing a deletion.

Deleted logs are followed with `AI_USAGE_ENABLED = False` too: a site that records nothing may still
delete what it has recorded, and the daily rows must stay the sums of the logs.

Saves are followed in `AIUsageLog._save_table`, bulk writes in the queryset. The row is read as the
database has it: an instance may be stale, hold expressions, or have been saved in part.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models.signals import post_delete, pre_delete

from . import conf, daily, places, users
from .errors import contained
from .models import AIUsageLog, AIUsageTracking

_BEFORE = "_ai_usage_before"


def connect() -> None:
    user = get_user_model()._meta.concrete_model
    for model in apps.get_models():
        # A proxy deletes in its own name; a child that has its own table in that of the parent too.
        if model._meta.concrete_model is AIUsageLog:
            pre_delete.connect(remember, sender=model, dispatch_uid="usage_tracking")
            post_delete.connect(subtract, sender=model, dispatch_uid="usage_tracking")
        elif model._meta.concrete_model is user:
            post_delete.connect(user_deleted, sender=model, dispatch_uid="usage_tracking.users")


def user_deleted(instance: Any, using: str, **_: Any) -> None:
    if not places.users_are_apart():
        _remove_late_rows(instance, using)
    elif places.identity(using) == places.identity(places.own_users()):
        # Once it is certain: a transaction of one database cannot undo what was done in another.
        transaction.on_commit(partial(_take_off, instance.pk), using=using)


@contained
def _take_off(pk: Any) -> None:
    users.take_off([pk], using=places.own())


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
    if (
        not conf.enabled()
        or connection.vendor != "postgresql"
        or using != router.db_for_write(AIUsageLog, instance=instance)
    ):
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
