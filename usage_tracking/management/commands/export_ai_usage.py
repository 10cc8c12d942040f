"""The `export_ai_usage` command."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import closing
from itertools import takewhile
from typing import Any

from django.core import serializers

from ... import checks
from ...maintenance import privacy
from ...system import stdio
from ..arguments import (
    add_database,
    add_user,
    database_alias,
    explained,
    find_user,
)
from ..base import UsageCommand


class Command(UsageCommand):
    """Print everything that is stored about a user."""

    help = (
        "Print everything that is stored about a user, for an access request: "
        "every call and every daily row, one JSON object per line, in the format of `dumpdata "
        "--format jsonl`."
    )
    requires_system_checks = [checks.TAG]
    encoding = "utf-8"  # that of JSON, whatever the terminal

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        add_user(parser, "the user to export", required=True)
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Serialize until the end, or until the reader closes the pipe."""
        using = database_alias(options)
        with explained("The export", "The output is incomplete.", using=using):
            user = find_user(options, using=using)
            self.stdout.ending = ""
            # If the reader leaves early, closing releases the cursor of the database.
            with closing(privacy.user_data(user, using=using)) as rows:
                read = takewhile(self._is_read, rows)
                serializers.serialize("jsonl", read, stream=self.stdout)

    def _is_read(self, _row: Any) -> bool:
        return not stdio.is_closed(self.stdout)
