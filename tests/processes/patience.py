"""An app with long timeouts, so that a slow machine interrupts no delivery."""

from __future__ import annotations

import os

from django.apps import AppConfig

from tests.support.waiting import PATIENCE


class PatienceConfig(AppConfig):
    name = "tests.processes.patience"
    label = "patience"

    def ready(self) -> None:
        from usage_tracking import outbox
        from usage_tracking.attribution import scope
        from usage_tracking.delivery import worker

        worker.EXIT = PATIENCE
        outbox.WAIT = PATIENCE  # the wait for SQLite's lock while callers wait
        scope._GATE = PATIENCE
        if seconds := os.environ.get("ORPHANS_EVERY"):
            worker.ORPHANS_EVERY = float(seconds)
