from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import time
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connections, router
from django.utils import timezone

from usage_tracking import checks, reports
from usage_tracking.errors import was_stopped
from usage_tracking.management import day_tables
from usage_tracking.management.base import UsageCommand
from usage_tracking.management.tables import plain
from usage_tracking.models import AIUsageLog
from usage_tracking.system import stdio

from ...days import day_of

_CLEAR = "\x1b[2J\x1b[H"
_LONGEST_WATCH = 86_400.0


class Command(UsageCommand):
    help = (
        "Shows the AI usage of a day: totals against the same time of the day before, sections, "
        "models, users, what is not known, and what waits in the outbox."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--date", type=_date, metavar="YYYY-MM-DD", help="another day than today"
        )
        parser.add_argument("--user", metavar="NAME|ID", help="only the calls of this user")
        parser.add_argument("--section", metavar="CODE", help="only the calls of this section")
        parser.add_argument(
            "--json",
            action="store_true",
            help="print JSON: decimals as strings, null for what is unknown",
        )
        parser.add_argument(
            "--watch",
            type=_seconds,
            metavar="SECONDS",
            help="print it again every so often, until Ctrl-C; with --json one line each",
        )
        parser.add_argument(
            "--database",
            choices=tuple(connections),
            help="the database to read; by default the one that the routers name",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"] or router.db_for_read(AIUsageLog)
        try:
            user = section = None
            if options["user"] is not None:
                user = reports.find_user(options["user"], using=using)
            if options["section"] is not None:
                section = reports.find_section(options["section"], using=using)
            while True:
                now = timezone.now()
                report = reports.day_report(
                    options["date"] or day_of(now),
                    user=user,
                    section=section,
                    until=now,
                    using=using,
                )
                self.show(report, **options)
                if options["watch"] is None or stdio.is_closed(self.stdout):
                    return
                if not connections[using].in_atomic_block:  # as a caller of ours may be
                    connections[using].close_if_unusable_or_obsolete()
                time.sleep(options["watch"])
        except KeyboardInterrupt:
            if options["watch"] is None:
                raise
        except reports.NotFound as error:
            raise CommandError(str(error), returncode=2) from error
        except DatabaseError as error:
            if was_stopped(error):
                if options["watch"] is None:
                    raise KeyboardInterrupt from error
                return
            raise CommandError(_explain(error, using), returncode=2) from error

    def show(self, report: reports.DayReport, **options: Any) -> None:
        is_watched = options["watch"] is not None
        if options["json"]:
            indent = None if is_watched else 2
            self.stdout.write(json.dumps(report.as_dict(), default=_as_json, indent=indent))
            self.stdout.flush()
            return
        if is_watched and self.stdout.isatty():
            self.stdout.write(_CLEAR, ending="")
        if options["verbosity"] > 0:
            self.stdout.write(day_tables.headline(report))
        tables = list(day_tables.day_tables(report))
        if not (self._is_pretty(**options) and _print_pretty(tables, self.stdout)):
            for number, table in enumerate(tables):
                if number or options["verbosity"] > 0:
                    self.stdout.write("")
                self.stdout.write("\n".join(plain(table)))
        self.stdout.flush()
        if options["verbosity"] > 0:
            for hint in _hints(report):
                self.stderr.write(hint, self.style.NOTICE)

    def _is_pretty(self, **options: Any) -> bool:
        if options["no_color"] or os.environ.get("NO_COLOR"):
            return False
        return bool(options["force_color"] or self.stdout.isatty())


def _print_pretty(tables: Any, out: Any) -> bool:
    """By rich, if it is installed."""
    try:
        from usage_tracking.contrib.rich import print_tables
    except ImportError:
        return False
    print_tables(tables, out)
    return True


def _hints(report: reports.DayReport) -> list[str]:
    hints = []
    if not report.totals.figures.calls:
        hints.append("No AI call was recorded in this time.")
    if letters := report.outbox.dead_letters:
        hints.append(
            f"The database refused {letters} calls; `flush_ai_usage --retry-dead` tries them again."
        )
    return hints


def _explain(error: DatabaseError, using: str) -> str:
    try:
        with connections[using].cursor() as cursor:
            tables = connections[using].introspection.table_names(cursor)
    except DatabaseError:
        return f"Database '{using}' cannot be read: {str(error).strip()}"
    if AIUsageLog._meta.db_table in tables:
        return f"Database '{using}' cannot be read: {str(error).strip()}"
    return (
        f"Database '{using}' has no table {AIUsageLog._meta.db_table}: "
        f"run `manage.py migrate --database {using}`"
    )


def _as_json(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.date):  # a datetime is one
        return value.isoformat()
    raise TypeError(value)


def _date(text: str) -> dt.date:
    try:
        day = dt.datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 -- no time in it
    except ValueError:
        day = dt.date.min
    if day == dt.date.min:  # has no day before
        raise argparse.ArgumentTypeError(f"'{text}' is not a date such as 2026-03-14")
    return day


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_WATCH:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a number of seconds above 0 and up to {_LONGEST_WATCH:.0f}"
        )
    return seconds
