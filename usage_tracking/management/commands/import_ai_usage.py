"""The `import_ai_usage` command."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from ... import checks, daily, related_users
from ...maintenance import legacy_import
from ..arguments import (
    Progress,
    add_database,
    database_alias,
    explained,
)
from ..base import CANNOT_RUN, UsageCommand

#: Lines that a list shows without -v 2.
LISTED = 20


class Command(UsageCommand):
    """Import the rows of a site's own tracking table."""

    help = (
        "Import the rows of a site's own tracking table into AIUsageLog and its daily rows. You "
        "can repeat the import: the same row of the same table is imported once. Exit code 1: "
        "rows were skipped, or daily totals differ; 2: the command cannot run. See "
        "docs/migrating.md for the steps."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        parser.add_argument(
            "--from", dest="table", required=True, metavar="TABLE", help="the site's own table"
        )
        parser.add_argument(
            "--map",
            dest="renamed",
            action="extend",
            nargs="+",
            type=_renaming,
            default=[],
            metavar="OLD=NEW",
            help="read the column OLD as NEW, which is one of " + ", ".join(legacy_import.FIELDS),
        )
        parser.add_argument(
            "--daily", metavar="TABLE", help="the site's own daily table, to compare the totals"
        )
        parser.add_argument("--dry-run", action="store_true", help="only read and compare")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, compare, and list what was skipped or differs."""
        self._options = options
        using, dry_run = database_alias(options), options["dry_run"]
        outcome = "Nothing was written." if dry_run else "Imported rows stay; run it again."
        with explained("The import", outcome, using=using):
            try:
                self._import(using, dry_run=dry_run)
            except legacy_import.UnusableTableError as error:
                raise CommandError(str(error), returncode=CANNOT_RUN) from error

    def _import(self, using: str, *, dry_run: bool) -> None:
        options = self._options
        source = legacy_import.inspect(options["table"], dict(options["renamed"]), using=using)
        if options["daily"]:  # report a misspelt name before the import, not after it
            legacy_import.compare(options["daily"], {}, using=using)
        if source.skipped:
            self._print(f"columns of {source.table} skipped: {', '.join(source.skipped)}")
        counts = dict.fromkeys(
            ("read", "imported", "existing", "without_user", "pruned", "other_total"), 0
        )
        bad: dict[Any, str] = {}
        sums: dict[daily.Key, daily.Sums] = {}
        with Progress(self.stderr, source.rows, options) as progress:
            for batch in legacy_import.import_rows(source, using=using, dry_run=dry_run):
                for name in counts:
                    counts[name] += getattr(batch, name)
                bad |= batch.bad
                sums = daily.merge([*sums.items(), *batch.sums.items()])
                progress.advance(batch.read)
        self._print(
            f"{counts['read']} rows read, {counts['imported']} "
            f"{'would be imported' if dry_run else 'imported'}, {counts['existing']} exist already"
        )
        for name, text in {
            "without_user": "are kept without user: their user is deleted or unknown",
            "pruned": "skipped: the rows of their days were pruned, the daily rows include them",
            "other_total": "have a total that is not prompt + completion; that sum is stored",
        }.items():
            if counts[name]:
                self._print(f"{counts[name]} rows {text}")
        self._list(f"{len(bad)} bad rows skipped", [f"{key}: {why}" for key, why in bad.items()])
        differences = self._compare(sums if dry_run else None, using)
        if bad or differences:
            raise CommandError(
                f"{len(bad)} rows skipped, {differences} daily totals differ", returncode=1
            )

    def _compare(self, ours: dict[daily.Key, daily.Sums] | None, using: str) -> int:
        if not (table := self._options["daily"]):
            return 0
        found = legacy_import.compare(table, ours, using=using)
        names = related_users.usernames({user for user, _ in found}, using=using)
        lines = [
            f"{day}  {names.get(user, '?')} ({user}): "
            + ", ".join(f"{name} {old} there, {new} here" for name, (old, new) in fields.items())
            for (user, day), fields in found.items()
        ]
        self._list(f"{len(found)} daily totals differ from {table}", lines)
        if not found:
            self._print(f"all daily totals match {table}")
        return len(found)

    def _list(self, title: str, lines: list[str]) -> None:
        if not lines:
            return
        self._print(f"{title}:")
        shown = len(lines) if self._options["verbosity"] > 1 else LISTED
        for line in lines[:shown]:
            self._print(f"  {line}")
        if len(lines) > shown:
            self._print(f"  and {len(lines) - shown} more; list them with -v 2")

    def _print(self, text: str) -> None:
        if self._options["verbosity"]:
            self.stdout.write(text)


def _renaming(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise ArgumentTypeError(f"must be OLD=NEW, not {text!r}")
    return old, new
