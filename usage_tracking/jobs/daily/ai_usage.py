"""The daily job."""

from __future__ import annotations

from django_extensions.management.jobs import DailyJob

from ...maintenance import daily_rows


class Job(DailyJob):
    """Rebuild daily rows."""

    help = "Rebuild daily rows of AI usage that do not match AIUsageLog, and log each one."

    def execute(self) -> None:
        """Rebuild every daily row that differs."""
        daily_rows.rebuild_all()
