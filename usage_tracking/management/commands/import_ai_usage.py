from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from usage_tracking import checks, daily, related_users
from usage_tracking.maintenance import legacy_import
from usage_tracking.management.arguments import Progress, add_database, database, explained
from usage_tracking.management.base import UsageCommand

#: How many lines of a kind are listed; all of them with -v 2.
LISTED = 20


def renaming(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


class Command(UsageCommand):
    help = (
        "Brings the rows of a site's own tracking table over into AIUsageLog and its daily rows. "
        "Can be repeated: the same row of the same table is imported once. Exit code 1: rows were "
        "left out, or daily totals differ; 2: it cannot be done. docs/migrating.md has the steps."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="table", required=True, metavar="TABLE")
        parser.add_argument(
            "--map",
            dest="renamed",
            action="extend",
            nargs="+",
            type=renaming,
            default=[],
            metavar="OLD=NEW",
            help="what a column of another name is; NEW is one of "
            + ", ".join(legacy_import.FIELDS),
        )
        parser.add_argument(
            "--daily", metavar="TABLE", help="the site's own daily table, to compare with"
        )
        parser.add_argument("--dry-run", action="store_true", help="read and compare only")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        self._options = options
        using, dry_run = database(options), options["dry_run"]
        undone = (
            "Nothing was written."
            if dry_run
            else "What is imported so far stays; run it again to go on."
        )
        with explained("The import", undone):
            try:
                self._import(using, dry_run=dry_run)
            except legacy_import.Unusable as error:
                raise CommandError(str(error), returncode=2) from error

    def _import(self, using: str, *, dry_run: bool) -> None:
        options = self._options
        source = legacy_import.look_at(options["table"], dict(options["renamed"]), using=using)
        if options["daily"]:  # a misspelt name shall not wait for the end
            legacy_import.compare(options["daily"], {}, using=using)
        if source.left_out:
            self._say(f"columns of {source.table} left out: {', '.join(source.left_out)}")
        counts = dict.fromkeys(
            ("read", "imported", "there", "without_user", "pruned", "other_total"), 0
        )
        bad: dict[Any, str] = {}
        sums: dict[daily.Key, daily.Sums] = {}
        with Progress(self.stderr, source.rows, options) as progress:
            for batch in legacy_import.bring_over(source, using=using, dry_run=dry_run):
                for name in counts:
                    counts[name] += getattr(batch, name)
                bad |= batch.bad
                sums = daily.merge([*sums.items(), *batch.sums.items()])
                progress.advance(batch.read)
        self._say(
            f"{counts['read']} rows read, {counts['imported']} "
            f"{'would be imported' if dry_run else 'imported'}, {counts['there']} there already"
        )
        for name, text in {
            "without_user": "are kept without user: theirs is gone, or was never known",
            "pruned": "left out: the logs of their days were pruned, the daily rows count them",
            "other_total": "have another total than prompt + completion; ours is that sum",
        }.items():
            if counts[name]:
                self._say(f"{counts[name]} rows {text}")
        self._list(f"{len(bad)} bad rows left out", [f"{key}: {why}" for key, why in bad.items()])
        differences = self._compare(sums if dry_run else None, using)
        if bad or differences:
            raise CommandError(
                f"{len(bad)} rows left out, {differences} daily totals differ", returncode=1
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
            self._say(f"all daily totals are as in {table}")
        return len(found)

    def _list(self, title: str, lines: list[str]) -> None:
        if not lines:
            return
        self._say(f"{title}:")
        shown = len(lines) if self._options["verbosity"] > 1 else LISTED
        for line in lines[:shown]:
            self._say(f"  {line}")
        if len(lines) > shown:
            self._say(f"  and {len(lines) - shown} more, listed with -v 2")

    def _say(self, text: str) -> None:
        if self._options["verbosity"]:
            self.stdout.write(text)
