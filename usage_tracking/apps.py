"""The app configuration, which installs the hooks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

import wrapt
from django.apps import AppConfig
from django.db import router
from django.db.models.signals import post_migrate, pre_migrate

from .system.site_tests import running_test

if TYPE_CHECKING:
    from django.db.migrations import Migration

#: Integrations by the module that activates them. Only the site imports these modules.
INTEGRATIONS = {
    "celery.signals": "usage_tracking.contrib.celery:connect",
    "django.tasks.signals": "usage_tracking.contrib.django_tasks:connect",
    "django_tasks.signals": "usage_tracking.contrib.django_tasks:connect",
    "channels.consumer": "usage_tracking.contrib.channels:connect",
}


NEXT = """
usage_tracking: the tables are ready. Next, check the whole setup:
    python manage.py diagnose_ai_usage
"""


class UsageTrackingConfig(AppConfig):
    """The configuration of the app `usage_tracking`."""

    name = "usage_tracking"
    label = "usage_tracking"
    verbose_name = "AI usage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks and receivers, and install the hooks if `AI_USAGE_ENABLED`."""
        from . import capture, checks, conf, delivery, migrating, places, receivers
        from .attribution import threads

        checks.register()
        places.note_own_databases()
        receivers.connect()
        pre_migrate.connect(migrating.protect_tables, sender=self, dispatch_uid="usage_tracking")
        post_migrate.connect(say_what_is_next, sender=self, dispatch_uid="usage_tracking")
        if conf.enabled():
            delivery.connect()
            capture.install(conf.capture())
            if conf.propagate_threads():
                threads.install()
            for module, connect in INTEGRATIONS.items():
                wrapt.register_post_import_hook(connect, module)


def say_what_is_next(
    *,
    using: str,
    verbosity: int = 1,
    plan: Iterable[tuple[Migration, bool]] = (),
    stdout: TextIO | None = None,
    **_: Any,
) -> None:
    """Name the next step after the `migrate` that created the tables in the database `using`.

    This is a receiver of `post_migrate`. It is silent at verbosity 0 and in tests.
    """
    from .migrating import FIRST
    from .models import AIUsageLog

    created = any(
        (migration.app_label, migration.name) == FIRST and not backwards
        for migration, backwards in plan
    )
    if (
        created
        and verbosity
        and running_test() is None
        and router.allow_migrate_model(using, AIUsageLog)
    ):
        (stdout or sys.stdout).write(NEXT)
