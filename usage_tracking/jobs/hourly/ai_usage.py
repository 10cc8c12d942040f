from __future__ import annotations

from django.core.management import call_command
from django_extensions.management.jobs import HourlyJob


class Job(HourlyJob):
    help = "Delivers the AI calls that wait in the outbox; for a site with no living process."

    def execute(self) -> None:
        call_command("flush_ai_usage")
