"""The `usage_today` command."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.utils import timezone

from ... import checks, reports
from ...days import DayRange, day_of
from ...errors import was_stopped
from ...system import stdio
from .. import day_tables
from ..arguments import (
    add_database,
    add_user,
    database_alias,
    day,
    day_of_option,
    missing_table,
)
from ..base import CANNOT_RUN, UsageCommand
from ..periods import add_period, period_of
from ..tables import write_tables

_CLEAR = "\x1b[2J\x1b[H"
_LONGEST_WATCH = 86_400.0


class Command(UsageCommand):
    """Show the AI usage of a day or a period."""

    help = (
        "Show the AI usage of a day or a period: totals compared with the period before up to the "
        "same time, sections, models and users by cost, missing data, and the outbox. Exit code "
        "2: the command cannot run."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Define the options."""
        add_period(parser, default="today")
        parser.add_argument(
            "--date", type=day, metavar="DAY", help="the same as --from DAY --to DAY"
        )
        add_user(parser, "show only the calls of this user")
        parser.add_argument("--section", metavar="CODE", help="show only the calls of this section")
        parser.add_argument(
            "--json",
            action="store_true",
            help="print JSON: decimals as strings, null for unknown values",
        )
        parser.add_argument(
            "--watch",
            type=_seconds,
            metavar="SECONDS",
            help="repeat at this interval until Ctrl-C; with --json one line per report",
        )
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the report once, or repeat it with `--watch`."""
        using = database_alias(options, for_reading=True)
        _days(options, day_of(timezone.now()))  # report a wrong period before anything is read
        try:
            user = section = None
            if options["user"] is not None:
                user = reports.find_user(options["user"], using=using)
            if options["section"] is not None:
                section = reports.find_section(options["section"], using=using)
            while True:
                now = timezone.now()
                first, last = _days(options, day_of(now)).ends()
                report = reports.day_report(
                    first,
                    last=last,
                    user=user,
                    section=section,
                    until=now,
                    rank="tokens" if options["json"] else "cost",
                    using=using,
                )
                self._show(report, options)
                if options["watch"] is None or stdio.is_closed(self.stdout):
                    return
                if not connections[using].in_atomic_block:  # `call_command` may run in one
                    connections[using].close_if_unusable_or_obsolete()
                time.sleep(options["watch"])
        except KeyboardInterrupt:
            if options["watch"] is None:
                raise
        except reports.NotFound as error:
            raise CommandError(str(error), returncode=CANNOT_RUN) from error
        except DatabaseError as error:
            if was_stopped(error):
                if options["watch"] is None:
                    raise KeyboardInterrupt from error
                return
            text = (
                missing_table(using) or f"Database {using!r} cannot be read: {str(error).strip()}"
            )
            raise CommandError(text, returncode=CANNOT_RUN) from error

    def _show(self, report: reports.DayReport, options: dict[str, Any]) -> None:
        is_watched = options["watch"] is not None
        if options["json"]:
            indent = None if is_watched else 2
            self.stdout.write(json.dumps(report.as_dict(), default=_as_json, indent=indent))
            self.stdout.flush()
            return
        if is_watched and self.stdout.isatty():
            self.stdout.write(_CLEAR, ending="")
        heading = day_tables.headline(report) if options["verbosity"] else ""
        write_tables(day_tables.day_tables(report), self.stdout, options, heading=heading)
        self.stdout.flush()
        if options["verbosity"] > 0:
            for hint in _hints(report):
                self.stderr.write(hint, self.style.NOTICE)


def _days(options: dict[str, Any], today: dt.date) -> DayRange:
    """Return the days to show.

    Raises:
        CommandError: The options contradict each other, or leave the first day open.
    """
    if options["date"] is not None:
        if any(options[name] for name in ("period", "start", "end")):
            raise CommandError(
                "Use either --date, or a period, or --from and --to.", returncode=CANNOT_RUN
            )
        date = day_of_option(options["date"])
        return DayRange(date, date)
    days = period_of(options, default="today", today=today)
    if days.first is None:
        raise CommandError("--to needs --from, the first day.", returncode=CANNOT_RUN)
    if days.last is None and days.first > today:
        raise CommandError(
            f"--from {days.first} is after today; use --to too.", returncode=CANNOT_RUN
        )
    return DayRange(days.first, days.last or today)


def _hints(report: reports.DayReport) -> list[str]:
    hints = []
    if not report.totals.figures.calls:
        hints.append("No AI call was recorded in this period.")
    if letters := report.outbox.dead_letters:
        hints.append(
            f"The database refused {letters} calls; `flush_ai_usage --retry-dead` retries them."
        )
    return hints


def _as_json(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.date):  # includes datetime
        return value.isoformat()
    raise TypeError(value)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_WATCH:
        raise argparse.ArgumentTypeError(
            f"must be seconds above 0, at most {_LONGEST_WATCH:.0f}, not {text!r}"
        )
    return seconds
