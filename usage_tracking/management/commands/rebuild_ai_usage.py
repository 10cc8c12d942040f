"""The `rebuild_ai_usage` command."""

from __future__ import annotations

import datetime as dt
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ... import checks, daily, related_users
from ...maintenance import daily_rows
from ..arguments import (
    Progress,
    add_database,
    database_alias,
    explained,
)
from ..base import CANNOT_RUN, UsageCommand
from ..periods import add_period, period_of


class Command(UsageCommand):
    """Rebuild daily rows that differ from the rows."""

    help = (
        "Rebuild the daily rows (AIUsageTracking) that do not match the rows (AIUsageLog), "
        "for example after raw SQL. Safe beside live traffic. Days whose rows were pruned never "
        "change. Exit code 1: --dry-run found differences; 2: the command cannot run."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        add_period(parser, default="all days")
        parser.add_argument("--dry-run", action="store_true", help="only list the differences")
        parser.add_argument("--json", action="store_true", help="print JSON")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Rebuild, and list what differed."""
        period, dry_run = period_of(options), options["dry_run"]
        using = database_alias(options)
        differences: dict[daily.Key, daily.Sums] = {}
        outcome = (
            "Nothing was changed." if dry_run else "Completed days stay rebuilt; run it again."
        )
        with explained("Rebuilding", outcome, using=using):
            try:
                days = daily_rows.span(using=using, start=period.first, end=period.last)
            except daily_rows.PrunedDaysError as error:
                raise CommandError(str(error), returncode=CANNOT_RUN) from error
            if days:
                first, last = days
                with Progress(self.stderr, (last - first).days + 1, options) as progress:
                    for part in daily_rows.rebuild(first, last, using=using, dry_run=dry_run):
                        differences |= part.differences
                        progress.advance((part.end - part.start).days + 1)
            names = related_users.usernames({user for user, _ in differences}, using=using)
        if options["json"]:
            self.stdout.write(_as_json(differences, names, days, dry_run=dry_run))
        elif options["verbosity"]:
            for (user, date), sums in _by_day(differences):
                fields = ", ".join(
                    f"{name} {value:+}" for name, value in sums._asdict().items() if value
                )
                self.stdout.write(f"{date}  {names.get(user, '?')} ({user}): {fields}")
            result = "do not match AIUsageLog" if dry_run else "rebuilt"
            self.stdout.write(f"{len(differences)} daily rows {result}")
        if dry_run and differences:
            raise CommandError(
                f"{len(differences)} daily rows do not match AIUsageLog; to rebuild them, "
                "run `rebuild_ai_usage` without --dry-run",
                returncode=1,
            )


def _by_day(differences: dict[daily.Key, daily.Sums]) -> list[tuple[daily.Key, daily.Sums]]:
    return sorted(differences.items(), key=lambda item: item[0][::-1])


def _as_json(
    differences: dict[daily.Key, daily.Sums],
    names: dict[Any, str],
    days: tuple[dt.date, dt.date] | None,
    *,
    dry_run: bool,
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
                for (user, date), sums in _by_day(differences)
            ],
        },
        indent=2,
    )
