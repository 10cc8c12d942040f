"""An app that makes a site patient: what must not be cut short is not, however slow the machine."""

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
        outbox.WAIT = PATIENCE  # for SQLite's lock, while callers wait
        scope._GATE = PATIENCE
        if seconds := os.environ.get("ORPHANS_EVERY"):
            worker.ORPHANS_EVERY = float(seconds)
