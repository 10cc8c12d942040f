from __future__ import annotations

import wrapt
from django.apps import AppConfig
from django.db.models.signals import pre_migrate

#: Followed when the site imports them, never imported for it.
FOLLOWED = {
    "celery.signals": "usage_tracking.contrib.celery:connect",
    "django.tasks.signals": "usage_tracking.contrib.django_tasks:connect",
    "django_tasks.signals": "usage_tracking.contrib.django_tasks:connect",
    "channels.consumer": "usage_tracking.contrib.channels:connect",
}


class UsageTrackingConfig(AppConfig):
    name = "usage_tracking"
    label = "usage_tracking"
    verbose_name = "AI usage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import capture, checks, conf, delivery, migrating, places, receivers
        from .attribution import threads

        checks.register()
        places.settle()
        receivers.connect()
        pre_migrate.connect(migrating.protect_tables, sender=self, dispatch_uid="usage_tracking")
        if conf.enabled():
            delivery.connect()
            capture.install(conf.capture())
            if conf.propagate_threads():
                threads.install()
            for module, connect in FOLLOWED.items():
                wrapt.register_post_import_hook(connect, module)
