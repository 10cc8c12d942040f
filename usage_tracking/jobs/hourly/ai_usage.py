"""The hourly job."""

from __future__ import annotations

from django.core.management import call_command
from django_extensions.management.jobs import HourlyJob


class Job(HourlyJob):
    """Deliver the outbox."""

    help = "Deliver the AI calls in the outbox, for a site that may have no living process."

    def execute(self) -> None:
        """Run `flush_ai_usage`."""
        call_command("flush_ai_usage")
