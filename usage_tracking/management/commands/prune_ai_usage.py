from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from usage_tracking import checks
from usage_tracking.maintenance import daily_rows
from usage_tracking.management.arguments import (
    Progress,
    add_database,
    database,
    explained,
    whole_number,
)
from usage_tracking.management.base import UsageCommand


class Command(UsageCommand):
    help = (
        "Removes the logs (AIUsageLog) of whole days, older than the N days to keep. Their daily "
        "rows stay, and with them every total per user and day; what is by section, model or "
        "provider goes with the logs. Calls without a user have no daily row: their logs are "
        "kept, unless --unattributed asks to remove them too, and then their calls, tokens and "
        "cost are missing from the global figures. Works in small transactions beside live "
        "traffic; can be stopped and run again."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--keep-days",
            type=whole_number(100_000),  # a date must still come out of it
            required=True,
            metavar="N",
            help="how many days before today keep their logs (days of AI_USAGE_DAY_TIMEZONE)",
        )
        parser.add_argument(
            "--unattributed",
            action="store_true",
            help="remove calls without a user too, which takes them out of the global figures",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would go, only")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        using, unattributed = database(options), options["unattributed"]
        removed, mended = 0, 0
        with explained("Pruning", "Nothing was removed."):
            old = daily_rows.prunable(options["keep_days"], using=using)
        expected = old.logs + (old.unattributed.calls if unattributed else 0)
        try:
            if not options["dry_run"]:
                with (
                    explained("Pruning", "What is removed so far is whole; run it again to go on."),
                    Progress(self.stderr, expected, options) as progress,
                ):
                    for step in daily_rows.prune(
                        old.before, using=using, unattributed=unattributed
                    ):
                        removed += step.removed
                        mended += len(step.mended)
                        progress.advance(step.removed)
        finally:
            if options["verbosity"]:
                self._report(old, removed, mended, options)

    def _report(
        self, old: daily_rows.Prunable, removed: int, mended: int, options: dict[str, Any]
    ) -> None:
        lost, unattributed = old.unattributed, options["unattributed"]
        if options["dry_run"]:
            count = old.logs + (lost.calls if unattributed else 0)
            self.stdout.write(f"{count} logs of days before {old.before} would be removed")
        else:
            self.stdout.write(f"{removed} logs of days before {old.before} removed")
        if mended:
            self.stdout.write(f"{mended} daily rows were out of step and were mended first")
        if lost.calls:
            figures = f"{lost.calls} calls without a user ({lost.tokens} tokens, ${lost.cost:.2f})"
            if not unattributed:
                self.stdout.write(f"{figures} are kept: only their logs count them")
            elif options["dry_run"]:
                self.stdout.write(f"{figures} among them would leave the global figures")
            else:
                self.stdout.write(f"{figures} among them have left the global figures")
