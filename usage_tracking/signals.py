"""Keep the daily row in step with every delete of a log, and deliveries away from a user who goes.

Saves are followed in `AIUsageLog._save_table`, bulk writes in the queryset. The row is read as the
database has it: an instance may be stale, hold expressions, or have been saved in part.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, router
from django.db.models.signals import post_delete, pre_delete

from . import daily
from .models import AIUsageLog

_BEFORE = "_ai_usage_before"


def connect() -> None:
    for model in apps.get_models():
        # A proxy deletes in its own name; a child that has its own table in that of the parent too.
        if model._meta.concrete_model is AIUsageLog:
            pre_delete.connect(remember, sender=model, dispatch_uid="usage_tracking")
            post_delete.connect(subtract, sender=model, dispatch_uid="usage_tracking")

    pre_delete.connect(
        keep_deliveries_out, sender=get_user_model(), dispatch_uid="usage_tracking.users"
    )


def keep_deliveries_out(using: str, **_: Any) -> None:
    """Lets no delivery write a row for a user who is being deleted, until that is committed.

    It would come between Django's statements: after the user's rows were found, and before he goes
    himself, so that the foreign key would fail the host's COMMIT. SQLite has one writer anyway.
    """
    connection = connections[using]
    if connection.vendor == "postgresql" and using == router.db_for_write(AIUsageLog):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [daily.USERS_LOCK])


def remember(instance: AIUsageLog, using: str, **_: Any) -> None:
    """Notes, under lock, what the row counts for before it goes."""
    daily.begin_write(using)
    row = AIUsageLog.objects.using(using).filter(pk=instance.pk)
    list(row.select_for_update().values_list("pk"))
    setattr(instance, _BEFORE, daily.of_logs(row))


def subtract(instance: AIUsageLog, using: str, **_: Any) -> None:
    before = instance.__dict__.pop(_BEFORE, {})
    daily.add(daily.difference(before, {}), using=using)
