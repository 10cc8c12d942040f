from __future__ import annotations

from argparse import ArgumentParser
from contextlib import closing
from itertools import takewhile
from typing import Any

from django.core import serializers
from django.core.management.base import CommandError

from usage_tracking import checks, reports
from usage_tracking.maintenance import privacy
from usage_tracking.management.arguments import add_database, database, explained
from usage_tracking.management.base import UsageCommand
from usage_tracking.system import stdio


class Command(UsageCommand):
    help = (
        "Writes all that is stored of a user, for a request of access: every call and every daily "
        "row, one JSON object a line, as `dumpdata --format jsonl` writes them."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, metavar="NAME|ID", help="whose")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        using = database(options)
        with explained("The export", "It is not complete."):
            try:
                user = reports.find_user(options["user"], using=using)
            except reports.NotFound as error:
                raise CommandError(str(error), returncode=2) from error
            self.stdout.ending = ""
            # Closed in time, for rows that nobody reads any more hold a cursor of the database.
            with closing(privacy.rows_of(user, using=using)) as rows:
                read = takewhile(self._is_read, rows)
                serializers.serialize("jsonl", read, stream=self.stdout)

    def _is_read(self, _row: Any) -> bool:
        return not stdio.is_closed(self.stdout)
