from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from usage_tracking import checks, daily, related_users
from usage_tracking.maintenance import daily_rows
from usage_tracking.management.arguments import (
    Progress,
    add_database,
    database,
    day,
    explained,
)
from usage_tracking.management.base import UsageCommand


class Command(UsageCommand):
    help = (
        "Mends the daily rows (AIUsageTracking) from the logs, where raw SQL has put them out of "
        "step. Safe beside live traffic. Days whose logs were pruned are never touched. "
        "Exit code 1: --dry-run has found differences; 2: it cannot be done."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="start", type=day, metavar="DAY", help="first day")
        parser.add_argument("--to", dest="end", type=day, metavar="DAY", help="last day")
        parser.add_argument("--dry-run", action="store_true", help="list the differences only")
        parser.add_argument("--json", action="store_true", help="the same as JSON")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        start, end, dry_run = options["start"], options["end"], options["dry_run"]
        if start and end and end < start:
            raise CommandError(f"--to {end} is before --from {start}", returncode=2)
        using = database(options)
        found: dict[daily.Key, daily.Sums] = {}
        undone = (
            "Nothing was changed." if dry_run else "What was mended so far stays; run it again."
        )
        with explained("Rebuilding", undone):
            try:
                days = daily_rows.span(using=using, start=start, end=end)
            except daily_rows.PastHorizon as error:
                raise CommandError(str(error), returncode=2) from error
            if days:
                first, last = days
                with Progress(self.stderr, (last - first).days + 1, options) as progress:
                    for stretch in daily_rows.rebuild(first, last, using=using, dry_run=dry_run):
                        found |= stretch.found
                        progress.advance((stretch.end - stretch.start).days + 1)
            names = related_users.usernames({user for user, _ in found}, using=using)
        if options["json"]:
            self.stdout.write(_as_json(found, names, days, dry_run=dry_run))
        elif options["verbosity"]:
            for (user, date), sums in sorted(found.items(), key=lambda item: item[0][::-1]):
                fields = ", ".join(
                    f"{name} {value:+}" for name, value in sums._asdict().items() if value
                )
                self.stdout.write(f"{date}  {names.get(user, '?')} ({user}): {fields}")
            self.stdout.write(
                f"{len(found)} daily rows {'are out of step' if dry_run else 'mended'}"
            )
        if dry_run and found:
            raise CommandError(
                f"{len(found)} daily rows are out of step with their logs; "
                "`rebuild_ai_usage` without --dry-run mends them",
                returncode=1,
            )


def _as_json(
    found: dict[daily.Key, daily.Sums], names: dict[Any, str], days: Any, *, dry_run: bool
) -> str:
    return json.dumps(
        {
            "from": days and days[0].isoformat(),
            "to": days and days[1].isoformat(),
            "dry_run": dry_run,
            "differences": [
                {"user": str(user), "username": names.get(user), "day": date.isoformat()}
                | sums._asdict()
                | {"total_cost": str(sums.total_cost)}
                for (user, date), sums in sorted(found.items(), key=lambda item: item[0][::-1])
            ],
        },
        indent=2,
    )
