"""Arguments, error messages and the progress bar that the commands share."""

from __future__ import annotations

import datetime as dt
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connections, router
from django.db.models import Model
from django.utils import timezone

from .. import reports
from ..days import day_of, parse_day
from ..errors import was_stopped
from ..models import AIUsageLog
from .base import CANNOT_RUN, INTERRUPTED

_WIDTH = 30
_DAYS_AGO = {"today": 0, "yesterday": 1}


def add_database(parser: ArgumentParser) -> None:
    """Add `--database`, for `database_alias`."""
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        help="database of the AI usage tables (default: the one that DATABASE_ROUTERS choose)",
    )


def database_alias(options: dict[str, Any], *, for_reading: bool = False) -> str:
    """Return the alias of `--database`, or else the one that the routers choose.

    Raises:
        CommandError: There is no database with this alias.
    """
    chosen = router.db_for_read if for_reading else router.db_for_write
    alias: str = options["database"] or chosen(AIUsageLog)
    if alias not in connections:
        raise CommandError(f"There is no database {alias!r}.", returncode=CANNOT_RUN)
    return alias


def add_user(parser: ArgumentParser, text: str, *, required: bool = False) -> None:
    """Add `--user` with the help `text`, for `find_user`."""
    parser.add_argument("--user", metavar="NAME|ID", required=required, help=text)


def find_user(options: dict[str, Any], *, using: str, hint: str = "") -> Any:
    """Return the user of `--user`.

    Raises:
        CommandError: No user, or more than one, has this username or primary key. The message
            ends with `hint`.
    """
    try:
        return reports.find_user(options["user"], using=using)
    except reports.NotFound as error:
        raise CommandError(f"{error} {hint}".rstrip(), returncode=CANNOT_RUN) from error


def add_days(parser: ArgumentParser) -> None:
    """Add `--from` and `--to`, for `first_and_last_day`."""
    parser.add_argument(
        "--from",
        dest="start",
        type=day,
        metavar="DAY",
        help="first day: YYYY-MM-DD, today or yesterday",
    )
    parser.add_argument(
        "--to", dest="end", type=day, metavar="DAY", help="last day, which is included"
    )


def first_and_last_day(options: dict[str, Any]) -> tuple[dt.date | None, dt.date | None]:
    """Return the days of `--from` and `--to`; None leaves that end open.

    Raises:
        CommandError: A day is not valid, or the last day is before the first.
    """
    start, end = day_of_option(options["start"]), day_of_option(options["end"])
    if start and end and end < start:
        raise CommandError(f"--to {end} is before --from {start}", returncode=CANNOT_RUN)
    return start, end


def day_of_option(value: Any) -> dt.date | None:
    """Return the day of an option, which may be text: `call_command` does not parse it.

    Raises:
        CommandError: The text is not a valid date.
    """
    try:
        return day(value) if isinstance(value, str) else value
    except ArgumentTypeError as error:
        raise CommandError(str(error), returncode=CANNOT_RUN) from error


def day(text: str) -> dt.date:
    """Parse YYYY-MM-DD, `today` or `yesterday`, for argparse."""
    if text in _DAYS_AGO:
        return day_of(timezone.now()) - dt.timedelta(days=_DAYS_AGO[text])
    try:
        parsed = parse_day(text)
    except ValueError:
        parsed = dt.date.min
    if parsed == dt.date.min:  # reports also read the day before
        raise ArgumentTypeError(f"{text!r} is not a valid date (YYYY-MM-DD)")
    return parsed


def whole_number(highest: int, *, lowest: int = 0) -> Callable[[str], int]:
    """Return an argparse type that accepts numbers from `lowest`, at least 0, to `highest`."""

    def parse(text: str) -> int:
        # int() raises another error for thousands of digits.
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
        if not lowest <= number <= highest:
            raise ArgumentTypeError(
                f"must be a whole number from {lowest} to {highest}, not {text!r}"
            )
        return number

    return parse


def add_no_input(parser: ArgumentParser) -> None:
    """Add `--no-input`, for `confirm`."""
    parser.add_argument(
        "--no-input",
        "--noinput",
        action="store_false",
        dest="interactive",
        help="do not ask for confirmation; needed where there is no terminal to ask on",
    )


def confirm(question: str, options: dict[str, Any], *, stderr: Any) -> None:
    """Ask the user to type "yes" unless `--no-input` is given.

    Args:
        question: What is about to happen.
        options: The options of the command.
        stderr: The `stderr` of the command, for the question: `stdout` may be a file.

    Raises:
        CommandError: The answer is another, or there is no terminal to ask on.
    """
    if not options["interactive"]:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandError(
            "There is no terminal to ask for confirmation on: use --no-input. Nothing was changed.",
            returncode=CANNOT_RUN,
        )
    stderr.write(f"{question}\nType 'yes' to continue: ", lambda text: text, ending="")
    stderr.flush()
    try:
        answer = input()
    except (EOFError, KeyboardInterrupt) as error:
        stderr.write("")  # end the line of the question
        if isinstance(error, KeyboardInterrupt):
            raise
        answer = ""
    if answer.strip().lower() != "yes":
        raise CommandError("Cancelled. Nothing was changed.", returncode=CANNOT_RUN)


@contextmanager
def explained(
    action: str,
    outcome: str,
    *,
    using: str | None = None,
    models: Iterable[type[Model]] = (AIUsageLog,),
) -> Iterator[None]:
    """Replace the traceback of a database error or Ctrl-C in the block with a message.

    Args:
        action: The subject of the message: "... failed: ...".
        outcome: One or more sentences on what the failure leaves behind.
        using: The database of the usage tables, to see whether it has them.
        models: The models whose tables the block needs.
    """
    try:
        yield
    except DatabaseError as error:
        if was_stopped(error):
            raise CommandError(f"Stopped. {outcome}", returncode=INTERRUPTED) from None
        if using is not None and (missing := missing_table(using, models)):
            raise CommandError(f"{missing}. {outcome}", returncode=CANNOT_RUN) from error
        text = str(error).strip().partition("\n")[0]
        raise CommandError(f"{action} failed: {text}. {outcome}", returncode=CANNOT_RUN) from error
    except KeyboardInterrupt:
        raise CommandError(f"Stopped. {outcome}", returncode=INTERRUPTED) from None


def missing_table(using: str, models: Iterable[type[Model]] = (AIUsageLog,)) -> str:
    """Return what to do if the database lacks a table; "" if it has all, or cannot tell."""
    try:
        with connections[using].cursor() as cursor:
            tables = connections[using].introspection.table_names(cursor)
    except DatabaseError:
        return ""
    for table in (model._meta.db_table for model in models):
        if table not in tables:
            migrate = f"run `manage.py migrate --database {using}`"
            return f"Database {using!r} has no table {table}: {migrate}"
    return ""


class Progress:
    """A bar on a terminal; nothing in a pipe, in a file or at verbosity 0."""

    def __init__(self, stderr: Any, total: int, options: dict[str, Any]) -> None:
        self._out, self._total, self._done = stderr, total, 0
        self._shown = bool(total and options["verbosity"] and stderr.isatty())

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def advance(self, count: int) -> None:
        """Move the bar by `count` of the total."""
        self._done += count
        if self._shown:
            # Live traffic may add to what was counted at the start.
            share = min(self._done / self._total, 1)
            bar = ("#" * round(_WIDTH * share)).ljust(_WIDTH, ".")
            self._write(f"\r{bar} {share:4.0%} {self._done}/{self._total}")

    def _write(self, text: str) -> None:
        self._out.write(text, lambda x: x, ending="")
        self._out.flush()
