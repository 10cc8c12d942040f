from __future__ import annotations

from django_extensions.management.jobs import DailyJob

from usage_tracking.maintenance import daily_rows


class Job(DailyJob):
    help = "Mends daily rows of AI usage that raw SQL has put out of step, and logs which."

    def execute(self) -> None:
        daily_rows.mend()
