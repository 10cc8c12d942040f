"""The `prune_ai_usage` command."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from ... import checks
from ...maintenance import prune
from ..arguments import (
    Progress,
    add_database,
    database_alias,
    explained,
    whole_number,
)
from ..base import UsageCommand


class Command(UsageCommand):
    """Remove the rows of old days."""

    help = (
        "Remove the rows (AIUsageLog) of all days that are more than N days ago. The daily rows "
        "stay, so every total per user and day stays. Totals by section, model or provider are "
        "lost with the rows. Calls without a user have no daily row, so their rows are kept. With "
        "--unattributed they are removed too, and their calls, tokens and cost are then missing "
        "from the global totals. The command works in small transactions beside live traffic. "
        "You can stop it and run it again."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        parser.add_argument(
            "--keep-days",
            type=whole_number(100_000),  # with more, the subtraction leaves the range of dates
            required=True,
            metavar="N",
            help="keep the rows of today and of this many days before it (days of "
            "AI_USAGE_DAY_TIMEZONE)",
        )
        parser.add_argument(
            "--unattributed",
            action="store_true",
            help="also remove calls without a user; the global totals lose them",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only show what would be removed"
        )
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune, and report what was removed even after a failure."""
        using, unattributed = database_alias(options), options["unattributed"]
        removed = rebuilt = 0
        with explained("Pruning", "Nothing was removed.", using=using):
            old = prune.prunable(options["keep_days"], using=using)
        expected = old.rows + (old.unattributed.calls if unattributed else 0)
        try:
            if not options["dry_run"]:
                with (
                    explained(
                        "Pruning", "Completed batches stay removed; run it again.", using=using
                    ),
                    Progress(self.stderr, expected, options) as progress,
                ):
                    for batch in prune.prune(old.before, using=using, unattributed=unattributed):
                        removed += batch.removed
                        rebuilt += len(batch.rebuilt)
                        progress.advance(batch.removed)
        finally:
            if options["verbosity"]:
                count, verb = (expected, "would be ") if options["dry_run"] else (removed, "")
                self.stdout.write(f"{count} rows of days before {old.before} {verb}removed")
                self._report_rest(old.unattributed, rebuilt, options)

    def _report_rest(
        self, lost: prune.UnattributedTotals, rebuilt: int, options: dict[str, Any]
    ) -> None:
        if rebuilt:
            self.stdout.write(f"{rebuilt} daily rows did not match and were rebuilt first")
        if lost.calls:
            totals = f"{lost.calls} calls without a user ({lost.tokens} tokens, ${lost.cost:.2f})"
            if not options["unattributed"]:
                self.stdout.write(f"{totals} are kept: no daily row counts them")
            elif options["dry_run"]:
                self.stdout.write(f"{totals} among them would be lost from the global totals")
            else:
                self.stdout.write(f"{totals} among them are lost from the global totals")
