"""The app configuration, which installs the hooks."""

from __future__ import annotations

import wrapt
from django.apps import AppConfig
from django.db.models.signals import pre_migrate

#: Integrations by the module that activates them. Only the site imports these modules.
INTEGRATIONS = {
    "celery.signals": "usage_tracking.contrib.celery:connect",
    "django.tasks.signals": "usage_tracking.contrib.django_tasks:connect",
    "django_tasks.signals": "usage_tracking.contrib.django_tasks:connect",
    "channels.consumer": "usage_tracking.contrib.channels:connect",
}


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
        if conf.enabled():
            delivery.connect()
            capture.install(conf.capture())
            if conf.propagate_threads():
                threads.install()
            for module, connect in INTEGRATIONS.items():
                wrapt.register_post_import_hook(connect, module)
